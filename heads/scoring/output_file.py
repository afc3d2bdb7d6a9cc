"""A file of answers that grows row by row and can be gone on with after an interruption.  No torch.

While it is incomplete, NAME.resume beside it says which options its rows were made with.
"""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from mmmos.heads.scoring.answers import AT, Writer, columns, signature
from mmmos.heads.scoring.requests import AudioRequest
from mmmos.store import files, sealed
from mmmos.store.escape import csv_row, encodable
from mmmos.store.lines import whole_lines
from mmmos.store.row_formats import RowError, csv_rows, json_rows

FIRST_KEY = '{"id": '
"""How an answer begins as JSON; what begins otherwise is not cut off."""
TORN = "unexpected end of data"
"""What is said of a CSV text that ends within a cell."""
HOP_TOLERANCE_S = 2e-3
"""Starts of windows are written in milliseconds."""


class ResumeError(ValueError):
    """An output file that cannot be resumed; the message says why."""


@dataclass(frozen=True)
class Settings:
    """What all rows of a file have in common.

    hop_s:  seconds from one window to the next; None without a timeline.
    domain: the kind of all the audio, "" where it was not given.
    bundle: id of the bundle; "" while it is not known yet.
    loudness_lufs: to which all audio was brought; None where it was scored as it is.
    part: "3/64" of the list, "" for all of it.
    asked: of a part, digest of the whole list.
    """

    hop_s: float | None
    domain: str
    bundle: str
    loudness_lufs: float | None = None
    part: str = ""
    asked: str = ""

    @property
    def level(self) -> str:
        return "no --loudness" if self.loudness_lufs is None else f"--loudness {self.loudness_lufs:g}"

    def differ(self, before: Settings, path: Path) -> None:
        """ResumeError, by the option's name, where a file was begun with others."""
        if before.bundle and self.bundle and before.bundle != self.bundle:
            raise ResumeError(f"{path} was scored by --bundle {before.bundle}, not by {self.bundle}")
        if (before.hop_s is None) != (self.hop_s is None):
            raise ResumeError(f"{path} was written {'without' if self.hop_s else 'with'} --timeline")
        if before.hop_s != self.hop_s:
            raise ResumeError(f"{path} was written with --hop {before.hop_s:g}, not {self.hop_s:g}")
        if before.loudness_lufs != self.loudness_lufs:
            raise ResumeError(f"{path} was written with {before.level}, not with {self.level}")
        if before.asked != self.asked:
            raise ResumeError(f"{path} was scored for another list, or for this one before it changed")
        if before.part != self.part:
            raise ResumeError(f"{path} was written with --part {before.part!r}, not {self.part!r}")
        if before.domain != self.domain:
            raise ResumeError(f"{path} was written with --domain {before.domain!r}, not {self.domain!r}")


def check_output(path: Path, settings: Settings, *, resume: bool) -> None:
    """What can be said against an output file before a model is loaded.

    Raises
    ------
    ResumeError
        Where it exists and is not to be resumed, or was begun with other options.
    """
    if os.path.lexists(path) and not resume:
        raise ResumeError(f"{path} is already there: go on with it by --resume, or remove it")
    if os.path.lexists(path) and not path.is_file():
        raise ResumeError(f"{path} is not a regular file, so it cannot be resumed")
    if (before := _begun_with(path)) is not None:
        settings.differ(before, path)


