"""What a user gets for one piece of audio: a flat row, the same in Python, JSON lines and CSV.  No torch.

id, path, start_s, end_s      what was asked for (start and end only for parts of files)
CE ... PQ                     scores on the bundle's scale, one per axis
CE_80_low ... CE_95_high      intervals of the mean rating of a panel like the training data's
CE_spread                     how far the ensemble's members disagree (standard deviation)
seconds, domain, flags        audio that was scored, its (stated or nearest) domain, the names of warnings
windows                       with a timeline: [{start_s, end_s, CE ... PQ}]
caveats, bundle, error        what must be said beside the scores, which bundle made them, why there are none
"""

from __future__ import annotations

import csv
import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, TextIO

import numpy as np
from numpy.typing import NDArray

from mmmos.heads.scoring.intervals import CONFIDENCE_LEVELS
from mmmos.heads.scoring.requests import AudioRequest
from mmmos.store.names import choose
from mmmos.store.rows import RowError, csv_rows, json_rows
from mmmos.store.schema import Scale

if TYPE_CHECKING:
    from mmmos.extract.front import AudioInfo

Answer = dict[str, Any]

CLIPPED_SHARE = 1e-3
SILENT_RMS = 10 ** (-70 / 20)
SHORT_S = 1.0

FLAGS = {
    "clipped": f"more than {CLIPPED_SHARE:.1%} of the samples are at full scale",
    "silent": "the level is below -70 dB of full scale",
    "short": f"shorter than {SHORT_S:g} s",
    "out_of_domain": "its features are farther from every training domain than 99 % of held-out clips' are",
}
"""Name of a warning -> the rule behind it."""


def flags(info: AudioInfo, out_of_domain: bool) -> list[str]:
    """Names of `FLAGS` that hold for a piece of audio."""
    found = {
        "clipped": info.clipped > CLIPPED_SHARE,
        "silent": info.rms < SILENT_RMS,
        "short": info.duration_s < SHORT_S,
        "out_of_domain": out_of_domain,
    }
    return [name for name, holds in found.items() if holds]


FARTHEST = 1.0
"""A score that is farther outside of its scale than this many times its span is no prediction."""


def beyond_scale(values: NDArray[np.float64], axes: Sequence[str], scale: Scale, bounded: bool) -> str:
    """Why a file's scores [A], before they are held to the scale, cannot be believed; "" where they can."""
    reach = FARTHEST * (scale.high - scale.low) if bounded else math.inf
    for axis, value in zip(axes, values, strict=True):
        if not (scale.low - reach <= value <= scale.high + reach and math.isfinite(value)):
            return (
                f"{axis} comes out as {value:.4g} on a scale from {scale.low:g} to {scale.high:g}: these "
                "heads are damaged, or were never meant for such audio"
            )
    return ""


FORMATS = ("jsonl", "csv")


def interval_columns(axis: str, level: float) -> tuple[str, str]:
    """Names of an interval's ends: "PQ_80_low" and "PQ_80_high" for 0.8."""
    return f"{axis}_{round(100 * level)}_low", f"{axis}_{round(100 * level)}_high"


class ResumeError(ValueError):
    """An output file that cannot be resumed; the message says why."""


def columns(axes: Sequence[str]) -> tuple[str, ...]:
    """The columns of a CSV; with a timeline, the rows of a file's windows follow the row of the file."""
    of_axes = [
        name
        for axis in axes
        for name in (
            axis,
            *(name for level in CONFIDENCE_LEVELS for name in interval_columns(axis, level)),
            f"{axis}_spread",
        )
    ]
    first = ("row", "id", "path", "start_s", "end_s")
    return (*first, *of_axes, "seconds", "domain", "flags", "caveats", "error", "bundle")


def identity(request: AudioRequest) -> Answer:
    """The fields of an answer that the request alone decides."""
    row: Answer = {"id": request.id, "path": request.path}
    if request.start_s is not None or request.end_s is not None:
        row |= {"start_s": request.start_s or 0.0, "end_s": request.end_s}
    return row


