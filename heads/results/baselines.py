"""What can be scored without listening: a trained head has to beat these, or it has learnt nothing.

Knowing only whether a clip is speech, music or sound gives high system-level correlations on mixed data,
so the domain oracle stands beside every figure over all domains.
"""

from __future__ import annotations

import numpy as np

from mmmos.store.clips import ClipTable
from mmmos.store.predictions import Predictions
from mmmos.store.schema import AXES

TRAIN_MEAN = "baseline: train mean"
DOMAIN_ORACLE = "baseline: domain oracle"


def baselines(table: ClipTable, split: str) -> list[Predictions]:
    """The baselines that can be had on `split`; none where it has no clips or nothing is rated."""
    clips = table.of(split)
    train = table.scores(table.of("train"))
    truth = table.scores(clips)
    ids = tuple(clip.id for clip in clips)
    result = []
    for run, values in (
        (TRAIN_MEAN, _mean_of(train, len(clips))),
        (DOMAIN_ORACLE, _domain_means(table, split)),
    ):
        rated = [
            i for i in range(len(AXES)) if np.isfinite(values[:, i]).all() and np.isfinite(truth[:, i]).any()
        ]
        if rated and len(clips):
            axes = tuple(AXES[i] for i in rated)
            result.append(Predictions(run, split, ids, values[:, rated], axes, table.caveats))
    return result


def _mean_of(scores: np.ndarray, count: int) -> np.ndarray:
    """The mean rating of each axis [4], `count` times over; NaN for an axis without any."""
    rated = np.isfinite(scores)
    total = np.where(rated, scores, 0.0).sum(axis=0)
    mean = np.divide(total, rated.sum(axis=0), out=np.full(len(AXES), np.nan), where=rated.any(axis=0))
    return np.tile(mean, (count, 1))


def _domain_means(table: ClipTable, split: str) -> np.ndarray:
    """For each clip of `split` the mean rating of its domain there (it sees the answers: an oracle)."""
    clips = table.of(split)
    scores = table.scores(clips)
    domains = np.array([clip.domain for clip in clips], dtype=str)
    values = _mean_of(scores, len(clips))
    for domain in np.unique(domains):
        here = domains == domain
        means = _mean_of(scores[here], int(here.sum()))
        values[here] = np.where(np.isfinite(means), means, values[here])
    return values
