"""Standard errors of means of files that may share a speaker or text, and what differences they can show."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import gammaln
from scipy.stats import nct

Array = NDArray[np.float64]
Index = NDArray[np.intp]

POWER = 0.80
ENOUGH_GROUPS = 20
"""With so many on both sides Welch's degrees of freedom hold, however many more one side has."""

MAX_SKEWNESS = 0.8
"""Scores up to this skewness (0: symmetric, 2: exponential) do Student's t no harm with few of them."""
MAX_SKEWNESS_OF_DIFFERENCE = 0.2
"""Above, t is off by some points: n > 25 skewness^2 (Cochran, Sampling Techniques, 1977, section 2.15)."""


def shares(values: Array, index: Index, count: int) -> Array:
    """What each group adds to the standard error of a mean, from leaving it out (the jackknife).

    Parameters
    ----------
    values
        [N], of at least two groups.
    index
        [N] number of the group of each, below `count`.

    Returns
    -------
    [count], 0 for groups without values.  The root of their sum of squares is the standard error; where every
    value is a group of its own it is the usual one.
    """
    sums = np.bincount(index, weights=values - values.mean(), minlength=count)
    sizes = np.bincount(index, minlength=count)
    groups = np.count_nonzero(sizes)
    return np.asarray(sums / (len(values) - sizes) * math.sqrt((groups - 1) / groups))


@dataclass(frozen=True)
class Uncertainty:
    """Of a difference of two means: standard error, degrees of freedom, and whether t can be relied upon."""

    error: float
    freedom: float
    reliable: bool = True


def unpaired(sides: tuple[Array, Array], index: tuple[Index, Index]) -> Uncertainty:
    """Of two sides whose values are not paired.

    index: the group of each value, [N] of either side; the same number on both sides is the same group.
    """
    count = int(max(of.max() for of in index)) + 1
    of_a, of_b = (shares(values, of, count) for values, of in zip(sides, index, strict=True))
    error = float(np.linalg.norm(of_b - of_a))
    groups = [len(np.unique(of)) for of in index]
    shared = len(np.intersect1d(*index)) > 0
    if shared:
        return Uncertainty(error, min(groups) - 1.0)
    reliable = not too_skewed(of_a[np.unique(index[0])], of_b[np.unique(index[1])])
    if groups[0] != groups[1] and min(groups) < ENOUGH_GROUPS:
        return Uncertainty(error, min(groups) - 1.0, reliable)
    parts = [float(np.sum(part**2)) for part in (of_a, of_b)]
    below = sum(part**2 / (size - 1) for part, size in zip(parts, groups, strict=True))
    return Uncertainty(error, sum(parts) ** 2 / below if below else 1.0, reliable)


def too_skewed(of_a: Array, of_b: Array) -> bool:
    """Whether few values stand against many, and are too skewed for Student's t.

    A few values show neither their skewness nor their spread: where they hold none of the rare low scores,
    they look sure of a mean that is too high.  So the skewness is that of both sides together, and both count
    as equally spread.  Of equally many values it cancels in the difference.

    Parameters
    ----------
    of_a, of_b
        `shares` of the groups of each side, [groups].
    """
    a, b = len(of_a), len(of_b)
    scaled = [part / max(math.sqrt(np.mean(part**2)), 1e-300) for part in (of_a, of_b)]
    skewness = abs(float(np.mean(np.concatenate(scaled) ** 3)))
    of_difference = skewness * abs(a - b) / math.sqrt(a * b * (a + b))
    return skewness > MAX_SKEWNESS and of_difference > MAX_SKEWNESS_OF_DIFFERENCE


@lru_cache(maxsize=256)
def detectable(critical: float, freedom: float) -> float:
    """The true difference, in standard errors as estimated, that Student's t finds with a power of POWER.

    critical: the t beyond which a difference is found; freedom: of its degrees.  t of a true difference is
    noncentral.  An estimated standard error is too small on average with few values, which is corrected for.
    """

    def missing(shift: float) -> float:
        return float(nct.sf(critical, freedom, shift)) - POWER

    ratio = float(gammaln((freedom + 1) / 2) - gammaln(freedom / 2))
    expected = math.sqrt(2 / freedom) * math.exp(ratio)
    return float(brentq(missing, 0.0, 4 * critical + 10)) / expected
