"""A against B: by hand, against scipy, and how often it cries wolf."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import t, ttest_ind, ttest_rel

from mmmos.heads.scoring.ab import EQUAL, HIGHER, LOWER, OPEN, compare_scores, namesakes


def side(values: np.ndarray, axis: str = "PQ", start: int = 0) -> dict[str, dict[str, float]]:
    return {f"{n + start:03d}": {axis: float(value)} for n, value in enumerate(values)}


def test_a_paired_comparison_by_hand() -> None:
    a, b = np.array([5.0, 6.0, 7.0, 4.0]), np.array([5.5, 6.1, 7.4, 4.6])
    (row,) = compare_scores(side(a), side(b), ("PQ",)).differences
    # Differences 0.5, 0.1, 0.4, 0.6: mean 0.4, deviation sqrt(0.14 / 3), error of the mean half of that.
    error = np.sqrt(0.14 / 3) / 2
    assert row.difference == pytest.approx(0.4)
    assert (row.low, row.high) == pytest.approx((0.4 - 3.182446 * error, 0.4 + 3.182446 * error), rel=1e-6)
    assert row.detectable == pytest.approx((3.182446 + 0.978472) * error, rel=1e-6)
    assert (row.n_a, row.n_b, row.verdict) == (4, 4, HIGHER)


def test_both_kinds_agree_with_scipy(rng: np.random.Generator) -> None:
    a, b = rng.normal(5, 1, 30), rng.normal(5.2, 2, 30)
    for pairing, theirs in (("paired", ttest_rel(b, a)), ("unpaired", ttest_ind(b, a, equal_var=False))):
        (row,) = compare_scores(side(a), side(b), ("PQ",), pairing=pairing).differences
        expected = theirs.confidence_interval(0.95)
        assert (row.low, row.high) == pytest.approx((expected.low, expected.high), rel=1e-9)


def test_several_axes_are_corrected_for(rng: np.random.Generator) -> None:
    values = rng.normal(5, 1, (20, 2, 2))
    a, b = ({f"{n}": {"CE": v[0], "PQ": v[1]} for n, v in enumerate(values[:, k])} for k in range(2))
    outcome = compare_scores(a, b, ("CE", "PQ"))
    assert [row.axis for row in outcome.differences] == ["CE", "PQ", "composite"]
    row = outcome.differences[0]
    error = (values[:, 1, 0] - values[:, 0, 0]).std(ddof=1) / np.sqrt(20)
    assert row.high - row.difference == pytest.approx(t.ppf(1 - 0.05 / 3 / 2, 19) * error)


def test_pairs_are_found_by_name_and_the_rest_is_named(rng: np.random.Generator) -> None:
    a, b = side(rng.normal(5, 1, 10)), side(rng.normal(5, 1, 10), start=4)
    assert not compare_scores(a, b, ("PQ",)).paired, "auto pairs only where every file has its namesake"
    outcome = compare_scores(a, b, ("PQ",), pairing="paired")
    assert (outcome.differences[0].n_a, len(outcome.left_out)) == (6, 8)
    assert compare_scores(a, a, ("PQ",)).paired
    assert namesakes((["x/a/b.wav"], "x"), (["y/a/b.mp3"], "y")) == [["a/b"], ["a/b"]]


def test_files_that_differ_by_their_suffix_alone_are_all_compared() -> None:
    names = namesakes((["x/0.wav", "x/0.flac", "x/1.wav"], "x"), (["y/0.wav", "y/1.mp3"], "y"))
    assert names == [["0.wav", "0.flac", "1"], ["0.wav", "1"]]
    (odd,) = namesakes((["x/0.wav", "x/0.flac", "x/0.wav.mp3"], "x"))
    assert len(set(odd)) == 3


@pytest.mark.parametrize(
    ("shift", "margin", "verdict"),
    [
        (0.5, 0.0, HIGHER),
        (-0.5, 0.0, LOWER),
        (0.01, 0.0, OPEN),
        (0.01, 0.3, EQUAL),
        (-0.5, 0.6, EQUAL),
        (-0.5, 0.5, OPEN),
    ],
)
def test_verdicts(rng: np.random.Generator, shift: float, margin: float, verdict: str) -> None:
    a = rng.normal(5, 1, 50)
    noise = rng.normal(0, 0.1, 50)
    outcome = compare_scores(side(a), side(a + shift + noise - noise.mean()), ("PQ",), margin=margin)
    assert outcome.differences[0].verdict == verdict
    assert outcome.worse == (verdict == LOWER)


def test_the_same_audio_twice_is_not_different() -> None:
    a = side(np.array([4.0, 5.0, 6.0]))
    (row,) = compare_scores(a, a, ("PQ",)).differences
    assert (row.low, row.high, row.verdict) == (0.0, 0.0, EQUAL)


def test_wolf_is_cried_once_in_twenty_runs_at_most(rng: np.random.Generator) -> None:
    axes = ("CE", "CU", "PC", "PQ")
    cries = 0
    for _ in range(400):
        values = rng.normal(5, 1, (2, 25, 4))
        a, b = ({str(n): dict(zip(axes, row, strict=True)) for n, row in enumerate(one)} for one in values)
        cries += any(row.verdict != OPEN for row in compare_scores(a, b, axes).differences)
    assert cries / 400 < 0.075


def test_a_difference_of_the_detectable_size_is_found_four_times_in_five(rng: np.random.Generator) -> None:
    planned = (
        compare_scores(side(rng.normal(0, 1, 500)), side(rng.normal(0, 1, 500)), ("PQ",))
        .differences[0]
        .detectable
    )
    found = [
        compare_scores(side(rng.normal(0, 1, 500)), side(rng.normal(planned, 1, 500)), ("PQ",))
        .differences[0]
        .verdict
        == HIGHER
        for _ in range(120)
    ]
    assert 0.68 < np.mean(found) < 0.9


@pytest.mark.parametrize(
    ("a", "b", "options", "message"),
    [
        ([1.0], [1.0, 2.0], {}, "at least two files on each side"),
        ([1.0, 2.0], [1.0, 2.0], {"pairing": "both"}, "unknown pairing"),
        ([1.0, 2.0], [1.0, 2.0], {"margin": -1.0}, "margin"),
    ],
)
def test_what_cannot_be_compared(a: list[float], b: list[float], options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        compare_scores(side(np.array(a)), side(np.array(b)), ("PQ",), **options)
