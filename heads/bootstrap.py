"""Every metric on many resamples of the data at once, whole clusters drawn with replacement.

Clips of one system (or speaker, or track) resemble each other; resampling single clips would promise
intervals that are far too narrow.  So clusters are drawn, each with all of its clips (Field and Welsh,
JRSS B 2007).  A resample is a row of counts: how often each cluster was drawn.  The formulas below work on
counts and give what METRICS would on the repeated arrays, without building them; a metric that has no such
formula is computed on the repeated arrays.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mmmos.heads.metrics import METRICS, Array

Index = NDArray[np.intp]

RESAMPLES = 1000
MIN_CLUSTERS = 5
"""With fewer clusters a percentile interval says little about the next system."""

POWER_FACTOR = 1.959964 + 0.841621
"""Standard errors that a true difference must measure to be found at 5 % (two-sided) in 80 % of studies."""

DRAWS_AT_ONCE = 64
"""Resamples worked on together: few enough to stay in the processor's cache."""

ROWS_AT_ONCE = 256
"""Clips compared with all others at once: keeps memory flat."""

SPREAD_FLOOR = 1e-10
"""A resample whose variance is below this share of the whole set's is constant up to rounding."""


def cluster_index(names: Sequence[str]) -> Index:
    """Number of each clip's cluster, [N], clusters in alphabetical order."""
    return np.unique(np.asarray(names, dtype=str), return_inverse=True)[1].reshape(-1)


def clusters_of(systems: Sequence[str], groups: Sequence[str]) -> tuple[str, Index]:
    """What to draw, "system", "group" or "clip", and the cluster of each clip [N].

    The first kind of which there are MIN_CLUSTERS and that every clip has; "" and no clusters where there is
    none.
    """
    for kind, names in (
        ("system", systems),
        ("group", groups),
        ("clip", [str(i) for i in range(len(systems))]),
    ):
        if all(names) and len(set(names)) >= MIN_CLUSTERS:
            return kind, cluster_index(names)
    return "", np.zeros(0, dtype=np.intp)


def draw(clusters: int, resamples: int, seed: int) -> Array:
    """How often each cluster is drawn in each resample: [B, C], every row summing to C."""
    rng = np.random.default_rng(seed)
    return rng.multinomial(clusters, np.full(clusters, 1.0 / clusters), size=resamples).astype(np.float64)


def resample(metric: str, pred: Array, truth: Array, index: Index, counts: Array) -> Array:
    """METRICS[metric] on each resample.

    Parameters
    ----------
    metric
        A name in METRICS.
    pred, truth
        [N], finite, on the same scale.
    index
        [N], the cluster of each clip.
    counts
        [B, C] from `draw`.

    Returns
    -------
    [B] values, NaN where the metric is undefined.
    """
    if len(pred) < METRICS[metric].needs:
        return np.full(len(counts), np.nan)
    if metric not in RESAMPLED:
        return _on_repeated_arrays(metric, pred, truth, index, counts)
    return RESAMPLED[metric](pred, truth, index, counts)


