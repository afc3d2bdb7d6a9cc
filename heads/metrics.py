"""Agreement between predicted and rated scores (paper IV): MSE, LCC, SRCC and KTAU.

To add a metric, write its function and one entry in METRICS; evaluation, comparison, tuning, tables, plots
and the report read all that they need from the entry.

Conventions.  `pred` and `truth` are float arrays [N], finite, of equal length, on the same scale.
A correlation is undefined for fewer than three items (two always give 1 or -1, which says nothing) and
where one side is constant; then the metric is None and `why_undefined` says why.  It is never NaN and never
0 in place of "unknown".

Levels.  Utterance level compares clips.  System level compares the means of the clips of each system,
as in the VoiceMOS and AudioMOS challenges.  The composite is the mean of the rated axes of one clip.

Ties.  Two means that are equal in exact arithmetic may differ in their last bit, and a rank correlation would
take that for an order.  So every mean that is compared is rounded to 1e-9 (`tie_safe`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import kendalltau

Array = NDArray[np.float64]
LEVELS = ("utterance", "system")

MIN_ITEMS = 3
TIE_DIGITS = 9
"""Decimals that means are rounded to before they are compared."""

SPREAD_FLOOR = 1e-12
"""A side whose range is below this share of its largest value is constant up to rounding."""


@dataclass(frozen=True)
class Metric:
    """A measure of agreement, and what the rest of the project must know of it.

    Parameters
    ----------
    function
        (pred [N], truth [N]) -> value, or None where it is undefined; raises ValueError as `validated` does.
    better
        "low" for errors, "high" for agreement: which way a search goes and how plots are labelled.
    needs
        The fewest items for which it can be defined.
    varied
        True where it is undefined if all predictions or all ratings are equal, as a correlation is.
    ceiling
        Name of the rule in `results.ceiling.RULES` that tells the best possible value; None where none does.
    baseline
        Name in `results.baselines.BASELINES` of the trivial prediction that stands beside it.
    unit
        Unit of its values in words, "" for a number without one.
    interval
        Name in `inference.FORMS` of the scale on which its interval is computed.
    """

    function: Callable[[ArrayLike, ArrayLike], float | None]
    better: Literal["low", "high"]
    needs: int = 1
    varied: bool = False
    ceiling: str | None = None
    baseline: Literal["train mean", "domain oracle"] = "train mean"
    unit: str = ""
    interval: Literal["plain", "error", "pearson", "spearman", "kendall"] = "plain"

    def __call__(self, pred: ArrayLike, truth: ArrayLike) -> float | None:
        """The value of `function` on two rows [N]."""
        return self.function(pred, truth)

    def why_undefined(self, pred: ArrayLike, truth: ArrayLike) -> str:
        """The reason why this metric is None on two rows [N], or "" where it is a number."""
        return obstacle(*validated(pred, truth), self.needs, self.varied)


def mse(pred: ArrayLike, truth: ArrayLike) -> float | None:
    """Mean squared error, in squared units of the scale; the lower the better."""
    p, t = validated(pred, truth)
    return float(np.mean((p - t) ** 2)) if len(p) else None


def lcc(pred: ArrayLike, truth: ArrayLike) -> float | None:
    """Pearson's linear correlation, -1 to 1."""
    p, t = validated(pred, truth)
    return None if obstacle(p, t) else pearson(p, t)


def srcc(pred: ArrayLike, truth: ArrayLike) -> float | None:
    """Spearman's rank correlation, -1 to 1: Pearson's of the ranks, ties sharing their mean rank."""
    p, t = validated(pred, truth)
    return None if obstacle(p, t) else rank_correlation(ranks(p), ranks(t))


def ranks(values: Array) -> Array:
    """[N] from 1 for the smallest; equal values share their mean rank (as `scipy.stats.rankdata`).

    The order among equals does not matter then, so the fastest sort will do.
    """
    order = np.argsort(values)
    ordered = values[order]
    place = np.arange(1.0, len(values) + 1)
    equal = np.flatnonzero(ordered[1:] == ordered[:-1])  # each of these equals the next one
    if len(equal):
        starts = np.append(True, np.diff(equal) > 1)
        ends = np.append(starts[1:], True)
        mean = (equal[starts] + equal[ends] + 1) / 2 + 1
        place[equal] = place[equal + 1] = mean[np.cumsum(starts) - 1]
    found = np.empty(len(values))
    found[order] = place
    return found


def rank_correlation(one: Array, other: Array) -> float:
    """Pearson's correlation of two rows of ranks [N], whose mean is (N + 1) / 2 whatever ties there are.

    Every product and sum is exact up to 200,000 items: four times each is a whole number below 2^53.
    """
    level = len(one) * ((len(one) + 1) / 2) ** 2
    cross, first, second = one @ other - level, one @ one - level, other @ other - level
    return float(np.clip(cross / np.sqrt(first * second), -1.0, 1.0))


def ktau(pred: ArrayLike, truth: ArrayLike) -> float | None:
    """Kendall's tau-b, -1 to 1: agreeing less disagreeing pairs, corrected for ties on either side."""
    p, t = validated(pred, truth)
    return None if obstacle(p, t) else float(kendalltau(p, t, method="asymptotic").statistic)


