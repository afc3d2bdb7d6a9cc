"""Out-of-fold predictions: every rated training clip once, by a head that never saw its group."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mmmos.heads.config import HeadConfig
from mmmos.heads.grids import configure
from mmmos.heads.network.model import Head
from mmmos.heads.runs import Run
from mmmos.heads.training import out_of_fold as module
from mmmos.heads.training.course import DivergedError
from mmmos.heads.training.data import Features, Indices
from mmmos.heads.training.fit import Outcome, fit_together
from mmmos.heads.training.out_of_fold import (
    has_out_of_fold,
    keep_out_of_fold,
    out_of_fold,
    out_of_fold_together,
    uncalibrated,
)
from mmmos.heads.training.outputs import predict
from mmmos.heads.training.parallel import train_grid
from mmmos.store.clips import load_table, save_table
from tests.heads.small import M2D, WAVLM, work_folder


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return work_folder(tmp_path_factory.mktemp("oof"), count=48, specs=(WAVLM, M2D))


def test_no_head_sees_the_groups_it_predicts(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    features = Features.open(work)
    config = configure(features.table.id, [WAVLM.id, M2D.id], "mlp", "con", epochs=1)
    trained: list[Indices] = []

    def watch(
        configs: Sequence[HeadConfig], features: Features, *, train: Indices
    ) -> Iterator[tuple[HeadConfig, Outcome]]:
        trained.append(train)
        return fit_together(configs, features, train=train)

    monkeypatch.setattr(module, "fit_together", watch)
    found = out_of_fold(config, features, 3).predictions
    ids = [features.clips[n].id for n in features.of("train")]
    assert sorted(found.clip_ids) == sorted(ids)
    assert len(trained) == 3
    groups = [{features.clips[n].group for n in clips} for clips in trained]
    all_groups = set.union(*groups)
    left_out = [all_groups - seen for seen in groups]
    assert set.union(*left_out) == all_groups
    assert sum(map(len, left_out)) == len(all_groups)


def test_they_are_kept_beside_the_run_and_made_once(work: Path) -> None:
    features = Features.open(work)
    config = configure(features.table.id, [WAVLM.id], "mlp", "ut", epochs=1)
    assert train_grid([config], work, jobs=1).trained == (config.id,)
    assert train_grid([config], work, jobs=1, folds=3).trained == (config.id,)
    assert train_grid([config], work, jobs=1, folds=3).kept == (config.id,)
    assert has_out_of_fold(work, config, 3)
    assert not has_out_of_fold(work, config, 4)
    stored = Run.of(work, config).predictions("oof")
    assert stored.split == "oof"
    again = out_of_fold(config, features, 3).predictions
    assert again == stored
    assert np.array_equal(keep_out_of_fold(config, features, work, 3).values, stored.values)


def test_heads_of_a_fold_are_trained_together_and_come_out_as_alone(
    work: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    features = Features.open(work)
    specs = [WAVLM.id, M2D.id]
    kinds = [("mlp", "con"), ("blstm_h", "ut"), ("mlp", "listeners"), ("ridge", "mse")]
    sound = [configure(features.table.id, specs, *kind, epochs=2) for kind in kinds]
    broken = configure(features.table.id, specs, "blstm_h", "ccc", epochs=2, learning_rate=1e30)
    calls: list[int] = []

    def watch(
        configs: Sequence[HeadConfig], features: Features, *, train: Indices
    ) -> Iterator[tuple[HeadConfig, Outcome]]:
        calls.append(len(configs))
        return fit_together(configs, features, train=train)

    with monkeypatch.context() as patch:
        patch.setattr(module, "fit_together", watch)
        found = dict(out_of_fold_together([broken, *sound], features, 3))
    assert calls == [5, 4, 4], "one call a fold, and no more of what cannot be trained"
    assert isinstance(found.pop(broken), DivergedError)
    for config in sound:
        assert found[config] == out_of_fold(config, features, 3), config.title


def test_level_and_spread_are_set_by_clips_that_were_held_out(tmp_path: Path) -> None:
    """FAULTS F6: on the clips that a head was fitted on its spread always looks right."""
    work = work_folder(tmp_path, count=240, specs=(WAVLM, M2D), splits=("train", "pam"))
    table, rng = load_table(work / "clips.json"), np.random.default_rng(0)
    noisy = [tuple(np.clip(rng.normal(clip.scores, 3), 0.0, 10.0).tolist()) for clip in table.clips]
    clips = tuple(replace(clip, scores=scores) for clip, scores in zip(table.clips, noisy, strict=True))
    save_table(replace(table, clips=clips), work / "clips.json")
    features = Features.open(work)
    config = configure(
        features.table.id, [WAVLM.id, M2D.id], "mlp", "con", epochs=40, learning_rate=3e-3, patience=40
    )
    train_grid([config], work, jobs=1)
    run = Run.of(work, config)
    before, fitted = run.predictions("pam").values, Head.load(run.head_path)
    found = out_of_fold(config, features, 3)
    keep_out_of_fold(config, features, work, 3, found)
    head = Head.load(run.head_path)
    pam = [clip for clip in features.clips if clip.split == "pam"]
    truth = features.table.scores(pam)
    after = Run.of(work, config).predictions("pam").values
    assert np.mean((after - truth) ** 2) < np.mean((before - truth) ** 2)
    assert Run.of(work, config).record["calibration"]["on"].startswith("out-of-fold")
    # The head's lines are those of the held-out predictions, on the labels' scale.
    slope, offset = np.array(found.lines).T
    np.testing.assert_allclose(after, uncalibrated(fitted, before) * slope + offset, atol=1e-9)
    assert np.array_equal(predict(head, features, features.of("pam")), after)


def test_a_loss_that_pins_the_scale_is_left_alone(work: Path) -> None:
    features = Features.open(work)
    config = configure(features.table.id, [WAVLM.id], "mlp", "ut", epochs=1)
    assert out_of_fold(config, features, 3).lines == ()


def test_leaving_out_high_ratings_lowers_no_prediction(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Heads that learnt nothing but the mean of their clips say the same of every clip, in any fold."""
    features = Features.open(work)
    config = configure(features.table.id, [WAVLM.id], "ridge")

    def mean_alone(head: Head, features: Features, clips: Indices) -> np.ndarray:
        return np.tile(head.target_mean.numpy(), (len(clips), 1))

    monkeypatch.setattr(module, "predict", mean_alone)
    found = out_of_fold(config, features, 4).predictions.values
    mean = np.nanmean(features.truth[features.of("train")], axis=0)
    np.testing.assert_allclose(found, np.tile(mean, (len(found), 1)))
