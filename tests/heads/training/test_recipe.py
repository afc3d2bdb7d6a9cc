"""What is trained by default, by the size of a listening test."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mmmos.heads.ensemble import choose_ensemble
from mmmos.heads.grids import grid
from mmmos.heads.results.experiment import open_experiment
from mmmos.heads.scoring.scores_spec import spec_of_scores
from mmmos.heads.training.parallel import train_grid
from mmmos.heads.training.recipe import folds_of, recipe_for
from mmmos.store.clips import ClipTable
from tests.heads.small import MUQ, WAVLM, clips, spec, work_folder

LOGMEL, FULLBAND = spec("logmel", dim=160, layers=1), spec("fullband", dim=249, layers=1)


def table(count: int, ratings: bool = True) -> ClipTable:
    made = clips(count, np.random.default_rng(0), ratings=ratings)
    return ClipTable(tuple(replace(clip, split="train") for clip in made))


def test_few_clips_get_closed_forms_and_the_listeners_loss() -> None:
    recipe = recipe_for(table(128), [LOGMEL, FULLBAND])
    kinds = {(c.aggregator, c.loss, c.reads) for c in recipe.configs}
    assert {("svr", "mse", "profile"), ("ridge", "mse", "means"), ("statistics", "listeners", "")} <= kinds
    (trained,) = {(c.epochs, c.learning_rate) for c in recipe.configs if c.aggregator == "statistics"}
    assert trained == (100, 1e-3)
    assert (recipe.folds, recipe.rule, recipe.per_axis, recipe.calibrate) == (8, "even:oof", True, True)
    assert len({c.id for c in recipe.configs}) == len(recipe.configs)
    assert recipe.baselines[0].encoders == (LOGMEL.id,)


def test_without_single_ratings_the_mean_scores_are_learnt() -> None:
    losses = {c.loss for c in recipe_for(table(128, ratings=False), [LOGMEL]).configs}
    assert losses == {"mse", "ut"}


def test_more_clips_need_fewer_epochs_and_choose_axis_by_axis() -> None:
    recipe = recipe_for(table(600), [LOGMEL])
    assert {c.epochs for c in recipe.configs if c.aggregator == "statistics"} == {22}
    assert (recipe.folds, recipe.rule, recipe.per_axis) == (5, "stack:oof:1", True)


def test_many_clips_get_the_papers_values_and_wide_encoders_their_best_layer() -> None:
    wide = spec("wavlm", 50.0, dim=768, layers=13)
    recipe = recipe_for(table(1200), [wide])
    assert {c.learning_rate for c in recipe.configs if c.aggregator == "mlp"} == {1e-4}
    assert {c.layer for c in recipe.configs if c.aggregator == "svr"} == {"", "best"}
    assert "profile" not in {c.reads for c in recipe.configs}


@pytest.mark.parametrize("count", [4, 20])
def test_too_few_clips_are_said(count: int) -> None:
    assert any("too few for a predictor" in note for note in recipe_for(table(count), [LOGMEL]).notes)


def test_the_papers_preset_is_the_papers_grid() -> None:
    recipe = recipe_for(table(128), [WAVLM, MUQ], preset="paper")
    assert recipe.configs == grid("paper", [WAVLM, MUQ], table(128).id)
    assert recipe.folds == 0


def test_another_bundles_scores_are_read_alone_and_beside_all_encoders() -> None:
    scores = spec_of_scores("bundle-0123456789ab", 4, LOGMEL)
    plain = recipe_for(table(128), [LOGMEL, FULLBAND])
    recipe = recipe_for(table(128), [LOGMEL, FULLBAND, scores])
    more = [c for c in recipe.configs if c not in plain.configs]
    assert set(plain.configs) < set(recipe.configs)
    assert recipe.baselines == plain.baselines
    assert [c.aggregator for c in more] == ["ridge", "ridge", "kernel_ridge", "svr"]
    every = (LOGMEL.id, FULLBAND.id, scores.id)
    assert [c.encoders for c in more] == [(scores.id,), every, every, every]


def test_two_groups_are_too_few_to_hold_any_out() -> None:
    assert folds_of(table(8)) == 4  # two clips a group
    with pytest.raises(ValueError, match="4 rated clips in 2 groups: none can be held out"):
        folds_of(table(4))
    unrated = ClipTable((*table(4).clips, *(replace(clip, scores=()) for clip in table(8).clips[4:])))
    with pytest.raises(ValueError, match="4 rated clips in 2 groups"):
        folds_of(unrated)


def test_with_a_dev_split_nothing_need_be_left_out() -> None:
    clips = table(4).clips
    assert folds_of(ClipTable((replace(clips[0], split="dev"), *clips[1:]))) == 0


def test_nothing_to_learn_from_is_refused() -> None:
    with pytest.raises(ValueError, match="0 rated clips"):
        recipe_for(ClipTable(()), [LOGMEL])
    with pytest.raises(ValueError, match="Did you mean 'paper'"):
        recipe_for(table(8), [LOGMEL], preset="papre")


def test_what_a_recipe_says_can_be_trained_chosen_and_calibrated(tmp_path: Path) -> None:
    work = work_folder(tmp_path, 36, (MUQ,), splits=("train",), ratings=True)
    experiment_table = open_table(work)
    recipe = recipe_for(experiment_table, [MUQ])
    result = train_grid([*recipe.configs, *recipe.baselines], work, folds=recipe.folds, jobs=1)
    assert not result.failed
    experiment = open_experiment(work)
    chosen = choose_ensemble(
        experiment.pool,
        experiment.table.id,
        recipe.rule,
        only=[c.id for c in recipe.configs],
        per_axis=recipe.per_axis,
        calibrate=recipe.calibrate,
    )
    assert {*chosen.members} == {c.id for c in recipe.configs}
    found = chosen.predict(experiment.runs, "oof")
    truth = experiment.table.scores(
        [clip for n in found.clip_ids for clip in experiment.table if clip.id == n]
    )
    for axis in range(4):
        assert np.corrcoef(found.values[:, axis], truth[:, axis])[0, 1] > 0.3
    stacked = choose_ensemble(
        experiment.pool, experiment.table.id, "stack:oof:1", per_axis=True, calibrate=True
    )
    assert len(stacked.by_axis) == len(stacked.members)
    assert stacked.id != chosen.id


def open_table(work: Path) -> ClipTable:
    from mmmos.store.clips import load_table

    return load_table(work / "clips.json")
