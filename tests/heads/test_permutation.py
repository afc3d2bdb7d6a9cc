"""Permutation tests: swaps do what they say, equal runs are rarely told apart, better ones are found."""

from __future__ import annotations

import numpy as np
import pytest

from mmmos.heads import permutation
from mmmos.heads.metrics import METRICS
from mmmos.heads.permutation import SWAPPED, concordance, holm, swap_test


def data(rng, items=60, ties=False):
    truth = rng.normal(5, 1, items)
    pair = truth + rng.normal(0, 1, items), truth + rng.normal(0, 0.8, items)
    return (np.round(truth), tuple(np.round(2 * run) / 2 for run in pair)) if ties else (truth, pair)


@pytest.mark.parametrize("ties", [False, True])
def test_concordance_counts_pairs(ties, rng):
    truth, (pred, _) = data(rng, ties=ties)
    weights = rng.random(60)
    signs = np.sign(pred[:, None] - pred) * np.sign(truth[:, None] - truth)
    np.testing.assert_allclose(concordance(pred, truth, weights), signs @ weights)


@pytest.mark.parametrize("name", SWAPPED)
@pytest.mark.parametrize("ties", [False, True])
def test_without_a_swap_the_difference_is_that_of_the_metrics(name, ties, rng):
    truth, pair = data(rng, ties=ties)
    index = np.arange(60) % 7
    signs = np.stack([np.ones(7), -np.ones(7)])
    difference = METRICS[name](pair[0], truth) - METRICS[name](pair[1], truth)
    got = SWAPPED[name](*pair, truth, index, signs)
    np.testing.assert_allclose(got, [difference, -difference], atol=1e-12)


@pytest.mark.parametrize("name", ["mse", "lcc"])
def test_sums_over_clusters_give_what_swapped_arrays_give(name, rng, monkeypatch):
    truth, pair = data(rng)
    index = np.arange(60) % 12
    fast = swap_test(name, pair, truth, index)
    monkeypatch.delitem(SWAPPED, name)
    assert swap_test(name, pair, truth, index) == fast


@pytest.mark.parametrize("name", [name for name in METRICS if METRICS[name].varied])
def test_level_and_unit_of_a_run_do_not_matter_to_correlations(name, rng):
    truth, (one, other) = data(rng)
    index = np.arange(60) % 12
    assert swap_test(name, (one, other), truth, index) == pytest.approx(
        swap_test(name, (one, 30 * other - 7), truth, index), abs=0.01
    )


@pytest.mark.parametrize("name", METRICS)
def test_a_run_equals_itself_and_a_much_better_one_is_found(name, rng):
    truth = rng.normal(5, 1, 80)
    good, bad = truth + rng.normal(0, 0.2, 80), truth + rng.normal(0, 3, 80)
    index = np.arange(80) % 8
    assert swap_test(name, (good, good), truth, index) == 1.0
    assert swap_test(name, (good, bad), truth, index) <= 0.02
    assert swap_test(name, (bad, good), truth, index) == swap_test(name, (good, bad), truth, index)


def test_few_clusters_are_swapped_in_every_way_once():
    assert len(permutation._signs(8, 1000, 0)) == 2**7
    assert len({tuple(row) for row in permutation._signs(8, 1000, 0)}) == 2**7
    assert len(permutation._signs(36, 1000, 0)) == 1001


def test_holm_corrects_for_the_number_of_tests_and_keeps_the_order():
    assert holm([0.01, None, 0.04, 0.03]) == pytest.approx([0.03, None, 0.06, 0.06])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []
