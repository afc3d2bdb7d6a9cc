"""A against B: by hand, against scipy, and how often it cries wolf."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import t, ttest_ind, ttest_rel

from mmmos.heads.scoring.ab import (
    EQUAL,
    HIGHER,
    LOWER,
    OPEN,
    TOO_FEW,
    Difference,
    compare_scores,
    groups_by_pattern,
    namesakes,
)


def side(values: np.ndarray, axis: str = "PQ", start: int = 0) -> dict[str, dict[str, float]]:
    return {f"{n + start:03d}": {axis: float(value)} for n, value in enumerate(values)}


def test_a_paired_comparison_by_hand() -> None:
    a, b = np.array([5.0, 6.0, 7.0, 4.0]), np.array([5.5, 6.1, 7.4, 4.6])
    (row,) = compare_scores(side(a), side(b), ("PQ",)).differences
    # Differences 0.5, 0.1, 0.4, 0.6: mean 0.4, deviation sqrt(0.14 / 3), error of the mean half of that.
    error = np.sqrt(0.14 / 3) / 2
    assert row.difference == pytest.approx(0.4)
    assert (row.low, row.high) == pytest.approx((0.4 - 3.182446 * error, 0.4 + 3.182446 * error), rel=1e-6)
    # A noncentral t of 4.255899 exceeds 3.182446 in 80 % (3 degrees of freedom); a deviation of four normal
    # values is 0.921318 of the true one on average.
    assert row.detectable == pytest.approx(4.255899 * error / 0.921318, rel=1e-6)
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


@pytest.mark.parametrize(("of_a", "of_b"), [(25, 25), (3, 30), (30, 3), (10, 40)])
def test_wolf_is_cried_once_in_twenty_runs_at_most(rng: np.random.Generator, of_a: int, of_b: int) -> None:
    axes = ("CE", "CU", "PC", "PQ")
    cries = 0
    for _ in range(300):
        a, b = (
            {str(n): dict(zip(axes, row, strict=True)) for n, row in enumerate(rng.normal(5, 1, (size, 4)))}
            for size in (of_a, of_b)
        )
        outcome = compare_scores(a, b, axes, pairing="unpaired")
        cries += any(row.verdict in (LOWER, HIGHER) for row in outcome.differences)
    assert cries / 300 < 0.08


def failing(rng: np.random.Generator, count: int, spread: float = 1.0) -> np.ndarray:
    """Scores of a system that fails in one file of ten, of mean 0."""
    scores = np.where(rng.random(count) < 0.1, rng.normal(2, 1, count), rng.normal(8, 0.5, count))
    return spread * (scores - 7.4)


@pytest.mark.parametrize("spread", [0.5, 1.0, 2.0])
def test_a_few_files_of_skewed_scores_are_not_judged_against_many(
    rng: np.random.Generator, spread: float
) -> None:
    """By t alone, 20 % and more of such sides of equal means would be called different."""
    found = [
        compare_scores(side(failing(rng, 10, spread)), side(failing(rng, 100)), ("PQ",), pairing="unpaired")
        for _ in range(200)
    ]
    assert sum(one.differences[0].verdict in (LOWER, HIGHER) for one in found) / 200 < 0.05


def test_what_is_not_judged_has_no_interval(rng: np.random.Generator) -> None:
    scores = failing(rng, 103)
    a, b = side(scores[:3] - 4.0), side(scores[3:])
    (row,) = compare_scores(a, b, ("PQ",)).differences
    assert (row.verdict, row.low, row.high, row.detectable) == (TOO_FEW, None, None, None)
    assert row.difference == pytest.approx(scores[3:].mean() - scores[:3].mean() + 4.0)
    assert not compare_scores(a, b, ("PQ",)).worse


def test_skewness_on_both_sides_alike_cancels(rng: np.random.Generator) -> None:
    scores = failing(rng, 60)
    a, b = side(scores), side(np.concatenate((scores[5:], scores[:5])) - 1.0, start=100)
    assert compare_scores(a, b, ("PQ",)).differences[0].verdict == LOWER
    assert compare_scores(a, side(scores - 1.0), ("PQ",)).differences[0].verdict == LOWER


@pytest.mark.parametrize(("count", "pairing"), [(4, "paired"), (4, "unpaired"), (60, "unpaired")])
def test_a_difference_of_the_detectable_size_is_found_four_times_in_five(
    rng: np.random.Generator, count: int, pairing: str
) -> None:
    def studied(shift: float) -> list[Difference]:
        pairs = ((side(rng.normal(0, 1, count)), side(rng.normal(shift, 1, count))) for _ in range(300))
        return [compare_scores(a, b, ("PQ",), pairing=pairing).differences[0] for a, b in pairs]

    planned = float(np.mean([row.detectable for row in studied(0.0)]))
    found = [row.verdict == HIGHER for row in studied(planned)]
    assert 0.73 < np.mean(found) < 0.89


def speakers(rng: np.random.Generator, count: int, files: int, prefix: str = "s") -> tuple[dict, dict]:
    """Scores and groups of `count` speakers with so many files each, which differ by speaker alone."""
    own = rng.normal(5, 1, count)
    names = [f"{prefix}{k}-{n}" for k in range(count) for n in range(files)]
    scores = {name: {"PQ": float(own[n // files])} for n, name in enumerate(names)}
    return scores, {name: name.split("-")[0] for name in names}


def test_files_of_one_speaker_are_one_observation(rng: np.random.Generator) -> None:
    """Ten files each that say the same tell no more than one each."""
    (many, of_many), (other, of_other) = speakers(rng, 8, 10), speakers(rng, 8, 10, "t")
    groups = (of_many, of_other)
    (row,) = compare_scores(many, other, ("PQ",), groups=groups).differences
    one, two = ({n: s for n, s in side.items() if n.endswith("-0")} for side in (many, other))
    (single,) = compare_scores(one, two, ("PQ",)).differences
    assert (row.low, row.high, row.detectable) == pytest.approx((single.low, single.high, single.detectable))
    assert (row.n_a, row.groups_a, single.groups_a) == (80, 8, 8)
    (blind,) = compare_scores(many, other, ("PQ",)).differences
    assert blind.high - blind.low < 0.4 * (row.high - row.low)


@pytest.mark.parametrize("pairing", ["paired", "unpaired"])
def test_speakers_on_both_sides_are_left_out_on_both(rng: np.random.Generator, pairing: str) -> None:
    """The same speakers before and after: what differs between speakers does not blur the difference."""
    before, of = speakers(rng, 10, 6)
    after = {name: {"PQ": v["PQ"] + 0.2 + rng.normal(0, 0.02)} for name, v in before.items()}
    (row,) = compare_scores(before, after, ("PQ",), pairing=pairing, groups=(of, of)).differences
    assert row.verdict == HIGHER
    assert row.high - row.low < 0.1
    assert row.groups_b == 10


def test_speakers_without_a_difference_are_rarely_called_different(rng: np.random.Generator) -> None:
    cries = 0
    for _ in range(300):
        (a, of_a), (b, of_b) = speakers(rng, 4, 5), speakers(rng, 12, 5, "t")
        (row,) = compare_scores(a, b, ("PQ",), groups=(of_a, of_b)).differences
        cries += row.verdict != OPEN
    assert cries / 300 < 0.08


def test_groups_are_found_in_names() -> None:
    names = ["p225/001", "p225/002", "p226/001"]
    assert list(groups_by_pattern(r"p\d+", names).values()) == ["p225", "p225", "p226"]
    assert list(groups_by_pattern(r"/(\d+)", names).values()) == ["001", "002", "001"]
    with pytest.raises(ValueError, match="finds nothing in 'noise'"):
        groups_by_pattern(r"p\d+", [*names, "noise"])
    with pytest.raises(ValueError, match="not a regular expression"):
        groups_by_pattern("p(", names)


def test_one_group_alone_cannot_be_compared(rng: np.random.Generator) -> None:
    a, of_a = speakers(rng, 1, 5)
    with pytest.raises(ValueError, match="at least two groups"):
        compare_scores(a, a, ("PQ",), groups=(of_a, {}))


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
