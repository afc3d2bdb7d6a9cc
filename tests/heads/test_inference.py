"""Intervals from leaving out clusters: they need enough of them, and hold what they say."""

from __future__ import annotations

import numpy as np
import pytest

from mmmos.heads.inference import (
    MAX_GROUPS,
    MIN_CLUSTERS,
    cluster_index,
    clusters_of,
    gathered,
    interval,
    interval_of_difference,
)
from mmmos.heads.metrics import METRICS


def test_clusters_are_numbered_in_alphabetical_order():
    assert cluster_index(["b", "a", "b", "c"]).tolist() == [1, 0, 1, 2]


def test_systems_are_left_out_where_there_are_enough_else_groups_else_clips():
    def named(count):
        return [f"n{i % count}" for i in range(60)]

    assert clusters_of(named(10), named(30))[0] == "system"
    assert clusters_of(named(9), named(30))[0] == "group"
    assert clusters_of(named(9), named(9))[0] == "clip"
    assert clusters_of([*named(20)[1:], ""], named(9))[0] == "clip"
    assert clusters_of(["a"] * 9, [""] * 9)[0] == ""
    assert clusters_of(named(9), named(30), 6)[0] == "system"


def test_many_clusters_are_gathered_into_equal_groups_of_whole_clusters(rng):
    index = rng.permutation(np.arange(1050) // 2)
    groups = gathered(index)
    assert groups.max() + 1 == MAX_GROUPS
    assert len({(i, g) for i, g in zip(index, groups, strict=True)}) == 525
    assert set(np.bincount(groups)) <= {10, 12}
    np.testing.assert_array_equal(gathered(index % 7), index % 7)


@pytest.mark.parametrize("name", METRICS)
def test_an_interval_holds_its_value_and_shrinks_with_more_clusters(name, rng):
    widths = []
    for clusters in (MIN_CLUSTERS, 400):
        truth = rng.normal(5, 1, clusters)
        pred = truth + rng.normal(0, 0.5, clusters)
        value = METRICS[name](pred, truth)
        found = interval(name, value, pred, truth, np.arange(clusters))
        assert found.low < value < found.high
        widths.append(found.high - found.low)
    assert widths[1] < widths[0] / 3


@pytest.mark.parametrize(("name", "items"), [("srcc", 10), ("ktau", 10), ("srcc", 40), ("ktau", 40)])
def test_a_perfect_order_is_not_certain(name, items):
    truth = np.arange(float(items))
    found = interval(name, 1.0, truth**2, truth, np.arange(items))
    assert 0.4 < found.low < 1 - 1 / items**2
    assert found.high == 1.0


def test_no_error_and_no_change_have_no_interval_and_say_why():
    truth = np.arange(12.0)
    assert "no error" in interval("mse", 0.0, truth, truth, np.arange(12)).reason
    assert "changes nothing" in interval("mse", 1.0, truth + 1, truth, np.arange(12)).reason
    one = np.r_[np.zeros(11), 1.0]
    assert "undefined" in interval("lcc", 0.5, one, truth, np.arange(12)).reason


def test_the_interval_of_a_difference_is_that_of_the_same_clusters(rng):
    truth = rng.normal(0, 1, 200)
    hard = rng.normal(0, 1, 200)
    one, other = (truth + hard + rng.normal(0, 0.1, 200) for _ in range(2))
    index = np.arange(200) % 20
    difference = METRICS["mse"](one, truth) - METRICS["mse"](other, truth)
    found = interval_of_difference("mse", (one, other), truth, index, difference)
    single = interval("mse", METRICS["mse"](one, truth), one, truth, index)
    assert found.high - found.low < (single.high - single.low) / 2