def mse_parts(pred: ArrayLike, truth: ArrayLike) -> tuple[float, float, float] | None:
    """The mean squared error in three parts that sum to it; None where nothing is compared.

    Parameters
    ----------
    pred, truth
        [N], N >= 1.

    Returns
    -------
    level
        The squared difference of the means: a constant that is added to all predictions mends it.
    spread
        The squared difference of the standard deviations: another scale mends it.
    rest
        What no level and no scale mends: 2 * deviation of pred * deviation of truth * (1 - LCC).
    """
    p, t = validated(pred, truth)
    if not len(p):
        return None
    level, spread = float((p.mean() - t.mean()) ** 2), float((p.std() - t.std()) ** 2)
    return level, spread, float(2 * (p.std() * t.std() - np.mean((p - p.mean()) * (t - t.mean()))))


def pearson(p: Array, t: Array) -> float:
    """Pearson's correlation of two non-constant arrays [N], held inside [-1, 1] against rounding."""
    p, t = p - p.mean(), t - t.mean()
    # Scaling first keeps tiny or huge spreads from under- or overflowing when squared.
    p, t = p / np.abs(p).max(), t / np.abs(t).max()
    return float(np.clip(p @ t / np.sqrt((p @ p) * (t @ t)), -1.0, 1.0))


def is_constant(values: Array) -> bool:
    """True where all values are equal up to rounding."""
    return bool(np.ptp(values) <= SPREAD_FLOOR * np.abs(values).max())


def validated(pred: ArrayLike, truth: ArrayLike) -> tuple[Array, Array]:
    """Both sides as float64 [N]; ValueError for other shapes, unequal lengths, NaN or infinity."""
    p, t = np.asarray(pred, dtype=np.float64), np.asarray(truth, dtype=np.float64)
    if p.ndim != 1 or p.shape != t.shape:
        raise ValueError(f"predictions {p.shape} and ratings {t.shape} must be two equally long rows [N]")
    for side, values in (("predictions", p), ("ratings", t)):
        bad = int(np.count_nonzero(~np.isfinite(values)))
        if bad:
            raise ValueError(f"{bad} of {len(values)} {side} are not finite; leave unrated clips out first")
    return p, t


def tie_safe(values: Array) -> Array:
    """Values rounded to 1e-9, so that means that are equal in exact arithmetic are equal here."""
    # Adding 0 makes -0 a 0.
    return np.asarray(np.round(values, TIE_DIGITS) + 0.0)


def composite(pred: ArrayLike, truth: ArrayLike) -> tuple[Array, Array]:
    """Per clip the mean over the axes that have both sides, [N, A] -> two rows [N].

    A missing rating is NaN in `truth`; the prediction of that axis is then left out as well, so both
    means are over the same axes.  A clip without any rated axis is NaN on both sides.
    """
    mean_p, mean_t = axis_means(pred, truth)
    return tie_safe(mean_p), tie_safe(mean_t)


def axis_means(pred: ArrayLike, truth: ArrayLike) -> tuple[Array, Array]:
    """`composite`, not yet rounded to be compared: what averages of runs are made of."""
    p, t = np.asarray(pred, dtype=np.float64), np.asarray(truth, dtype=np.float64)
    both = np.isfinite(p) & np.isfinite(t)
    count = both.sum(axis=1)
    divisor = np.where(count > 0, count, np.nan)
    mean_p, mean_t = (np.where(both, side, 0.0).sum(axis=1) / divisor for side in (p, t))
    return mean_p, mean_t


def system_means(values: ArrayLike, systems: Sequence[str]) -> tuple[tuple[str, ...], Array]:
    """System names in alphabetical order and the mean of each system's clips, [N, ...] -> [S, ...]."""
    array = np.asarray(values, dtype=np.float64)
    if len(array) != len(systems):
        raise ValueError(f"{len(array)} values for {len(systems)} system names")
    names, index = np.unique(np.asarray(systems, dtype=str), return_inverse=True)
    sums = np.zeros((len(names), *array.shape[1:]))
    np.add.at(sums, index, array)
    counts = np.bincount(index, minlength=len(names)).reshape(-1, *[1] * (array.ndim - 1))
    return tuple(str(name) for name in names), tie_safe(sums / counts)


def obstacle(p: Array, t: Array, needs: int = MIN_ITEMS, varied: bool = True) -> str:
    """Why a metric with these needs (by default a correlation's) is undefined on p, t [N], or ""."""
    if len(p) < needs:
        what = "a correlation" if varied else "the metric"
        return f"{what} needs {needs} items, there are {len(p)}" if len(p) else "no rated clips"
    if varied and is_constant(p):
        return "all predictions are equal"
    if varied and is_constant(t):
        return "all ratings are equal"
    return ""


METRICS: dict[str, Metric] = {
    "mse": Metric(mse, "low", ceiling="noise", unit="squared units of the scale", interval="error"),
    "lcc": Metric(lcc, "high", MIN_ITEMS, True, "lcc", "domain oracle", interval="pearson"),
    "srcc": Metric(srcc, "high", MIN_ITEMS, True, "srcc", "domain oracle", interval="spearman"),
    "ktau": Metric(ktau, "high", MIN_ITEMS, True, "ktau", "domain oracle", interval="kendall"),
}
