"""What selectors may look at: ranks, usable runs and the score of an average, never the test split."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import spearmanr

from mmmos.heads.pool import Growing, Pool, agreement, checked_split, composite_of_rated, of_split


def test_runs_are_ranked_best_first_ties_by_name_and_undefined_ones_not_at_all() -> None:
    pool = Pool({"dev": {"c": 0.5, "a": 0.5, "b": 0.9, "constant": None, "d": -0.2}})
    assert pool.ranked("dev") == ["b", "a", "c", "d"]


def test_a_usable_run_has_predictions_and_a_defined_score_on_every_split_asked_for() -> None:
    scores = {"dev": {"a": 0.1, "b": 0.2, "c": None}, "pam": {"a": 0.1, "b": 0.2, "c": 0.3}}
    stored = {"dev": dict.fromkeys("abc", np.zeros((1, 1))), "pam": dict.fromkeys("ac", np.zeros((1, 1)))}
    pool = Pool(scores, stored)
    assert pool.usable(["dev"]) == ["a", "b"]
    assert pool.usable(["pam"]) == ["a", "c"]
    assert pool.usable(["dev", "pam"]) == ["a"]


def test_the_score_of_members_is_that_of_their_plain_average_and_repeats_count(
    rng: np.random.Generator,
) -> None:
    truth = rng.normal(size=(40, 2))
    runs = {name: truth + rng.normal(size=truth.shape) for name in "ab"}
    pool = Pool({"dev": dict.fromkeys("ab", 0.0)}, {"dev": runs}, {"dev": truth})
    mean = (2 * runs["a"] + runs["b"]) / 3
    expected = spearmanr(mean.mean(axis=1), truth.mean(axis=1)).statistic
    assert pool.score(["a", "a", "b"], ["dev"]) == pytest.approx(expected)


@pytest.mark.parametrize("together", [True, False])
def test_a_growing_average_scores_as_the_average_of_its_members(
    rng: np.random.Generator, together: bool
) -> None:
    """Thirds, halves and clips without a rating: equal means tie as they do in the average itself."""
    truth = {split: np.round(rng.normal(size=(50, 3)), 1) for split in ("dev", "pam")}
    truth["pam"][::4, 1] = truth["dev"][::7] = np.nan
    runs = {split: {n: rng.integers(0, 3, (50, 3)) / 10 for n in "abc"} for split in truth}
    pool = Pool({}, runs, truth, together=together)
    average, members = Growing(pool, ["dev", "pam"]), []
    for run in "abbc":
        members.append(run)
        means = {split: np.mean([runs[split][m] for m in members], axis=0) for split in truth}
        expected = [agreement(means[split], truth[split], together=together) for split in truth]
        assert average.score_with(run) == pytest.approx(np.mean(expected), abs=1e-12)
        average.add(run)


def test_clips_without_any_rating_have_no_composite() -> None:
    truth = np.array([[1.0, 3.0], [np.nan, np.nan], [np.nan, 5.0]])
    pred, rated = composite_of_rated(np.array([[2.0, 2.0], [9.0, 9.0], [7.0, 4.0]]), truth)
    np.testing.assert_allclose(rated, [2.0, 5.0])
    np.testing.assert_allclose(pred, [2.0, 4.0])


@pytest.mark.parametrize(
    ("split", "reason"),
    [("test", "would no longer measure anything"), ("train", "were trained on it"), ("pan", "Did you mean")],
)
def test_other_splits_are_refused_with_the_reason(split: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        checked_split(split)
    with pytest.raises(ValueError, match=reason):
        of_split({split: {}}, split)


def test_missing_out_of_fold_predictions_are_told_with_the_command_that_makes_them() -> None:
    with pytest.raises(ValueError, match="heads --folds 5"):
        of_split({"dev": {}}, "oof")


def test_without_a_composite_runs_are_ranked_by_the_mean_of_their_axes() -> None:
    truth = np.stack([np.arange(6.0), -np.arange(6.0)], 1)
    assert agreement(truth, truth) is None  # every composite is 0
    assert agreement(truth, truth, together=False) == 1.0
    half = np.stack([np.arange(6.0), np.zeros(6)], 1)
    assert agreement(half, truth, together=False) == 0.5
    assert agreement(np.zeros((6, 2)), truth, together=False) is None
