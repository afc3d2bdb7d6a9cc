"""METRICS without each cluster in turn, computed at once where that is faster than one after the other."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from mmmos.heads.metrics import METRICS, Array

Index = NDArray[np.intp]

MAX_MATRIX = 600
"""Items up to which every pair of them is looked at; more are left to the metric itself."""

SPREAD_FLOOR = 1e-10
"""A variance below this share of the whole set's is that of equal values up to rounding."""


def left_out(metric: str, pred: Array, truth: Array, index: Index) -> Array:
    """METRICS[metric] without each cluster in turn.

    Parameters
    ----------
    pred, truth
        [N], finite, on the same scale.
    index
        [N], the cluster of each item, 0 .. C - 1.

    Returns
    -------
    [C] values, NaN where the metric is undefined.
    """
    sizes = np.bincount(index)
    form = FORMULAS.get(metric)
    few = len(pred) - sizes.max() < METRICS[metric].needs
    if form is None or few or (metric in PAIRED and len(pred) > MAX_MATRIX):
        return _one_by_one(metric, pred, truth, index)
    return form(pred, truth, index)


def _one_by_one(metric: str, pred: Array, truth: Array, index: Index) -> Array:
    result = np.full(int(index.max()) + 1, np.nan)
    for cluster in range(len(result)):
        kept = index != cluster
        value = METRICS[metric](pred[kept], truth[kept])
        if value is not None:
            result[cluster] = value
    return result


def _mse(pred: Array, truth: Array, index: Index) -> Array:
    lost = (pred - truth) ** 2
    rest = lost.sum() - np.bincount(index, weights=lost)
    return np.asarray(np.maximum(rest, 0.0) / (len(pred) - np.bincount(index)))


def _lcc(pred: Array, truth: Array, index: Index) -> Array:
    p, t = pred - pred.mean(), truth - truth.mean()
    rows = (np.ones_like(p), p, t, p * p, t * t, p * t)
    sums = np.array([row.sum() - np.bincount(index, weights=row) for row in rows])
    return _correlation(sums, p @ p, t @ t)


def _srcc(pred: Array, truth: Array, index: Index) -> Array:
    member = _member(index)
    outside = 1.0 - member
    # Mid-rank less 1/2 among the items that are kept; what is left out gets no weight.
    p, t = (outside @ ((s[:, None] < s) + 0.5 * (s[:, None] == s)) for s in (pred, truth))
    size = outside.sum(axis=1)
    p, t = ((ranks - (size / 2)[:, None]) * outside for ranks in (p, t))
    sums = np.array([size, *(row.sum(axis=1) for row in (p, t, p * p, t * t, p * t))])
    return _correlation(sums, float(len(pred)), float(len(pred)))


def _ktau(pred: Array, truth: Array, index: Index) -> Array:
    member = _member(index)
    sign_p, sign_t = (np.sign(s[:, None] - s) for s in (pred, truth))
    # Of all ordered pairs: those without an item of the cluster.
    agree, untied_p, untied_t = (
        pairs.sum() - 2 * (member @ pairs.sum(axis=1)) + np.einsum("ci,ci->c", member @ pairs, member)
        for pairs in (sign_p * sign_t, np.abs(sign_p), np.abs(sign_t))
    )
    bottom = untied_p * untied_t
    return np.where(bottom > 0.5, agree / np.sqrt(np.maximum(bottom, 0.5)), np.nan)


def _member(index: Index) -> Array:
    """1 where an item belongs to a cluster, else 0: [C, N]."""
    return np.asarray(np.arange(int(index.max()) + 1)[:, None] == index, dtype=np.float64)


def _correlation(sums: Array, whole_p: float, whole_t: float) -> Array:
    """Pearson's from sums [6, C] of 1, p, t, pp, tt, pt; NaN where a variance is next to none."""
    size, p, t, pp, tt, pt = sums
    var_p, var_t = pp - p * p / size, tt - t * t / size
    defined = (var_p > SPREAD_FLOOR * whole_p) & (var_t > SPREAD_FLOOR * whole_t)
    bottom = np.sqrt(np.where(defined, var_p * var_t, 1.0))
    return np.where(defined, np.clip((pt - p * t / size) / bottom, -1.0, 1.0), np.nan)


FORMULAS: dict[str, Callable[[Array, Array, Index], Array]] = {
    "mse": _mse,
    "lcc": _lcc,
    "srcc": _srcc,
    "ktau": _ktau,
}
PAIRED = {"srcc", "ktau"}
"""Those that look at pairs of items."""
