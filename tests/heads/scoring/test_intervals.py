"""Intervals: the conformal rank by hand, and the promise on simulated clips."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from mmmos.heads.scoring.intervals import (
    CONFIDENCE_LEVELS,
    MIN_CLIPS,
    HeldOut,
    Intervals,
    base_errors,
    calibrate,
    conformal_quantile,
    covered,
    cross_check,
    measure_coverage,
)


@pytest.mark.parametrize(
    ("count", "level", "rank"),
    [
        (19, 0.95, 19),
        (18, 0.95, None),
        (20, 0.95, 20),
        (39, 0.95, 38),
        (4, 0.8, 4),
        (3, 0.8, None),
        (99, 0.8, 80),
    ],
)
def test_the_rank_is_that_of_the_theorem(count: int, level: float, rank: int | None) -> None:
    scores = np.random.default_rng(0).permutation(np.arange(1.0, count + 1))
    assert conformal_quantile(np.append(scores, np.nan), level) == rank


def test_base_and_half_width_by_hand() -> None:
    errors = np.array([[3.0], [-1.0], [np.nan], [1.0]])
    spread = np.full((4, 1), 1.0)
    # (9 + 1 + 1) / 3 - 1 = 8/3
    assert base_errors(errors, spread, np.zeros(1)) == pytest.approx([np.sqrt(8 / 3)])
    assert base_errors(errors, spread, np.array([2.0])) == pytest.approx([2.0]), (
        "never below the raters' noise"
    )
    made = Intervals(("PQ",), (3.0,), {"": dict.fromkeys(CONFIDENCE_LEVELS, (2.0,))}, {"": 9}, "here")
    assert made.half_widths(0.8, np.array([4.0])) == pytest.approx([10.0])
    assert made.half_widths(0.8, np.array([4.0]), "unheard of") == pytest.approx([10.0])


def simulated(rng: np.random.Generator, count: int) -> HeldOut:
    """Errors twice as large in music, and half of them told by the spread."""
    domains = np.where(rng.random(count) < 0.3, "music", "speech")
    size = np.where(domains == "music", 1.0, 0.5)[:, None]
    spread = rng.gamma(2.0, 0.3, (count, 2)) * size
    errors = rng.standard_t(4, (count, 2)) * np.hypot(spread, 0.5 * size)
    errors[rng.random((count, 2)) < 0.1] = np.nan
    return HeldOut(errors, spread, domains, np.full(count, ""))


def test_every_domain_is_covered_as_promised_and_no_more(rng: np.random.Generator) -> None:
    shares: dict[tuple[str, float], list[float]] = {}
    for _ in range(40):
        made = calibrate(("CE", "PQ"), simulated(rng, 300), np.zeros(2), "simulated")
        for row in measure_coverage(made, simulated(rng, 400), "new"):
            shares.setdefault((row.domain, row.level), []).append(row.share)
    for (_domain, level), found in shares.items():
        # At least the level, at most 1/(n + 1) above it for the smallest n (some 80 clips), and chance.
        assert level - 0.012 < np.mean(found) < level + 0.03
    assert {domain for domain, _ in shares} == {"all", "music", "speech"}


def test_quantiles_over_all_domains_would_fail_one_of_them(rng: np.random.Generator) -> None:
    made = calibrate(("CE", "PQ"), simulated(rng, 4000), np.zeros(2), "simulated")
    pooled = Intervals(made.axes, made.base, {"": made.quantiles[""]}, made.clips, made.source)
    new = simulated(rng, 4000)
    share = {
        row.domain: row.share
        for row in measure_coverage(pooled, new, "new")
        if row.level == 0.8 and row.axis == "CE"
    }
    assert share["music"] < 0.74
    assert share["speech"] > 0.8


def test_few_clips_fall_back_on_all_of_them(rng: np.random.Generator) -> None:
    few = simulated(rng, 40)
    domains = np.repeat(["music", "speech"], [MIN_CLIPS - 2, 40 - MIN_CLIPS + 2])
    few = replace(few, errors=np.nan_to_num(few.errors), domains=domains)
    made = calibrate(("CE", "PQ"), few, np.zeros(2), "simulated")
    spread = few.spread[0]
    assert set(made.quantiles) == {"", "speech"}
    np.testing.assert_array_equal(made.half_widths(0.8, spread, "music"), made.half_widths(0.8, spread))
    tiny = calibrate(("CE", "PQ"), few.of(np.arange(40) < 10), np.zeros(2), "simulated")
    assert np.isnan(tiny.half_widths(0.95, spread)).all(), "ten clips cannot promise 95 %"
    assert np.isfinite(tiny.half_widths(0.8, spread)).all()
    assert np.isnan(covered(tiny, few, 0.95)[0]).all()


def test_intervals_survive_json_and_forgeries_do_not(rng: np.random.Generator) -> None:
    made = calibrate(("CE", "PQ"), simulated(rng, 100), np.zeros(2), "simulated")
    text = json.dumps(made.to_json(), allow_nan=False)
    assert Intervals.from_json(json.loads(text)) == made
    for field, value in [
        ("base", [1.0]),
        ("base", [1.0, None]),
        ("quantiles", {}),
        ("quantiles", {"": {"0.8": [1, 1]}}),
    ]:
        with pytest.raises((ValueError, KeyError)):
            Intervals.from_json({**made.to_json(), field: value})


def test_an_axis_without_ratings_has_no_interval_and_the_others_do(rng: np.random.Generator) -> None:
    held_out = simulated(rng, 100)
    held_out.errors[:, 0] = np.nan
    made = calibrate(("CE", "PQ"), held_out, np.zeros(2), "simulated")
    half = made.half_widths(0.8, held_out.spread[0])
    assert np.isnan(half[0])
    assert np.isfinite(half[1])
    rows = cross_check(("CE", "PQ"), held_out, np.zeros(2), "simulated")
    assert {row.axis for row in rows} == {"PQ"}
    nobody = held_out.of(np.zeros(100, dtype=bool))
    none = calibrate(("CE", "PQ"), nobody, np.zeros(2), "no clips")
    assert np.isnan(none.half_widths(0.95, np.ones(2), "music")).all()
    assert cross_check(("CE", "PQ"), nobody, np.zeros(2), "") == ()
    assert Intervals.from_json(json.loads(json.dumps(none.to_json()))) == none


def test_whole_groups_are_left_out_together() -> None:
    """Clips of a group share their error: only where a whole group is left out does its size show."""
    error = np.repeat([0.1, 0.1, 0.1, 0.1, 5.0], 40)[:, None]
    alone = HeldOut(error, np.zeros((200, 1)), np.full(200, ""), np.full(200, ""))
    grouped = replace(alone, groups=np.repeat(["a", "b", "c", "d", "e"], 40))
    share = {
        name: next(r.share for r in cross_check(("PQ",), of, np.zeros(1), "") if r.level == 0.8)
        for name, of in (("alone", alone), ("grouped", grouped))
    }
    assert share["grouped"] == pytest.approx(0.8)
    assert share["alone"] > 0.85