class OutputFile:
    """The file, open under a lock that nobody else can have; to be used as a context.

    done: how many requests of the list it already answers, in order; errors: how many of those by an error.
    An incomplete last row is cut off, and so is, in CSV with a timeline, the last file: its windows may be
    incomplete.

    Raises
    ------
    ResumeError
        Where the file exists and is not to be resumed, answers something else, or is being written.
    """

    def __init__(
        self,
        path: Path,
        form: str,
        axes: Sequence[str],
        requests: Sequence[AudioRequest],
        settings: Settings,
        *,
        resume: bool = False,
    ) -> None:
        check_output(path, settings, resume=resume)
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        try:
            self.stream = path.open("a" if resume else "x", encoding="utf-8", newline="")
        except FileExistsError:
            raise ResumeError(f"{path} is already there: another command has just begun it") from None
        try:
            self._lock()
            self.done, self.errors, keep_bytes = 0, 0, 0
            for row, end in _answers(path, form, columns(axes), settings):
                try:
                    _check_answer(path, row, self.done, requests, settings)
                except (LookupError, TypeError) as reason:
                    raise ResumeError(f"{path}: its answer {self.done + 1} is none: {reason!r:.80}") from None
                self.done, self.errors = self.done + 1, self.errors + bool(row.get("error"))
                keep_bytes = end
            os.truncate(self.stream.fileno(), keep_bytes)
            sealed.write_json(_beside(path), asdict(settings))
        except BaseException:
            self.stream.close()
            if not resume:  # it was not there before
                with suppress(OSError):
                    files.remove(path)
            raise
        self.writer = Writer(self.stream, form, axes, header=keep_bytes == 0)

    def _lock(self) -> None:
        try:
            fcntl.flock(self.stream.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as refused:
            if refused.errno in (errno.EAGAIN, errno.EACCES):
                raise ResumeError(f"{self.path} is being written by another command: wait for it") from None
            if refused.errno not in files.NO_LOCKS:
                raise

    def __enter__(self) -> OutputFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.stream.flush()
            os.fsync(self.stream.fileno())
            if kind is None:
                with suppress(FileNotFoundError):
                    files.remove(_beside(self.path))
        finally:
            self.stream.close()


def _beside(path: Path) -> Path:
    return path.with_name(f"{path.name}.resume")


def _begun_with(path: Path) -> Settings | None:
    """The settings that an incomplete file was begun with; None where nothing says so."""
    beside = _beside(path)
    if not path.exists() or not beside.is_file():
        return None
    try:
        return Settings(**sealed.read_object(beside, 1 << 16))
    except (TypeError, ValueError) as reason:
        raise ResumeError(f"{beside} does not say how {path} was begun: {reason}") from None


def _answers(
    path: Path, form: str, names: Sequence[str], settings: Settings
) -> Iterator[tuple[Mapping[str, Any], int]]:
    """The complete answers of a file, each with the byte at which it (and its windows) ends."""

    def check_names(header: Sequence[str]) -> None:
        if tuple(header) != tuple(names):
            raise RowError("other columns")

    whole, _ = whole_lines(path.resolve())
    answer: tuple[dict[str, Any], int] | None = None
    with path.open(encoding="utf-8", errors="replace", newline="") as text:
        begin = csv_row(names) if form == "csv" else FIRST_KEY
        if not whole and not begin.startswith(text.read(len(begin))):
            raise ResumeError(f"{path} does not hold answers: remove it, or name another file")
        text.seek(0)
        for row in json_rows(text) if form == "jsonl" else csv_rows(text, check_names):
            if row.end > whole or (row.problem == TORN and form == "csv"):
                break  # torn, or it ends within a cell of several lines
            if row.problem and form == "jsonl":
                raise ResumeError(
                    f"{path} does not hold answers as JSON lines: row {row.number}: {row.problem}"
                )
            if row.problem and row.number == 1:
                raise ResumeError(f"{path} does not have the columns of these answers: {row.problem}")
            if row.problem:
                raise ResumeError(f"{path}: its row {row.number} is no answer: {row.problem}")
            if answer and row.values.get("row") == "window":
                answer[0].setdefault("windows", []).append(row.values)
                answer = answer[0], row.end
                continue
            if answer:
                yield answer
            answer = dict(row.values), row.end
    if answer and not (settings.hop_s is not None and form == "csv"):
        yield answer


def _check_answer(
    path: Path, row: Mapping[str, Any], number: int, requests: Sequence[AudioRequest], settings: Settings
) -> None:
    """ResumeError unless a row that a file holds is what would be written now."""
    if number >= len(requests) or row.get("id") not in (requests[number].id, encodable(requests[number].id)):
        raise ResumeError(
            f"{path}: its answer {number + 1} is for {row.get('id')!r}, not for what is asked now; "
            "resume with the same files in the same order"
        )
    by, _, level = str(row.get("bundle")).partition(AT)
    if by != settings.bundle:
        raise ResumeError(f"{path} was scored by --bundle {by}, not by {settings.bundle}")
    if row.get("bundle") != signature(settings.bundle, settings.loudness_lufs):
        raise ResumeError(f"{path} was written {f'at {level}' if level else 'without --loudness'}")
    if row.get("error"):
        return
    windows = row.get("windows") or []
    if bool(windows) != (settings.hop_s is not None):
        raise ResumeError(f"{path} was written {'without' if settings.hop_s else 'with'} --timeline")
    # With two windows the second may be moved to the end of the file; so few say nothing of the hop.
    if len(windows) > 2 and settings.hop_s is not None:
        hop_s = float(windows[1]["start_s"]) - float(windows[0]["start_s"])
        if abs(hop_s - settings.hop_s) > HOP_TOLERANCE_S:
            raise ResumeError(f"{path} was written with --hop {hop_s:g}, not {settings.hop_s:g}")
    stated = requests[number].domain
    if stated and row.get("domain") not in (stated, encodable(stated)):
        raise ResumeError(
            f"{path}: its answer {number + 1} has the domain {row.get('domain')!r}, not --domain {stated!r}"
        )