class Writer:
    """Writes answers to a text stream and flushes after each, so that what is written can be relied on."""

    def __init__(self, stream: TextIO, form: str, axes: Sequence[str], header: bool = True) -> None:
        self.stream, self.form = stream, choose("format", form, FORMATS)
        self.columns = columns(axes)
        self.rows = csv.DictWriter(stream, self.columns, extrasaction="ignore", lineterminator="\n")
        if header and form == "csv":
            self.rows.writeheader()

    def write(self, answer: Answer) -> None:
        if self.form == "jsonl":
            self.stream.write(json.dumps(answer, ensure_ascii=False, allow_nan=False) + "\n")
        else:
            row = {"row": "file", **answer}
            row |= {name: "; ".join(answer.get(name, ())) for name in ("flags", "caveats")}
            self.rows.writerow(row)
            same = {"row": "window", **{name: answer[name] for name in ("id", "path", "bundle")}}
            self.rows.writerows(same | window for window in answer.get("windows", ()))
        self.stream.flush()


class OutputFile:
    """A file of answers that grows row by row and can be resumed after an interruption.

    done: how many requests of the list it already answers, in order; errors: how many of those by an error.
    An incomplete last row is cut off, and so is, in CSV with a timeline, the last file: its windows may be
    incomplete.

    Raises
    ------
    ResumeError
        Where the file exists and is not to be resumed, or answers something else.
    """

    def __init__(
        self,
        path: Path,
        form: str,
        axes: Sequence[str],
        requests: Sequence[AudioRequest],
        bundle: str,
        *,
        timeline: bool = False,
        resume: bool = False,
    ) -> None:
        if path.exists() and not resume:
            raise ResumeError(f"{path} is already there: go on with it by --resume, or remove it")
        self.done, self.errors, keep_bytes = 0, 0, 0
        if path.exists():
            for row, end in _answers(path, form, columns(axes), timeline):
                _check_answer(path, row, self.done, requests, bundle, timeline)
                self.done, self.errors = self.done + 1, self.errors + bool(row.get("error"))
                keep_bytes = end
        path.parent.mkdir(parents=True, exist_ok=True)
        self.stream = path.open("a", encoding="utf-8", newline="")
        os.truncate(path, keep_bytes)
        self.writer = Writer(self.stream, form, axes, header=keep_bytes == 0)

    def __enter__(self) -> OutputFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stream.flush()
        os.fsync(self.stream.fileno())
        self.stream.close()


def _answers(
    path: Path, form: str, names: Sequence[str], timeline: bool
) -> Iterator[tuple[Mapping[str, Any], int]]:
    """The complete answers of a file, each with the byte at which it (and its windows) ends."""

    def check_names(header: Sequence[str]) -> None:
        if tuple(header) != tuple(names):
            raise RowError("other columns")

    data = path.read_bytes()
    text = data[: data.rfind(b"\n") + 1].decode("utf-8", errors="replace")
    answer: tuple[Mapping[str, Any], int] | None = None
    for row in json_rows(text) if form == "jsonl" else csv_rows(text, check_names):
        if row.problem and form == "jsonl":
            raise ResumeError(f"{path} does not hold answers as JSON lines: row {row.number}: {row.problem}")
        if row.problem and row.number == 1:
            raise ResumeError(f"{path} does not have the columns of these answers: {row.problem}")
        if row.problem:
            break  # it ends within a cell of several lines
        if answer and row.values.get("row") == "window":
            answer = {**answer[0], "windows": True}, row.end
            continue
        if answer:
            yield answer
        answer = row.values, row.end
    if answer and not (timeline and form == "csv"):
        yield answer


def _check_answer(
    path: Path,
    row: Mapping[str, Any],
    number: int,
    requests: Sequence[AudioRequest],
    bundle: str,
    timeline: bool,
) -> None:
    """ResumeError unless a row that a file holds is what would be written now."""
    if number >= len(requests) or row.get("id") != requests[number].id:
        raise ResumeError(
            f"{path}: its answer {number + 1} is for {row.get('id')!r}, not for what is asked now; "
            "resume with the same files in the same order"
        )
    if row.get("bundle") != bundle:
        raise ResumeError(f"{path} was scored by {row.get('bundle')}, not by {bundle}")
    if not row.get("error") and bool(row.get("windows")) != timeline:
        raise ResumeError(f"{path} was written {'without' if timeline else 'with'} a timeline")
