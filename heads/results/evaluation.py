"""Every metric of one run with its interval and its human ceiling, as rows that all outputs share.

A row is (level, domain, axis, metric); tables, plots, notebooks and tests read the same rows.  What is
compared is prepared once per clip list as Parts, so that many runs on the same clips cost little.

Intervals are 95 % intervals by leaving out whole systems (see `inference`).  Where there are fewer than
MIN_CLUSTERS systems, figures over systems have none.  Figures over clips then leave out groups, else single
clips: their interval is about further clips of these very systems, and the row says so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from mmmos.heads.inference import MIN_CLUSTERS, clusters_of, interval
from mmmos.heads.left_out import Index
from mmmos.heads.metrics import METRICS, Array, composite, system_means, tie_safe
from mmmos.heads.permutation import MIN_SWAPPED
from mmmos.heads.results.ceiling import Ceiling, ceiling, composite_ratings
from mmmos.store.clips import score_array
from mmmos.store.names import ALL, beside_all
from mmmos.store.predictions import Predictions
from mmmos.store.schema import COMPOSITE, Clip

EVERYWHERE = ALL
"""The domain of rows over all domains together."""


@dataclass(frozen=True)
class Row:
    """One figure.

    Parameters
    ----------
    run, split, level, domain, axis, metric
        What the figure is of; `level` is "utterance" or "system", `domain` a domain or EVERYWHERE.
    value
        None where undefined, with the reason; never NaN, never 0 in place of "unknown".
    low, high
        95 % interval in units of the metric; None where it cannot be had, with the reason.
    ceiling
        What the raters' noise lets the best predictor reach (for an error: the least).
    n
        Clips or systems compared.
    clusters
        What was left out as a whole for the interval: "system", "group" or "clip".
    reason
        Why there is no value or no interval, or what the interval is about where that is less than usual.
    """

    run: str
    split: str
    level: str
    domain: str
    axis: str
    metric: str
    value: float | None
    low: float | None
    high: float | None
    ceiling: float | None
    n: int
    clusters: str
    reason: str


@dataclass(frozen=True, eq=False)
class Part:
    """The rated clips of one axis in one domain, or the means of their systems.

    Parameters
    ----------
    members
        [M] positions of the clips in the clip list.
    systems
        Their systems at system level, else None.
    truth
        [n] ratings; n is M at utterance level and the number of systems at system level.
    kind, clusters
        What is left out for an interval and the [n] cluster of each item; "" and no entries where there are
        too few of anything.
    swapped_kind, swapped
        The same for swapping two runs, for which fewer are enough.
    about
        Why there is no interval, or what it is about where that is less than usual; else "".
    ceiling
        Of these items.
    """

    level: str
    domain: str
    axis: str
    members: Index
    systems: tuple[str, ...] | None
    truth: Array
    kind: str
    clusters: Index
    swapped_kind: str
    swapped: Index
    about: str
    ceiling: Ceiling

    def items(self, pred: Array) -> Array:
        """Predictions of this axis [N, over all clips] -> [n], the items that `truth` rates."""
        chosen = pred[self.members]
        return chosen if self.systems is None else system_means(chosen, self.systems)[1]


def evaluate(predictions: Iterable[Predictions], clips: Sequence[Clip], intervals: bool = True) -> list[Row]:
    """Rows of several runs on the same clips, run after run; see `rows`."""
    return [row for one in predictions for row in rows(one, clips, intervals)]


def rows(
    predictions: Predictions,
    clips: Sequence[Clip],
    intervals: bool = True,
    only: Callable[[Part], bool] = lambda part: True,
) -> list[Row]:
    """All figures of one run: utterance and system level, each domain and all, each axis and the composite.

    Parameters
    ----------
    predictions
        Of one run on one split.
    clips
        Those of that split, all of them, so that no run looks better by leaving clips out.
    intervals
        False leaves them out, which is much faster.
    only
        Which parts are wanted.

    Raises
    ------
    ValueError
        Where a clip was not predicted.
    """
    by_axis = predicted(predictions, clips)
    return [
        row
        for part in parts(clips, predictions.axes)
        if only(part)
        for row in _rows_of_part(predictions, part, by_axis[part.axis], intervals)
    ]


def parts(clips: Sequence[Clip], axes: Sequence[str]) -> tuple[Part, ...]:
    """What there is to compare on these clips: level by level, domain by domain, axis by axis."""
    return _parts(tuple(clips), tuple(axes))


# Ceilings take far longer than the figures of one run, and every run on the same clips has the same.
@lru_cache(maxsize=16)
def _parts(clips: tuple[Clip, ...], axes: tuple[str, ...]) -> tuple[Part, ...]:
    truth = tie_safe(score_array(clips, axes))
    ratings = single_ratings(clips, axes)
    named: dict[str, tuple[Sequence[Sequence[float]], Array]] = {
        axis: ([item[i] for item in ratings], truth[:, i]) for i, axis in enumerate(axes)
    }
    if len(axes) > 1:
        named[COMPOSITE] = (composite_ratings(ratings), composite(truth, truth)[1])
    domains = np.array([clip.domain for clip in clips], dtype=object)
    names = sorted(set(domains.tolist()) - {""})
    masks = {EVERYWHERE: np.ones(len(clips), dtype=bool)}
    if len(names) > 1:
        masks |= {beside_all(name): domains == name for name in names}
    return tuple(
        _part(level, domain, axis, clips, np.flatnonzero(mask & np.isfinite(values)), values, single)
        for level in ("utterance", "system")
        for domain, mask in masks.items()
        for axis, (single, values) in named.items()
    )


def predicted(predictions: Predictions, clips: Sequence[Clip]) -> dict[str, Array]:
    """Axis -> predictions [N] in the order of `clips`, the composite over the axes rated on each clip."""
    known = set(predictions.clip_ids)
    missing = [clip.id for clip in clips if clip.id not in known]
    if missing:
        raise ValueError(
            f"run {predictions.run} has no prediction on {predictions.split} for {len(missing)} of "
            f"{len(clips)} clips, the first of them {missing[0]!r}; predict them, or evaluate on fewer clips"
        )
    values = predictions.of([clip.id for clip in clips])
    result = {axis: values[:, i] for i, axis in enumerate(predictions.axes)}
    result[COMPOSITE] = composite(values, score_array(clips, predictions.axes))[0]
    return result


def single_ratings(clips: Sequence[Clip], axes: Sequence[str]) -> list[list[tuple[float, ...]]]:
    """The single ratings behind each score, [N][A], each as many as there were raters."""
    return [[clip.ratings[clip.axes.index(axis)] for axis in axes] for clip in clips]


RowIndex = Mapping[tuple[str, str, str, str, str, str], Row]


def index_rows(rows: Sequence[Row]) -> RowIndex:
    """Rows by (run, split, level, domain, axis, metric)."""
    return {(r.run, r.split, r.level, r.domain, r.axis, r.metric): r for r in rows}


def main_axis(axes: Iterable[str]) -> str:
    """The axis to read first: the composite, or the first axis where there is none."""
    found = list(dict.fromkeys(axes))
    return found[0] if found and COMPOSITE not in found else COMPOSITE


def _rows_of_part(predictions: Predictions, part: Part, pred: Array, intervals: bool) -> list[Row]:
    items = part.items(pred)
    result = []
    for name, metric in METRICS.items():
        value = metric(items, part.truth)
        row = Row(
            predictions.run, predictions.split, part.level, part.domain, part.axis, name,
            value, None, None, part.ceiling.of(metric.ceiling), len(items), part.kind,
            metric.why_undefined(items, part.truth),
        )  # fmt: skip
        if value is not None and intervals:
            row = _with_interval(row, part, items, value)
        result.append(row)
    return result


def _with_interval(row: Row, part: Part, items: Array, value: float) -> Row:
    if not part.kind:
        return replace(row, reason=part.about)
    found = interval(row.metric, value, items, part.truth, part.clusters)
    return replace(row, low=found.low, high=found.high, reason=found.reason or part.about)


def _part(
    level: str,
    domain: str,
    axis: str,
    clips: Sequence[Clip],
    members: Index,
    values: Array,
    single: Sequence[Sequence[float]],
) -> Part:
    systems = [clips[i].system for i in members]
    count = len(set(systems) - {""})
    few = f"{count} {'system' if count == 1 else 'systems'}, and {MIN_CLUSTERS} are needed"
    if level == "utterance":
        groups = [clips[i].group for i in members]
        left_out, swapped = clusters_of(systems, groups), clusters_of(systems, groups, MIN_SWAPPED)
        about = "" if left_out[0] else f"no interval: {len(members)} clips, and {MIN_CLUSTERS} are needed"
        if left_out[0] not in {"", "system"} and count > 1:
            about = f"the interval is about further clips of these systems, not about others: {few}"
        highest = ceiling([single[i] for i in members])
        truth = values[members]
        return Part(level, domain, axis, members, None, truth, *left_out, *swapped, about, highest)
    members = np.array([i for i, system in zip(members, systems, strict=True) if system], dtype=np.intp)
    named = tuple(system for system in systems if system)
    distinct, truth = system_means(values[members], named)
    every, none = ("system", np.arange(len(distinct))), ("", np.zeros(0, dtype=np.intp))
    left_out, swapped = (every if count >= least else none for least in (MIN_CLUSTERS, MIN_SWAPPED))
    about = "" if left_out[0] else f"no interval: {few}"
    highest = ceiling([single[i] for i in members], named)
    return Part(level, domain, axis, members, named, truth, *left_out, *swapped, about, highest)
