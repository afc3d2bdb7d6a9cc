"""One honest line for each axis: how well clips that were held out are predicted, and beside what.

PQ: SRCC 0.61 [0.48, 0.71] over 128 clips, groups held out; ridge 0.43; train mean 0; rater ceiling 0.93
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mmmos.store.schema import OOF, Clip

if TYPE_CHECKING:
    from mmmos.heads.results.evaluation import Row

FEW_CLIPS = 60
"""Below this a correlation of 0.5 has an interval of 0.4 and more, and heads cannot be told apart."""

FEW_GROUPS = 8
"""With fewer groups than this each fold leaves out an eighth of what varies, or more."""


@dataclass(frozen=True)
class Verdict:
    """Lines for the user: one an axis, then what must not be overlooked."""

    lines: tuple[str, ...]
    warnings: tuple[str, ...]


def verdict(rows: Sequence[Row], ridge: Sequence[Row], clips: Sequence[Clip], axes: Sequence[str]) -> Verdict:
    """The verdict from the rows of the ensemble and of the ridge regression, both on the same split."""
    of_run, of_ridge = _utterance(rows), _utterance(ridge)
    lines, beaten, unclear = [], [], []
    for axis in axes:
        row = of_run.get(axis)
        if row is None:
            lines.append(f"{axis}: nothing to say, no held-out clip is rated")
            continue
        plain = of_ridge.get(axis)
        lines.append(f"{axis}: {_figure(row)} over {row.n} clips, {_held(row, clips)}; {_beside(row, plain)}")
        if row.low is None or row.low <= 0 or row.value is None:
            unclear.append(axis)
        if plain and plain.value is not None and (row.value is None or row.value < plain.value - 0.005):
            beaten.append(axis)
    return Verdict(tuple(lines), tuple(_warnings(clips, unclear, beaten)))


def _utterance(rows: Sequence[Row]) -> Mapping[str, Row]:
    from mmmos.heads.results.evaluation import EVERYWHERE

    return {
        row.axis: row
        for row in rows
        if (row.level, row.domain, row.metric) == ("utterance", EVERYWHERE, "srcc")
    }


def _figure(row: Row) -> str:
    if row.value is None:
        return f"SRCC unknown ({row.reason})"
    if row.low is None or row.high is None:
        return f"SRCC {row.value:.2f} ({row.reason or 'no interval'})"
    return f"SRCC {row.value:.2f} [{row.low:.2f}, {row.high:.2f}]"


def _held(row: Row, clips: Sequence[Clip]) -> str:
    if row.split != OOF:
        return f"the {row.split} split"
    return "groups held out" if any(clip.group for clip in clips) else "each held out"


def _beside(row: Row, plain: Row | None) -> str:
    ridge = "unknown" if plain is None or plain.value is None else f"{plain.value:.2f}"
    ceiling = "unknown" if row.ceiling is None else f"{row.ceiling:.2f}"
    return f"ridge {ridge}; train mean 0; rater ceiling {ceiling}"


def _warnings(clips: Sequence[Clip], unclear: Sequence[str], beaten: Sequence[str]) -> list[str]:
    groups = {clip.group for clip in clips if clip.group}
    found = []
    few = [f"{len(clips)} clips"] * (len(clips) < FEW_CLIPS)
    few += [f"{len(groups)} groups"] * (0 < len(groups) < FEW_GROUPS)
    if few:
        found.append(
            f"too few data: {' and '.join(few)} cannot tell how good this predictor is, nor which head is "
            f"best. Rate {2 * FEW_CLIPS} clips or more, of {2 * FEW_GROUPS} groups or more, to rely on it"
        )
    if unclear:
        found.append(f"{', '.join(unclear)}: not told apart from chance; do not rely on it")
    if beaten and not few:  # else the line above says that nothing can be told apart
        found.append(
            f"{', '.join(beaten)}: a plain ridge regression ranks the clips better, so the rest has not paid"
        )
    return found
