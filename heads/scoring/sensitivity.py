"""What harmless changes do to the scores: the sensitivity card of a bundle (see `extract.changes`).

Every file is scored as it is and once for each change; the card holds, per change and axis, how far the
scores moved on average (shift), how far in either direction (size), and at the most.  A fair predictor of
quality follows losses that can be heard, and hardly the rest.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mmmos.heads.results.drawing import dot_plot
from mmmos.heads.scoring.requests import Request
from mmmos.heads.scoring.scorer import Scorer
from mmmos.store import files

AS_IT_IS = "as it is"


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
class Card:
    """rows: one a change; errors: (path, reason) of files that could not be scored."""

    axes: tuple[str, ...]
    files: int
    rows: tuple[Shift, ...]
    errors: tuple[tuple[str, str], ...]
    caveats: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def sensitivity(scorer: Scorer, requests: Sequence[Request]) -> Card:
    """The card of a scorer over some files, of each the first 30 s; ValueError where none can be scored."""
    changes = [None, *scorer.front.changes]
    asked = [(request, change) for request in requests for change in changes]
    answers = scorer.answers(
        [
            Request(f"{request.id}: {change or AS_IT_IS}", request.path, request.file)
            for request, change in asked
        ],
        [lambda f=request.file, c=change: scorer.front.changed_piece(f, c) for request, change in asked],
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
    rows = tuple(_row(scorer.axes, change, whole) for change in scorer.front.changes)
    return Card(scorer.axes, len(whole), rows, tuple(errors.items()), scorer.caveats)


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


def plot(card: Card) -> str:
    """The card as SVG: a row a change, a mark an axis, at the mean shift in points of the scale."""
    title = f"Mean shift of the score over {card.files} files, in points"
    if card.caveats:
        title += f" ({', '.join(card.caveats)})"
    return dot_plot(
        title,
        [row.change for row in card.rows],
        {axis: [row.shift[axis] for row in card.rows] for axis in card.axes},
    )


def write_card(card: Card, folder: Path) -> None:
    """`folder`/sensitivity.json, .csv and .svg."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["change", "axis", "shift", "size", "largest", "score", "n"])
    for row in card.rows:
        for axis in card.axes:
            writer.writerow(
                [row.change, axis, row.shift[axis], row.size[axis], row.largest[axis], row.score[axis], row.n]
            )
    files.write_text(folder / "sensitivity.csv", text.getvalue())
    files.write_text(folder / "sensitivity.json", json.dumps(card.to_json(), indent=1) + "\n")
    files.write_text(folder / "sensitivity.svg", plot(card))
