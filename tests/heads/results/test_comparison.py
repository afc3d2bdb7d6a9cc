"""Paired comparison: a run is not better than itself, a better one is found."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mmmos.heads.results.comparison import compare
from tests.heads.made_up import find, made_up_run, made_up_table


@pytest.fixture(scope="module")
def table():
    return made_up_table()


def test_a_run_equals_itself(table):
    run = made_up_run(table, "test", 0.5)
    for row in compare(run, run, table.of("test")):
        bounds = (0.0, 0.0) if row.clusters else (None, None)
        assert (row.difference, row.low, row.high) == (0.0, *bounds)
        assert row.p == (1.0 if row.swapped else None)


def test_a_clearly_better_run_is_found_and_the_signs_turn_with_the_order(table):
    good, bad = made_up_run(table, "test", 0.2, "good"), made_up_run(table, "test", 2.0, "bad")
    forth = compare(good, bad, table.of("test"))
    back = compare(bad, good, table.of("test"))
    row = find(forth, level="utterance", domain="all", axis="composite", metric="srcc")
    assert row.difference > 0
    assert row.low > 0
    assert row.p < 0.01
    assert find(forth, level="utterance", domain="all", axis="composite", metric="mse").difference < 0
    for one, other in zip(forth, back, strict=True):
        if one.difference is not None:
            assert one.difference == -other.difference
            assert one.p == other.p


def test_undefined_names_the_run(table):
    run = made_up_run(table, "test", 0.5)
    flat = replace(run, run="flat", values=np.full_like(run.values, 3.0))
    row = find(
        compare(run, flat, table.of("test"), 20), level="system", domain="all", axis="CE", metric="ktau"
    )
    assert (row.difference, row.p, row.reason) == (None, None, "undefined for flat")


def test_different_axes_or_splits_are_refused(table):
    run = made_up_run(table, "test", 0.5)
    for other in (made_up_run(table, "dev", 0.5), made_up_run(table, "test", 0.5, axes=("CE", "PQ"))):
        with pytest.raises(ValueError, match="only the same axes and split"):
            compare(run, other, table.of("test"))


def test_below_ten_systems_a_difference_of_systems_has_a_p_value_and_no_interval():
    table = made_up_table(systems=8)
    runs = made_up_run(table, "test", 0.2, "good"), made_up_run(table, "test", 2.0, "bad")
    row = find(compare(*runs, table.of("test")), level="system", domain="all", axis="CE", metric="mse")
    assert (row.low, row.clusters, row.swapped) == (None, "", "system")
    assert "10 systems" in row.reason
    assert 0 < row.p <= 1


def test_five_systems_have_no_p_value_and_the_row_says_why():
    table = made_up_table(systems=5)
    runs = made_up_run(table, "test", 0.2, "good"), made_up_run(table, "test", 2.0, "bad")
    row = find(compare(*runs, table.of("test")), level="system", domain="all", axis="CE", metric="mse")
    assert row.p is None
    assert "too few different swaps" in row.reason
