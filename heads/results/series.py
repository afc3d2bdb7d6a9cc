"""What a run predicts beside what was rated, clip by clip: what plots draw and error tables list."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from mmmos.heads.metrics import Array, composite
from mmmos.heads.results.ceiling import composite_ratings
from mmmos.heads.results.evaluation import single_ratings
from mmmos.store.clips import ClipTable, score_array
from mmmos.store.predictions import Predictions
from mmmos.store.schema import COMPOSITE, Clip
from mmmos.store.table import Table


@dataclass(frozen=True)
class Series:
    """One axis of one run beside the ratings.

    Parameters
    ----------
    axis, title
        The axis' name, and what a plot calls it.
    predicted, rated
        [N], a value per rated clip.
    error
        [N], standard error of each rating: its raters' deviation over the root of their number, NaN where
        there are fewer than two.
    clips
        The N clips.
    """

    axis: str
    title: str
    predicted: Array
    rated: Array
    error: Array
    clips: tuple[Clip, ...]


def series(predictions: Predictions, table: ClipTable, split: str) -> list[Series]:
    """What the scatter, ranking and calibration plots draw: each rated axis, then the composite."""
    clips, axes = table.of(split), predictions.axes
    values = predictions.of([clip.id for clip in clips])
    truth = score_array(clips, axes)
    single = single_ratings(clips, axes)
    result = []
    for i, axis in enumerate(axes):
        of_axis = [item[i] for item in single]
        result.append(_series(axis, table.axes.title(axis), values[:, i], truth[:, i], of_axis, clips))
    if len(axes) > 1:
        both = composite(values, truth)
        result.append(_series(COMPOSITE, COMPOSITE.capitalize(), *both, composite_ratings(single), clips))
    return [one for one in result if one.clips]


def misses(one: Series) -> pd.DataFrame:
    """One line per clip: what it is, its rating, its prediction, and by how much that misses.

    The largest misses stand first; `std_errors` is the miss in standard errors of the rating.
    """
    clips, miss = one.clips, one.predicted - one.rated
    frame = pd.DataFrame(
        {
            "clip": [clip.id for clip in clips],
            "domain": [clip.domain for clip in clips],
            "system": [clip.system for clip in clips],
            "seconds": [clip.duration_s for clip in clips],
            "rated": one.rated,
            "predicted": one.predicted,
            "miss": miss,
            "std_errors": np.abs(miss) / np.where(one.error > 0, one.error, np.nan),
            "path": [clip.path for clip in clips],
        }
    )
    return frame.iloc[np.argsort(-np.abs(miss), kind="stable")]


def worst(one: Series, count: int = 10) -> Table:
    """The clips that are predicted worst, with the miss in standard errors of the rating where it is known.

    A miss of two standard errors is within what another panel of raters might have said.
    """
    rows = tuple(
        (
            line.clip,
            line.domain,
            line.system,
            line.rated,
            line.predicted,
            line.miss,
            None if np.isnan(line.std_errors) else f"{line.std_errors:.1f}",
            f"{line.seconds:.1f}",
            line.path,
        )
        for line in misses(one).head(count).itertuples()
    )
    columns = ("clip", "domain", "system", "rated", "predicted", "miss", "in std. errors", "seconds", "path")
    return Table(f"The {len(rows)} worst clips, {one.axis}", columns, rows)


def standard_error(values: Array) -> float:
    """Of the mean of these values; NaN for fewer than two."""
    return float(np.std(values, ddof=1) / np.sqrt(len(values))) if len(values) > 1 else float("nan")


def _series(
    axis: str,
    title: str,
    predicted: Array,
    rated: Array,
    single: Sequence[Sequence[float]],
    clips: Sequence[Clip],
) -> Series:
    known = np.isfinite(rated)
    errors = np.array([standard_error(np.asarray(item)) for item in single])
    kept = tuple(clip for clip, there in zip(clips, known, strict=True) if there)
    return Series(axis, title, predicted[known], rated[known], errors[known], kept)
