"""What a run predicts beside what was rated, clip by clip: what plots draw and error tables list."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from mmmos.heads.metrics import composite
from mmmos.heads.results.ceiling import composite_ratings
from mmmos.store.clips import score_array
from mmmos.store.predictions import Predictions
from mmmos.store.schema import AXES, COMPOSITE, Clip
from mmmos.store.table import Table


@dataclass(frozen=True)
class Series:
    """One axis of one run beside the ratings, clip by clip [N]; `error` is the rating's standard error."""

    axis: str
    predicted: np.ndarray
    rated: np.ndarray
    error: np.ndarray
    clips: tuple[Clip, ...]


def series(predictions: Predictions, clips: Sequence[Clip]) -> list[Series]:
    """What the scatter, ranking and calibration plots draw: each axis with rated clips, then the composite.

    The standard error of a rating is its raters' deviation over the root of their number, NaN where unknown.
    """
    place = {clip_id: i for i, clip_id in enumerate(predictions.clip_ids)}
    values = predictions.values[[place[clip.id] for clip in clips]]
    columns = [AXES.index(axis) for axis in predictions.axes]
    truth = score_array(clips, predictions.axes)
    single = [[clip.ratings[column] for column in columns] for clip in clips]
    result = []
    for i, axis in enumerate(predictions.axes):
        result.append(_series(axis, values[:, i], truth[:, i], [item[i] for item in single], clips))
    if len(columns) > 1:
        result.append(_series(COMPOSITE, *composite(values, truth), composite_ratings(single), clips))
    return [one for one in result if one.clips]


def misses(one: Series) -> pd.DataFrame:
    """One line a clip, for notebooks: what it is, its rating, its prediction, and by how much that misses."""
    clips = one.clips
    return pd.DataFrame(
        {
            "clip": [clip.id for clip in clips],
            "domain": [clip.domain for clip in clips],
            "system": [clip.system for clip in clips],
            "seconds": [clip.duration_s for clip in clips],
            "rated": one.rated,
            "predicted": one.predicted,
            "miss": one.predicted - one.rated,
            "std_errors": np.abs(one.predicted - one.rated) / np.where(one.error > 0, one.error, np.nan),
            "path": [clip.path for clip in clips],
        }
    )


def worst(one: Series, count: int = 10) -> Table:
    """The clips that are predicted worst, in multiples of the rating's own standard error where it is known.

    A miss of two standard errors is within what another panel of raters might have said.
    """
    miss = one.predicted - one.rated
    order = np.argsort(-np.abs(miss), kind="stable")[:count]
    rows = tuple(
        (
            one.clips[i].id,
            one.clips[i].domain,
            one.clips[i].system,
            float(one.rated[i]),
            float(one.predicted[i]),
            float(miss[i]),
            f"{abs(miss[i]) / one.error[i]:.1f}" if one.error[i] > 0 else None,
            f"{one.clips[i].duration_s:.1f}",
            one.clips[i].path,
        )
        for i in order
    )
    columns = ("clip", "domain", "system", "rated", "predicted", "miss", "in std. errors", "seconds", "path")
    return Table(f"The {len(rows)} worst clips, {one.axis}", columns, rows)


def _series(
    axis: str,
    predicted: np.ndarray,
    rated: np.ndarray,
    single: Sequence[Sequence[float]],
    clips: Sequence[Clip],
) -> Series:
    known = np.isfinite(rated)
    errors = np.array([standard_error(np.asarray(item)) for item in single])
    kept = tuple(clip for clip, there in zip(clips, known, strict=True) if there)
    return Series(axis, predicted[known], rated[known], errors[known], kept)


def standard_error(values: np.ndarray) -> float:
    """Of the mean of these values; NaN for fewer than two."""
    return float(np.std(values, ddof=1) / np.sqrt(len(values))) if len(values) > 1 else float("nan")
