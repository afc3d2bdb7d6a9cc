"""What can be scored without listening: a trained head has to beat these, or it has learnt nothing.

Knowing only whether a clip is speech, music or sound gives high system-level correlations on mixed data,
so the domain oracle stands beside every figure over all domains.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from mmmos.heads.metrics import METRICS, Array, tie_safe
from mmmos.store.clips import ClipTable
from mmmos.store.predictions import Predictions


@dataclass(frozen=True)
class Baseline:
    """A trivial prediction.

    Parameters
    ----------
    run
        The run id of its predictions.
    label
        What a plot's legend calls it.
    rule
        What it does, to end a sentence with.
    values
        (table, split) -> its predictions [N, A] of the split's clips, NaN for an axis that it cannot tell.
    """

    run: str
    label: str
    rule: str
    values: Callable[[ClipTable, str], Array]


def baselines(table: ClipTable, split: str) -> list[Predictions]:
    """The baselines that can be had on `split`; none where it has no clips or nothing is rated."""
    clips = table.of(split)
    rated = np.isfinite(table.scores(clips)).any(axis=0)
    ids = tuple(clip.id for clip in clips)
    result = []
    for baseline in BASELINES.values():
        values = baseline.values(table, split)
        known = np.isfinite(values).all(axis=0) & rated
        if known.any():
            axes = tuple(axis for axis, there in zip(table.axes, known, strict=True) if there)
            result.append(Predictions(baseline.run, split, ids, values[:, known], axes, table.caveats))
    return result


def baseline_of(metric: str) -> Baseline:
    """The trivial prediction that stands beside this metric."""
    return BASELINES[METRICS[metric].baseline]


def _train_means(table: ClipTable, split: str) -> Array:
    return _mean_of(table.scores(table.of("train")), len(table.of(split)))


def _domain_means(table: ClipTable, split: str) -> Array:
    """For each clip of `split` the mean rating of its domain there (it sees the answers: an oracle).

    A domain in which nobody rated an axis gets the mean over all domains.
    """
    clips = table.of(split)
    scores = table.scores(clips)
    domains = np.array([clip.domain for clip in clips], dtype=str)
    values = _mean_of(scores, len(clips))
    for domain in np.unique(domains):
        here = domains == domain
        means = _mean_of(scores[here], int(here.sum()))
        values[here] = np.where(np.isfinite(means), means, values[here])
    return values


def _mean_of(scores: Array, count: int) -> Array:
    """The mean rating of each axis [A], `count` times over; NaN for an axis without any."""
    rated = np.isfinite(scores)
    total = np.where(rated, scores, 0.0).sum(axis=0)
    nothing = np.full(scores.shape[1], np.nan)
    mean = np.divide(total, rated.sum(axis=0), out=nothing, where=rated.any(axis=0))
    return np.tile(tie_safe(mean), (count, 1))


BASELINES = {
    "train mean": Baseline(
        "baseline: train mean", "train mean", "always answering the train mean", _train_means
    ),
    "domain oracle": Baseline(
        "baseline: domain oracle", "domain alone", "knowing each clip's domain and no more", _domain_means
    ),
}
"""Metric.baseline names one of these."""

TRAIN_MEAN = BASELINES["train mean"].run
DOMAIN_ORACLE = BASELINES["domain oracle"].run