def interval(values: Array, level: float = 0.95) -> tuple[float, float] | None:
    """Percentile interval over the defined resamples; None if more than a tenth are undefined."""
    defined = values[np.isfinite(values)]
    if len(defined) < 0.9 * len(values) or not len(values):
        return None
    low, high = np.quantile(defined, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


@dataclass(frozen=True)
class Paired:
    """The difference of two runs in one metric on the same items, see `paired`.

    Parameters
    ----------
    difference
        The first run minus the second (negative is better for an error); None where undefined.
    low, high
        95 % interval of the difference.
    p
        Two-sided bootstrap p-value of "no difference"; 1/(resamples + 1) is the smallest there is.
    detectable
        Minimum detectable difference (80 % power, 5 % two-sided).
    reason
        Why some of these are None, "" where none is.
    """

    difference: float | None = None
    low: float | None = None
    high: float | None = None
    p: float | None = None
    detectable: float | None = None
    reason: str = ""


def paired(
    metric: str,
    pair: tuple[Array, Array],
    truth: Array,
    index: Index,
    counts: Array | None,
    names: tuple[str, str],
) -> Paired:
    """Compare the predictions of two runs, each [N], on the same resamples of the items.

    What makes a resample hard for both runs cancels out in the difference.

    Parameters
    ----------
    index, counts
        [N] cluster of each item, and [B, C] from `draw`, or None where there are too few clusters.
    names
        Of the two runs, for `reason`.
    """
    values = [METRICS[metric](pred, truth) for pred in pair]
    if values[0] is None or values[1] is None:
        return Paired(reason=f"undefined for {names[0] if values[0] is None else names[1]}")
    difference = values[0] - values[1]
    if counts is None:
        return Paired(difference, reason=f"no interval: fewer than {MIN_CLUSTERS} systems")
    drawn = np.subtract(*(resample(metric, pred, truth, index, counts) for pred in pair))
    bounds = interval(drawn)
    if bounds is None:
        return Paired(difference, reason="no interval: undefined on more than a tenth of the resamples")
    drawn = drawn[np.isfinite(drawn)]
    return Paired(difference, *bounds, p_value(drawn), float(POWER_FACTOR * drawn.std(ddof=1)))


def p_value(differences: Array) -> float:
    """Twice the smaller share of resamples on either side of zero, at most 1 and never 0."""
    one_more = len(differences) + 1
    below = (np.count_nonzero(differences <= 0) + 1) / one_more
    above = (np.count_nonzero(differences >= 0) + 1) / one_more
    return float(min(1.0, 2 * min(below, above)))


def _on_repeated_arrays(metric: str, pred: Array, truth: Array, index: Index, counts: Array) -> Array:
    result = np.full(len(counts), np.nan)
    for number, drawn in enumerate(counts):
        repeated = np.repeat(np.arange(len(pred)), drawn[index].astype(np.intp))
        value = METRICS[metric](pred[repeated], truth[repeated])
        if value is not None:
            result[number] = value
    return result


def _mse(pred: Array, truth: Array, index: Index, counts: Array) -> Array:
    sums = _per_cluster(np.stack([np.ones_like(pred), (pred - truth) ** 2]), index, counts.shape[1])
    size, error = counts @ sums[0], counts @ sums[1]
    return error / size


def _lcc(pred: Array, truth: Array, index: Index, counts: Array) -> Array:
    # Centred on the whole set, so that the sums of squares below lose no digits.
    p, t = pred - pred.mean(), truth - truth.mean()
    sums = _per_cluster(np.stack([np.ones_like(p), p, t, p * p, t * t, p * t]), index, counts.shape[1])
    size, sum_p, sum_t, sum_pp, sum_tt, sum_pt = (counts @ row for row in sums)
    var_p = sum_pp - sum_p**2 / size
    var_t = sum_tt - sum_t**2 / size
    floor_p, floor_t = SPREAD_FLOOR * (p @ p), SPREAD_FLOOR * (t @ t)
    defined = (var_p > floor_p) & (var_t > floor_t)
    bottom = np.sqrt(np.where(defined, var_p * var_t, 1.0))
    return np.where(defined, np.clip((sum_pt - sum_p * sum_t / size) / bottom, -1.0, 1.0), np.nan)


def _srcc(pred: Array, truth: Array, index: Index, counts: Array) -> Array:
    below_p, below_t = (_below(values, index, counts.shape[1]) for values in (pred, truth))
    result = np.empty(len(counts))
    for start in range(0, len(counts), DRAWS_AT_ONCE):
        drawn = counts[start : start + DRAWS_AT_ONCE]
        weight = drawn[:, index]
        middle = weight.sum(axis=1, keepdims=True) / 2
        # Mid-rank minus 1/2: the number of smaller values plus half the number of equal ones.  The constant
        # does not matter, since ranks are centred next.
        p, t = drawn @ below_p - middle, drawn @ below_t - middle
        weighted_p, weighted_t = weight * p, weight * t
        top = np.einsum("bn,bn->b", weighted_p, t)
        bottom = np.einsum("bn,bn->b", weighted_p, p) * np.einsum("bn,bn->b", weighted_t, t)
        # Ranks are multiples of 1/2, so a variance is either 0 or far from it.
        ratio = top / np.sqrt(np.maximum(bottom, 1e-6))
        result[start : start + len(drawn)] = np.where(bottom > 1e-6, np.clip(ratio, -1.0, 1.0), np.nan)
    return result


def _ktau(pred: Array, truth: Array, index: Index, counts: Array) -> Array:
    clusters = counts.shape[1]
    # Single precision counts exactly up to 2^24, far more than there are clips.
    member = np.zeros((len(pred), clusters), dtype=np.float32)
    member[np.arange(len(pred)), index] = 1.0
    p, t = _dense_ranks(pred), _dense_ranks(truth)
    agree, untied_p, untied_t = (np.zeros((clusters, clusters)) for _ in range(3))
    for start in range(0, len(pred), ROWS_AT_ONCE):
        rows = slice(start, start + ROWS_AT_ONCE)
        sign_p, sign_t = np.sign(p[rows, None] - p[None, :]), np.sign(t[rows, None] - t[None, :])
        for total, pairs in (
            (agree, sign_p * sign_t),
            (untied_p, np.abs(sign_p)),
            (untied_t, np.abs(sign_t)),
        ):
            total += member[rows].T.astype(np.float64) @ (pairs @ member)
    top, bottom_p, bottom_t = (
        np.einsum("bc,bc->b", counts @ pairs, counts) for pairs in (agree, untied_p, untied_t)
    )
    bottom = bottom_p * bottom_t
    return np.where(bottom > 0.5, top / np.sqrt(np.maximum(bottom, 0.5)), np.nan)


def _below(values: Array, index: Index, clusters: int) -> Array:
    """How many clips of each cluster lie below each clip, ties counting half: [C, N]."""
    result = np.empty((clusters, len(values)))
    for cluster in range(clusters):
        own = np.sort(values[index == cluster])
        result[cluster] = (np.searchsorted(own, values, "left") + np.searchsorted(own, values, "right")) / 2
    return result


def _dense_ranks(values: Array) -> NDArray[np.float32]:
    """0, 1, 2 ... in order, equal values sharing one: small numbers with the same signs of differences."""
    return np.unique(values, return_inverse=True)[1].reshape(-1).astype(np.float32)


def _per_cluster(rows: Array, index: Index, clusters: int) -> Array:
    """Sum of each row over each cluster, [K, N] -> [K, C]."""
    return np.stack([np.bincount(index, weights=row, minlength=clusters) for row in rows])


RESAMPLED: dict[str, Callable[[Array, Array, Index, Array], Array]] = {
    "mse": _mse,
    "lcc": _lcc,
    "srcc": _srcc,
    "ktau": _ktau,
}
"""Formulas on counts, for the metrics that have one."""
