"""Agreement between predicted and rated scores (paper IV): MSE, LCC, SRCC and KTAU.

Conventions.  `pred` and `truth` are float arrays [N], finite, of equal length, on the same scale.
A correlation is undefined for fewer than three items (two always give 1 or -1, which says nothing) and
where one side is constant; then the metric is None and `why_undefined` says why.  It is never NaN and never
0 in place of "unknown".

Levels.  Utterance level compares clips.  System level compares the means of the clips of each system,
as in the VoiceMOS and AudioMOS challenges.  The composite is the mean of the rated axes of one clip.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import kendalltau, rankdata

Array = NDArray[np.float64]
Metric = Callable[[ArrayLike, ArrayLike], float | None]

LEVELS = ("utterance", "system")

MIN_ITEMS = 3
SPREAD_FLOOR = 1e-12
"""A side whose range is below this share of its largest value is constant up to rounding."""


def mse(pred: ArrayLike, truth: ArrayLike) -> float | None:
    """Mean squared error, in squared units of the scale; the lower the better."""
    p, t = validated(pred, truth)
    return float(np.mean((p - t) ** 2)) if len(p) else None


def lcc(pred: ArrayLike, truth: ArrayLike) -> float | None:
    """Pearson's linear correlation, -1 to 1."""
    p, t = validated(pred, truth)
    return None if _obstacle(p, t) else pearson(p, t)


def srcc(pred: ArrayLike, truth: ArrayLike) -> float | None:
    """Spearman's rank correlation, -1 to 1: Pearson's of the ranks, ties sharing their mean rank."""
    p, t = validated(pred, truth)
    return None if _obstacle(p, t) else pearson(rankdata(p), rankdata(t))


def ktau(pred: ArrayLike, truth: ArrayLike) -> float | None:
    """Kendall's tau-b, -1 to 1: agreeing less disagreeing pairs, corrected for ties on either side."""
    p, t = validated(pred, truth)
    return None if _obstacle(p, t) else float(kendalltau(p, t).statistic)


def why_undefined(name: str, pred: ArrayLike, truth: ArrayLike) -> str:
    """The reason why METRICS[name] is None on these arrays, or "" where it is a number."""
    p, t = validated(pred, truth)
    if name == "mse":
        return "" if len(p) else "no rated clips"
    return _obstacle(p, t)


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


def composite(pred: ArrayLike, truth: ArrayLike) -> tuple[Array, Array]:
    """Per clip the mean over the axes that have both sides, [N, A] -> two rows [N].

    A missing rating is NaN in `truth`; the prediction of that axis is then left out as well, so both
    means are over the same axes.  A clip without any rated axis is NaN on both sides.
    """
    p, t = np.asarray(pred, dtype=np.float64), np.asarray(truth, dtype=np.float64)
    both = np.isfinite(p) & np.isfinite(t)
    count = both.sum(axis=1)
    divisor = np.where(count > 0, count, np.nan)
    return np.where(both, p, 0.0).sum(axis=1) / divisor, np.where(both, t, 0.0).sum(axis=1) / divisor


def system_means(values: ArrayLike, systems: Sequence[str]) -> tuple[tuple[str, ...], Array]:
    """System names in alphabetical order and the mean of each system's clips, [N, ...] -> [S, ...]."""
    array = np.asarray(values, dtype=np.float64)
    if len(array) != len(systems):
        raise ValueError(f"{len(array)} values for {len(systems)} system names")
    names, index = np.unique(np.asarray(systems, dtype=str), return_inverse=True)
    sums = np.zeros((len(names), *array.shape[1:]))
    np.add.at(sums, index, array)
    counts = np.bincount(index, minlength=len(names)).reshape(-1, *[1] * (array.ndim - 1))
    return tuple(str(name) for name in names), sums / counts


def _obstacle(p: Array, t: Array) -> str:
    if len(p) < MIN_ITEMS:
        return f"a correlation needs {MIN_ITEMS} items, there are {len(p)}" if len(p) else "no rated clips"
    if is_constant(p):
        return "all predictions are equal"
    if is_constant(t):
        return "all ratings are equal"
    return ""


METRICS: dict[str, Metric] = {
    "mse": mse,
    "lcc": lcc,
    "srcc": srcc,
    "ktau": ktau,
}

LOWER_IS_BETTER = frozenset({"mse"})
