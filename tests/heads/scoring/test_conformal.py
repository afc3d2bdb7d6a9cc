"""Groups of conformal prediction: real and synthetic clips of a domain."""

from __future__ import annotations

import numpy as np

from mmmos.heads.scoring.conformal import ALL_DOMAINS, MIN_CLIPS, HeldOut, group_quantiles
from mmmos.heads.scoring.intervals import Intervals, calibrate, covered, measure_coverage


def mixed(rng: np.random.Generator, real: int, synthetic: int) -> HeldOut:
    """Music whose synthetic clips have three times the error."""
    origins = np.repeat(["real", "synthetic"], [real, synthetic])
    count = real + synthetic
    errors = rng.normal(0, 1, (count, 1)) * np.where(origins == "real", 1.0, 3.0)[:, None]
    return HeldOut(errors, np.zeros((count, 1)), np.full(count, "music"), np.full(count, ""), origins)


def test_real_and_synthetic_clips_are_covered_each(rng: np.random.Generator) -> None:
    shares: dict[tuple[str, float], list[float]] = {}
    for _ in range(40):
        made = calibrate(("MOS",), mixed(rng, 200, 60), np.zeros(1), "simulated")
        for row in measure_coverage(made, mixed(rng, 400, 400), "new"):
            shares.setdefault((row.domain, row.level), []).append(row.share)
    for level in (0.8, 0.95):
        assert np.mean(shares["all/synthetic", level]) > level - 0.02
        assert np.mean(shares["all/real", level]) > level


def test_a_stated_origin_narrows_the_interval(rng: np.random.Generator) -> None:
    made = calibrate(("MOS",), mixed(rng, 200, 100), np.zeros(1), "simulated")
    real, synthetic, unknown = (
        made.half_widths(0.8, np.zeros(1), name)[0] for name in ("music/real", "music/synthetic", "music")
    )
    assert 2 * real < synthetic == unknown
    assert made.clips == {"": 300, "real": 200, "synthetic": 100, "music": 300} | {
        "music/real": 200,
        "music/synthetic": 100,
    }
    assert Intervals.from_json(made.to_json()) == made


def test_too_few_of_one_origin_stay_with_their_domain(rng: np.random.Generator) -> None:
    few = mixed(rng, 100, MIN_CLIPS - 1)
    quantiles, clips = group_quantiles(np.abs(few.errors), few)
    assert set(quantiles) == set(clips) == {ALL_DOMAINS, "music"}
    made = calibrate(("MOS",), few, np.zeros(1), "simulated")
    assert np.isfinite(covered(made, few, 0.8)[0]).all()
