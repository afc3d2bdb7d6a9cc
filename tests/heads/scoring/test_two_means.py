"""Standard errors of means by hand and by leaving groups out, and what t can find."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import t

from mmmos.heads.scoring.two_means import POWER, detectable, shares, too_skewed, unpaired


def test_without_groups_the_error_is_the_usual_one(rng: np.random.Generator) -> None:
    values = rng.normal(0, 1, 12)
    assert np.linalg.norm(shares(values, np.arange(12), 12)) == pytest.approx(values.std(ddof=1) / 12**0.5)


def test_groups_are_left_out_one_after_the_other(rng: np.random.Generator) -> None:
    """The jackknife by its definition, with groups of 1, 2, 3 and 6 values and a number that nobody has."""
    index = np.repeat([0, 1, 2, 4], [1, 2, 3, 6])
    values = rng.normal(0, 1, 12)
    without = np.array([values[index != k].mean() for k in (0, 1, 2, 4)])
    expected = np.sqrt(3 / 4 * np.sum((without - values.mean()) ** 2))
    found = shares(values, index, 6)
    assert np.linalg.norm(found) == pytest.approx(expected)
    assert found[3] == found[5] == 0


@pytest.mark.parametrize(("of_a", "of_b", "welch"), [(3, 30, False), (8, 8, True), (20, 90, True)])
def test_degrees_of_freedom(rng: np.random.Generator, of_a: int, of_b: int, welch: bool) -> None:
    a, b = rng.normal(0, 1, of_a), rng.normal(0, 2, of_b)
    found = unpaired((a, b), (np.arange(of_a), of_a + np.arange(of_b)))
    parts = a.var(ddof=1) / of_a, b.var(ddof=1) / of_b
    assert found.error == pytest.approx(sum(parts) ** 0.5)
    theirs = sum(parts) ** 2 / (parts[0] ** 2 / (of_a - 1) + parts[1] ** 2 / (of_b - 1))
    assert found.freedom == pytest.approx(theirs if welch else of_a - 1)


def test_what_groups_share_cancels(rng: np.random.Generator) -> None:
    index = np.repeat(np.arange(6), 3)
    values = rng.normal(0, 1, 18)
    found = unpaired((values, values + 1.0), (index, index))
    assert found.error == pytest.approx(0.0, abs=1e-12)
    assert (found.freedom, found.reliable) == (5, True)


def test_the_skewness_of_a_difference_by_hand() -> None:
    """Nine zeros and a one have a skewness of 8 / 3."""
    one, many = np.array([0.0] * 9 + [1.0]), np.array(([0.0] * 9 + [1.0]) * 4)
    of_one, of_many = (shares(v, np.arange(len(v)), len(v)) for v in (one, many))
    # Of equal spreads the factor is 30 / sqrt(10 x 40 x 50) = 0.212: 0.212 x 8 / 3 = 0.57.
    assert too_skewed(of_one, of_many)
    assert not too_skewed(of_many, of_many), "alike and equally many: it cancels"
    assert too_skewed(of_many, 0.2 * of_one), "whichever side has more, and however they spread"
    even = np.tile([-1.0, 1.0], 20)
    assert not too_skewed(shares(even[:4], np.arange(4), 4), shares(even, np.arange(40), 40))


def test_values_without_any_spread_are_not_skewed() -> None:
    assert not too_skewed(np.zeros(3), np.zeros(30))
    assert unpaired((np.ones(3), np.ones(30)), (np.arange(3), 3 + np.arange(30))).error == 0


@pytest.mark.parametrize("freedom", [1.0, 2.0, 4.5, 60.0, 1e6])
def test_the_detectable_difference_is_found_with_the_stated_power(
    rng: np.random.Generator, freedom: float
) -> None:
    critical = float(t.ppf(0.995, freedom))
    deviation = np.sqrt(rng.chisquare(freedom, 200_000) / freedom)
    shift = detectable(critical, freedom) * deviation.mean()
    found = rng.normal(shift, 1, 200_000) > critical * deviation
    assert found.mean() == pytest.approx(POWER, abs=0.005)
