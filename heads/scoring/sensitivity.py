"""What harmless changes do to the scores: the sensitivity card of a bundle (see `extract.perturb`).

Every file is scored unchanged and once for each change.  The card holds, per change and axis, the mean shift
of the scores, the mean absolute shift and the largest one.  A fair predictor of quality follows losses that
can be heard, and hardly follows the other changes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from mmmos.extract.front import PERTURBATIONS, open_perturbed
from mmmos.heads.plotting import standalone_svg
from mmmos.heads.scoring.plots import shifts
from mmmos.heads.scoring.requests import AudioRequest
from mmmos.heads.scoring.scorer import Scorer
from mmmos.store import files, folders

UNCHANGED = "as it is"


@dataclass(frozen=True)
class Shift:
    """One change over n files, per axis in points: mean shift, mean and largest absolute one, mean score."""

    change: str
    shift: dict[str, float]
    size: dict[str, float]
    largest: dict[str, float]
    score: dict[str, float]
    n: int


@dataclass(frozen=True)
class SensitivityCard:
    """rows: one per change; files: how many; errors: (path, reason) of files that could not be scored."""

    axes: tuple[str, ...]
    files: int
    rows: tuple[Shift, ...]
    errors: tuple[tuple[str, str], ...]
    caveats: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def measure_sensitivity(scorer: Scorer, requests: Sequence[AudioRequest]) -> SensitivityCard:
    """The card of a scorer over the first 30 s of some files; ValueError where none can be scored."""
    asked = [(request, change) for request in requests for change in (None, *PERTURBATIONS)]
    answers = scorer.answers(
        [AudioRequest(f"{r.id}: {change or UNCHANGED}", r.path, r.file) for r, change in asked],
        [partial(open_perturbed, request.file, change) for request, change in asked],
    )
    scores: dict[str, dict[str | None, list[float]]] = {}
    errors: dict[str, str] = {}
    for (request, change), answer in zip(asked, answers, strict=True):
        if "error" in answer:
            errors.setdefault(request.path, answer["error"])
        else:
            scores.setdefault(request.path, {})[change] = [answer[axis] for axis in scorer.axes]
    whole = [of for path, of in scores.items() if path not in errors]
    if not whole:
        first = next(iter(errors.items()), ("", "no files"))
        raise ValueError(f"none of {len(requests)} files could be scored; {first[0]}: {first[1]}")
    rows = tuple(_row(scorer.axes, change, whole) for change in PERTURBATIONS)
    return SensitivityCard(scorer.axes, len(whole), rows, tuple(errors.items()), scorer.caveats)


def _row(axes: Sequence[str], change: str, files: Sequence[dict[str | None, list[float]]]) -> Shift:
    changed = np.array([of[change] for of in files])
    moved = changed - np.array([of[None] for of in files])

    def by_axis(values: np.ndarray) -> dict[str, float]:
        return {axis: round(float(value), 4) for axis, value in zip(axes, values, strict=True)}

    size = np.abs(moved)
    return Shift(
        change,
        by_axis(moved.mean(axis=0)),
        by_axis(size.mean(axis=0)),
        by_axis(size.max(axis=0)),
        by_axis(changed.mean(axis=0)),
        len(files),
    )


def plot(card: SensitivityCard) -> str:
    """The card as SVG: a row per change, a mark per axis, at the mean shift in points of the scale."""
    title = f"Mean shift of the score over {card.files} files, in points"
    if card.caveats:
        title += f" ({', '.join(card.caveats)})"
    series = {axis: [row.shift[axis] for row in card.rows] for axis in card.axes}
    return standalone_svg(shifts(title, [row.change for row in card.rows], series), title)


MARKS = {".csv": "change,axis,shift,size", ".json": '"axes"', ".svg": '<svg role="img"'}
"""What begins the files of a card, by their suffixes."""


def refuse_others(folder: Path) -> None:
    """ValueError where the files of a card would take the place of somebody else's."""
    for suffix, mark in MARKS.items():
        folders.refuse_foreign_file(folder / f"sensitivity{suffix}", [mark], "sensitivity card")


def write_card(card: SensitivityCard, folder: Path) -> None:
    """Write `folder`/sensitivity.json, .csv and .svg."""
    columns = ("change", "axis", "shift", "size", "largest", "score", "n")
    rows = [
        (row.change, axis, row.shift[axis], row.size[axis], row.largest[axis], row.score[axis], row.n)
        for row in card.rows
        for axis in card.axes
    ]
    files.write_csv(folder / "sensitivity.csv", columns, rows)
    files.write_json(folder / "sensitivity.json", card.to_json())
    files.write_text(folder / "sensitivity.svg", plot(card))
