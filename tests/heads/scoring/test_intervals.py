"""Intervals: the conformal rank by hand, the promise on simulated clips, and on the demonstration corpus."""

from __future__ import annotations

import json

import numpy as np
import pytest

from mmmos.heads.results.assessment import load_ensemble
from mmmos.heads.results.experiment import open_experiment
from mmmos.heads.scoring.held_out import errors_of, panel_noise
from mmmos.heads.scoring.intervals import (
    LEVELS,
    MIN_CLIPS,
    Intervals,
    base_errors,
    calibrate,
    conformal_quantile,
    covered,
    cross_check,
    measure,
)
from mmmos.store.schema import AXES
from tests.heads.scoring.experiment import scoring_experiment


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
    made = Intervals(("PQ",), (3.0,), {"": dict.fromkeys(LEVELS, (2.0,))}, {"": 9}, "here")
    assert made.half_widths(0.8, np.array([4.0])) == pytest.approx([10.0])
    assert made.half_widths(0.8, np.array([4.0]), "unheard of") == pytest.approx([10.0])


def simulated(rng: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Errors twice as large in music, and half of them told by the spread."""
    domains = ["music" if music else "speech" for music in rng.random(count) < 0.3]
    size = np.where(np.array(domains) == "music", 1.0, 0.5)[:, None]
    spread = rng.gamma(2.0, 0.3, (count, 2)) * size
    errors = rng.standard_t(4, (count, 2)) * np.hypot(spread, 0.5 * size)
    errors[rng.random((count, 2)) < 0.1] = np.nan
    return errors, spread, domains


def test_every_domain_is_covered_as_promised_and_no_more(rng: np.random.Generator) -> None:
    shares: dict[tuple[str, float], list[float]] = {}
    for _ in range(40):
        made = calibrate(("CE", "PQ"), *simulated(rng, 300), np.zeros(2), "simulated")
        for row in measure(made, *simulated(rng, 400), "new"):
            shares.setdefault((row.domain, row.level), []).append(row.share)
    for (_domain, level), found in shares.items():
        # At least the level, at most 1/(n + 1) above it for the smallest n (some 80 clips), and chance.
        assert level - 0.012 < np.mean(found) < level + 0.03
    assert {domain for domain, _ in shares} == {"all", "music", "speech"}


def test_quantiles_over_all_domains_would_fail_one_of_them(rng: np.random.Generator) -> None:
    errors, spread, domains = simulated(rng, 4000)
    made = calibrate(("CE", "PQ"), errors, spread, domains, np.zeros(2), "simulated")
    pooled = Intervals(made.axes, made.base, {"": made.quantiles[""]}, made.clips, made.source)
    new = simulated(rng, 4000)
    share = {
        row.domain: row.share for row in measure(pooled, *new, "new") if row.level == 0.8 and row.axis == "CE"
    }
    assert share["music"] < 0.74
    assert share["speech"] > 0.8


def test_few_clips_fall_back_on_all_of_them(rng: np.random.Generator) -> None:
    errors, spread, domains = simulated(rng, 40)
    domains = ["music"] * (MIN_CLIPS - 2) + ["speech"] * (40 - MIN_CLIPS + 2)
    made = calibrate(("CE", "PQ"), np.nan_to_num(errors), spread, domains, np.zeros(2), "simulated")
    assert set(made.quantiles) == {"", "speech"}
    np.testing.assert_array_equal(made.half_widths(0.8, spread[0], "music"), made.half_widths(0.8, spread[0]))
    tiny = calibrate(
        ("CE", "PQ"), np.nan_to_num(errors[:10]), spread[:10], domains[:10], np.zeros(2), "simulated"
    )
    assert np.isnan(tiny.half_widths(0.95, spread[0])).all(), "ten clips cannot promise 95 %"
    assert np.isfinite(tiny.half_widths(0.8, spread[0])).all()
    assert np.isnan(covered(tiny, errors, spread, domains, 0.95)[0]).all()


def test_intervals_survive_json_and_forgeries_do_not(rng: np.random.Generator) -> None:
    made = calibrate(("CE", "PQ"), *simulated(rng, 100), np.zeros(2), "simulated")
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
    errors, spread, domains = simulated(rng, 100)
    errors[:, 0] = np.nan
    made = calibrate(("CE", "PQ"), errors, spread, domains, np.zeros(2), "simulated")
    half = made.half_widths(0.8, spread[0])
    assert np.isnan(half[0])
    assert np.isfinite(half[1])
    rows = cross_check(("CE", "PQ"), errors, spread, domains, [""] * 100, np.zeros(2), "simulated")
    assert {row.axis for row in rows} == {"PQ"}
    none = calibrate(("CE",), np.empty((0, 1)), np.empty((0, 1)), [], np.zeros(1), "no clips")
    assert np.isnan(none.half_widths(0.95, np.ones(1), "music")).all()
    assert cross_check(("CE",), np.empty((0, 1)), np.empty((0, 1)), [], [], np.zeros(1), "") == ()
    assert Intervals.from_json(json.loads(json.dumps(none.to_json()))) == none


@pytest.mark.slow
def test_intervals_hold_on_the_demonstration_corpus() -> None:
    experiment = open_experiment(scoring_experiment().work)
    ensemble = load_ensemble(experiment)
    held_out = errors_of(experiment, ensemble, ["dev", "pam", "test"], len(AXES))
    axes = AXES
    noise = panel_noise(experiment.table.clips, axes)
    rows = cross_check(
        axes, held_out.errors, held_out.spread, held_out.domains, held_out.groups, noise, "held out"
    )
    for level in LEVELS:
        share = np.mean([row.share for row in rows if row.level == level and row.domain == "all"])
        assert abs(share - level) < 0.05
    for row in rows:
        if row.domain == "all":
            assert abs(row.share - row.level) < 0.05, row
