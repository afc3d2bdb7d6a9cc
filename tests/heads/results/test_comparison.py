"""Paired comparison: a run is not better than itself, a better one is found, and power is what it says."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mmmos.heads.bootstrap import p_value
from mmmos.heads.results.comparison import compare
from mmmos.store.predictions import Predictions
from mmmos.store.schema import Clip
from tests.heads.made_up import find, made_up_run, made_up_table


@pytest.fixture(scope="module")
def table():
    return made_up_table()


def test_a_run_equals_itself(table):
    run = made_up_run(table, "test", 0.5)
    for row in compare(run, run, table.of("test"), resamples=50):
        assert (row.difference, row.low, row.high, row.p, row.detectable) == (0.0, 0.0, 0.0, 1.0, 0.0)


def test_a_clearly_better_run_is_found_and_the_signs_turn_with_the_order(table):
    good, bad = made_up_run(table, "test", 0.2, "good"), made_up_run(table, "test", 2.0, "bad")
    forth = compare(good, bad, table.of("test"), resamples=400)
    back = compare(bad, good, table.of("test"), resamples=400)
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


def test_p_is_never_zero_and_two_sided():
    assert p_value(np.ones(99)) == pytest.approx(2 / 100)
    assert p_value(-np.ones(99)) == pytest.approx(2 / 100)
    assert p_value(np.r_[np.ones(50), -np.ones(50)]) == 1.0


def test_equal_runs_are_rarely_told_apart_and_a_detectable_difference_usually_is(rng):
    """Simulated studies of 25 systems: false alarms near 5 %, power near 80 % at the stated difference."""
    ids = tuple(f"c{i:03d}" for i in range(100))
    alarms = found = 0
    trials = 60
    for trial in range(trials):
        truth = np.clip(rng.normal(5, 1, 100), 0, 10)
        clips = [
            Clip(ids[i], "x.wav", system=f"s{i // 4:02d}", scores=(truth[i], None, None, None))
            for i in range(100)
        ]

        def run(name, error, truth=truth):
            return Predictions(name, "test", ids, (truth + error)[:, None], ("CE",))

        common = rng.normal(0, 0.5, 100)
        one, two = (common + rng.normal(0, 0.2, 25).repeat(4) for _ in range(2))
        row = compare(run("one", one), run("two", two), clips, 200, seed=trial)[0]
        assert row.metric == "mse"
        alarms += row.p < 0.05
        # Make the second worse by the difference that the first study says it could show.
        spoilt = np.sign(two) * np.sqrt(two**2 + row.detectable)
        found += compare(run("one", one), run("two", spoilt), clips, 200, seed=trial)[0].p < 0.05
    assert alarms / trials < 0.13
    assert 0.65 < found / trials < 0.95
