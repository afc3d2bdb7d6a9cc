"""How sure a figure is: 95 % intervals from leaving out one cluster after the other (the jackknife).

Clips of one system (or speaker, or track) resemble each other, so whole clusters are left out.  The spread of
the values that this gives is a standard error; the interval is that of Student's t on a scale on which the
metric is nearly normal (the logarithm of an error, Fisher's z of a correlation), taken back to the metric's
own scale.  `python -m tests.simulate` measures how often such intervals hold the true value.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import t as student

from mmmos.heads.left_out import Index, left_out
from mmmos.heads.metrics import METRICS, Array

LEVEL = 0.95

MIN_CLUSTERS = 10
"""With fewer clusters no form of interval that was simulated holds what it says for every metric."""

MAX_GROUPS = 100
"""More clusters than this are left out (and swapped, see `permutation`) in so many equal groups of them."""


@dataclass(frozen=True)
class Form:
    """The scale on which an interval is computed.

    Parameters
    ----------
    to, back
        From the metric's own scale to that scale, and from it.
    spread
        (clusters, items) -> factor of the jackknife's variance.  It is too small for errors where clusters
        are few, and too large for rank correlations where items are; these factors were chosen by
        simulation.
    """

    to: Callable[[Array], Array]
    back: Callable[[Array], Array]
    spread: Callable[[int, int], float] = lambda clusters, items: 1.0


def _same(values: Array) -> Array:
    return values


FORMS: dict[str, Form] = {
    "plain": Form(_same, _same),
    "error": Form(np.log, np.exp, lambda clusters, items: clusters / (clusters - 2)),
    "pearson": Form(np.arctanh, np.tanh),
    "spearman": Form(np.arctanh, np.tanh, lambda clusters, items: (items - 2) / items),
    "kendall": Form(np.arctanh, np.tanh, lambda clusters, items: (items - 4) / items),
}
"""Metric.interval names one of these."""

STEPS: dict[str, Callable[[int], float]] = {
    "spearman": lambda items: 12 / (items * (items**2 - 1)),
    "kendall": lambda items: 4 / (items * (items - 1)),
}
"""Form -> by how much exchanging two neighbours in rank changes a rank correlation of so many items."""


LEAST_ERRORS = {"spearman": 1.0, "kendall": 0.5}
"""Form -> factor of the least standard error near 1, chosen by simulation."""


@dataclass(frozen=True)
class Interval:
    """A 95 % interval, or the reason why there is none."""

    low: float | None = None
    high: float | None = None
    reason: str = ""


def cluster_index(names: Sequence[str]) -> Index:
    """Number of each clip's cluster, [N], clusters in alphabetical order."""
    return np.unique(np.asarray(names, dtype=str), return_inverse=True)[1].reshape(-1)


def clusters_of(
    systems: Sequence[str], groups: Sequence[str], least: int = MIN_CLUSTERS
) -> tuple[str, Index]:
    """What is left out or swapped as a whole, "system", "group" or "clip", and the cluster of each clip [N].

    The first kind of which there are `least` and that every clip has; "" and no clusters where there is none.
    """
    for kind, names in (
        ("system", systems),
        ("group", groups),
        ("clip", [str(i) for i in range(len(systems))]),
    ):
        if all(names) and len(set(names)) >= least:
            return kind, cluster_index(names)
    return "", np.zeros(0, dtype=np.intp)


def gathered(index: Index) -> Index:
    """Clusters [N] -> at most MAX_GROUPS groups of whole clusters, at random but always the same."""
    clusters = int(index.max()) + 1
    if clusters <= MAX_GROUPS:
        return index
    order = np.random.default_rng(0).permutation(clusters)
    return np.asarray(order % MAX_GROUPS, dtype=np.intp)[index]


def interval(metric: str, value: float, pred: Array, truth: Array, index: Index) -> Interval:
    """The 95 % interval of one figure.

    Parameters
    ----------
    metric
        A name in METRICS.
    value
        METRICS[metric](pred, truth).
    pred, truth
        [N], finite, on the same scale.
    index
        [N], the cluster of each item; at least MIN_CLUSTERS of them.
    """
    groups = gathered(index)
    without = left_out(metric, pred, truth, groups)
    count, name = len(without), METRICS[metric].interval
    if not np.isfinite(without).all():
        return Interval(reason="no interval: undefined when one cluster is left out")
    form, step = FORMS[name], STEPS.get(name, lambda items: 0.0)(len(pred))
    if name == "error" and min(value, without.min()) <= 0:
        return Interval(reason="no interval: no error at all")
    # A rank correlation of 1 is as far from the next possible value as half a step from 1 on the scale of z.
    edge = 1 - max(step / 2, 1e-12)
    inside = (lambda x: np.clip(x, -edge, edge)) if name in {"pearson", *STEPS} else _same
    middle = float(form.to(inside(np.array(value))))
    error = jackknife_error(form.to(inside(without))) * form.spread(count, len(pred)) ** 0.5
    if step:
        error = max(error, LEAST_ERRORS[name] * _least_error(value, step))
    if error == 0:
        return Interval(reason="no interval: leaving out any one cluster changes nothing")
    reach = error * float(student.ppf((1 + LEVEL) / 2, count - 1))
    low, high = form.back(np.array([middle - reach, middle + reach]))
    # Exactly 1 or -1 is no surprise next to it, so it stays inside.
    return Interval(min(float(low), value), max(float(high), value))


def interval_of_difference(
    metric: str, pair: tuple[Array, Array], truth: Array, index: Index, difference: float
) -> Interval:
    """The 95 % interval of the first run's figure less the second's, both without the same clusters."""
    if np.array_equal(*pair):
        return Interval(0.0, 0.0)
    groups = gathered(index)
    without = np.subtract(*(left_out(metric, pred, truth, groups) for pred in pair))
    if not np.isfinite(without).all():
        return Interval(reason="no interval: undefined when one cluster is left out")
    error = jackknife_error(without)
    if error <= 1e-12:
        return Interval(reason="no interval: leaving out any one cluster changes nothing")
    reach = error * float(student.ppf((1 + LEVEL) / 2, len(without) - 1))
    return Interval(difference - reach, difference + reach)


def jackknife_error(without: Array) -> float:
    """Standard error from the values [C] without each cluster (Tukey 1958)."""
    count = len(without)
    return float(np.sqrt((count - 1) / count * np.sum((without - without.mean()) ** 2)))


def _least_error(value: float, step: float) -> float:
    """Least standard error of a rank correlation on the scale of z, its exchanges counted as Poisson's.

    Near 1 there are few exchanged neighbours, and the jackknife of a perfect order is 0.
    """
    exchanged = (1 - abs(value)) / step
    edge = min(abs(value), 1 - step / 2)
    return float(step * np.sqrt(exchanged + 1) / (1 - edge**2))
