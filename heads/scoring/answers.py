"""What a user gets for a piece of audio: one flat row, the same in Python, JSON lines and CSV.  No torch.

id, path, start_s, end_s      what was asked for (start and end only for pieces)
CE ... PQ                     scores on the bundle's scale
CE_80_low ... CE_95_high      intervals of the mean rating of a panel like the training data's
CE_spread                     how far the ensemble's members disagree (standard deviation)
seconds, domain, flags        audio that was scored, its (stated or nearest) kind, and what to beware of
windows                       with a timeline: [{start_s, end_s, CE ... PQ}]
caveats, bundle, error        what must be said beside the scores, whose they are, why there are none
"""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO

from mmmos.heads.scoring.intervals import CONFIDENCE_LEVELS
from mmmos.heads.scoring.requests import AudioRequest
from mmmos.store.names import choose

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
"""Flag -> the rule behind it."""


def flags(info: Any, out_of_domain: bool) -> list[str]:
    """Names of `FLAGS` that hold for a piece of audio (an AudioInfo)."""
    found = {
        "clipped": info.clipped > CLIPPED_SHARE,
        "silent": info.rms < SILENT_RMS,
        "short": info.duration_s < SHORT_S,
        "out_of_domain": out_of_domain,
    }
    return [name for name, holds in found.items() if holds]


FORMATS = ("jsonl", "csv")


def interval_columns(axis: str, level: float) -> tuple[str, str]:
    """Names of an interval's ends: "PQ_80_low" and "PQ_80_high" for 0.8."""
    return f"{axis}_{round(100 * level)}_low", f"{axis}_{round(100 * level)}_high"


class ResumeError(ValueError):
    """An output file that cannot be gone on with; the message says why."""


def columns(axes: Sequence[str]) -> tuple[str, ...]:
    """The columns of a CSV; with a timeline its window rows stand below their file's row."""
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
    """Answers to a text stream, whole rows at a time, each flushed: what is written can be relied on."""

    def __init__(self, stream: TextIO, form: str, axes: Sequence[str], header: bool = True) -> None:
        self.stream, self.form = stream, choose("format", form, FORMATS)
        self.columns = columns(axes)
        if header and form == "csv":
            self._csv([dict(zip(self.columns, self.columns, strict=True))])

    def write(self, answer: Answer) -> None:
        if self.form == "jsonl":
            self._put(json.dumps(answer, ensure_ascii=False, allow_nan=False) + "\n")
            return
        windows = [
            {
                "row": "window",
                "id": answer["id"],
                "path": answer["path"],
                "bundle": answer["bundle"],
                **window,
            }
            for window in answer.get("windows", ())
        ]
        self._csv([{**answer, "row": "file"}, *windows])

    def _csv(self, rows: Sequence[Mapping[str, Any]]) -> None:
        text = io.StringIO(newline="")
        writer = csv.writer(text, lineterminator="\n")
        writer.writerows([[_cell(row.get(name)) for name in self.columns] for row in rows])
        self._put(text.getvalue())

    def _put(self, text: str) -> None:
        self.stream.write(text)
        self.stream.flush()


def _cell(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return "; ".join(map(str, value))
    return "" if value is None else value


class OutputFile:
    """A file of answers that grows row by row and can be gone on with after a break.

    done: how many requests of the list it already answers, in order, `errors` of them by an error.  A torn
    last row is cut off, and so is, in CSV with a timeline, the last file: its windows may not all be there.
    ResumeError where the file is there and not to be resumed, or answers something else.
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
            rows = _json_rows(path) if form == "jsonl" else _csv_rows(path, columns(axes), timeline)
            self.done, self.errors, keep_bytes = _answered(path, rows, requests, bundle, timeline)
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


Found = Iterator[tuple[Mapping[str, Any], int]]
"""Rows of files, with the byte at which each (and its windows) ends."""


def _answered(
    path: Path, rows: Found, requests: Sequence[AudioRequest], bundle: str, timeline: bool
) -> tuple[int, int, int]:
    """(requests answered, how many of them by an error, bytes that hold them)."""
    done = errors = kept = 0
    for row, end in rows:
        if done >= len(requests) or row.get("id") != requests[done].id:
            raise ResumeError(
                f"{path}: its answer {done + 1} is for {row.get('id')!r}, not for what is asked now; "
                "resume with the same files in the same order"
            )
        if row.get("bundle") != bundle:
            raise ResumeError(f"{path} was scored by {row.get('bundle')}, not by {bundle}")
        if not row.get("error") and bool(row.get("windows")) != timeline:
            raise ResumeError(f"{path} was written {'without' if timeline else 'with'} a timeline")
        done, kept, errors = done + 1, end, errors + bool(row.get("error"))
    return done, errors, kept


def _json_rows(path: Path) -> Found:
    end = 0
    with path.open("rb") as stream:
        for line in stream:
            if not line.endswith(b"\n"):
                return
            end += len(line)
            try:
                row = json.loads(line)
            except ValueError:
                row = None
            if not isinstance(row, dict):
                raise ResumeError(f"{path} does not hold answers as JSON lines")
            yield row, end


def _csv_rows(path: Path, names: Sequence[str], timeline: bool) -> Found:
    """Files' rows with the number of their windows; without the last file where there is a timeline."""
    text = path.read_bytes()
    lines = text[: text.rfind(b"\n") + 1].decode("utf-8").splitlines(keepends=True)
    if lines and tuple(next(csv.reader(lines[:1]))) != tuple(names):
        raise ResumeError(f"{path} does not have the columns of these answers")
    group: dict[str, Any] | None = None
    end = 0
    for record, size in _records(lines):
        row: dict[str, Any] = dict(zip(names, record, strict=False))
        if row["row"] == "file":
            if group is not None:
                yield group, end
            group = {**row, "windows": 0}
        elif group is not None:
            group["windows"] += 1
        end += size
    if group is not None and not timeline:
        yield group, end


def _records(lines: Sequence[str]) -> Iterator[tuple[list[str], int]]:
    """Every CSV record and its bytes; a quoted cell may span lines."""
    held = ""
    for line in lines:
        held += line
        if held.count('"') % 2 == 0:
            yield next(csv.reader([held], strict=True)), len(held.encode())
            held = ""
