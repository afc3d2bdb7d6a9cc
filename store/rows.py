"""Rows of CSV and JSON-lines files, with a row number and a reason for everything refused.

The one reader of tables that people write: clip tables, lists of files to score, label files, and answers
that are to be resumed.  CSV is read strictly (RFC 4180), both are UTF-8 with or without a byte order mark.
"""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from mmmos.store import files
from mmmos.store.escape import from_spreadsheet

JSON_SUFFIXES = (".jsonl", ".json")
MAX_COLUMNS = 10_000
MAX_REASONS = 50

T = TypeVar("T")
CheckColumns = Callable[[Sequence[str]], None]
"""Raises RowError for columns that a table may not have: a CSV's header, or the keys of one JSON line."""


class RowError(ValueError):
    """A reason why a row, or a whole file, cannot be used."""


@dataclass(frozen=True)
class Row:
    """One row of a file.

    number:  in CSV the row as a spreadsheet counts, the header being row 1; in JSON lines the line.
    values:  column -> text (CSV) or JSON value; empty where there is a problem.
    end:     byte of the text (without a byte order mark) at which the row ends, its newline included.
    problem: why the row cannot be used, "" where it can.
    """

    number: int
    values: Mapping[str, Any]
    end: int
    problem: str = ""


def read_rows(path: Path, max_bytes: int, check: CheckColumns | None = None) -> Iterator[Row]:
    """Rows of a file: `.jsonl` and `.json` as JSON lines, anything else as CSV.

    Raises
    ------
    RowError
        If the file cannot be read, is larger than `max_bytes` or is not UTF-8.
    """
    try:
        text = files.read_bytes(path, max_bytes).decode("utf-8-sig")
    except (OSError, ValueError) as reason:
        raise RowError(f"{path} cannot be read: {reason}") from None
    return (json_rows if path.suffix.lower() in JSON_SUFFIXES else csv_rows)(text, check)


def csv_rows(text: str, check: CheckColumns | None = None) -> Iterator[Row]:
    """Rows below the header of a CSV text; blank ones are skipped.

    The apostrophe that our own files put before text that a spreadsheet would run is taken away.  Every row
    must have as many cells as the header.  A header that is refused, or text that is not CSV,
    is the problem of the last row that is given.
    """
    lines = _Lines(text)
    reader = csv.reader(lines, strict=True)
    header: list[str] = []
    number = 0
    while True:
        number += 1
        try:
            cells = next(reader, None)
            if cells is None:
                return
            if number == 1:
                header = [from_spreadsheet(cell.strip()) for cell in cells]
                check_header(header, check)
                continue
        except (csv.Error, RowError) as reason:
            yield Row(number, {}, lines.end, str(reason))
            return
        if not any(cell.strip() for cell in cells):
            continue
        if len(cells) != len(header):
            yield Row(number, {}, lines.end, f"{len(cells)} cells under {len(header)} columns")
        else:
            yield Row(number, dict(zip(header, map(from_spreadsheet, cells), strict=True)), lines.end)


def check_header(header: Sequence[str], check: CheckColumns | None = None) -> None:
    """RowError for a CSV header that no table may have, or that `check` refuses."""
    if len(header) == 1 and (";" in header[0] or "\t" in header[0]):
        raise RowError("the columns are not separated by commas")
    if len(header) > MAX_COLUMNS:
        raise RowError(f"{len(header)} columns, where a table has {MAX_COLUMNS} at most")
    twice = sorted(name for name, count in Counter(header).items() if name and count > 1)
    if twice:
        raise RowError("; ".join(f"column {name!r} occurs twice" for name in twice))
    if check:
        check(header)


def json_rows(text: str, check: CheckColumns | None = None) -> Iterator[Row]:
    """One JSON object per line; blank lines are skipped."""
    lines = _Lines(text)
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            values = json.loads(line, object_pairs_hook=_different_keys)
            if not isinstance(values, dict):
                raise RowError("not a JSON object")
            if check:
                check(list(values))
        except RowError as reason:
            yield Row(number, {}, lines.end, str(reason))
        except (ValueError, RecursionError) as reason:
            yield Row(number, {}, lines.end, f"not JSON: {reason}")
        else:
            yield Row(number, values, lines.end)


def convert(rows: Iterable[Row], make: Callable[[Mapping[str, Any]], T]) -> tuple[dict[int, T], list[str]]:
    """What `make` makes of each row's values, and why the other rows cannot be used.

    Parameters
    ----------
    make
        Raises ValueError for values that it refuses.

    Returns
    -------
    tuple
        Row number -> what was made of it; and the reasons, each "row 3: ...".
    """
    made: dict[int, T] = {}
    reasons: list[str] = []
    for row in rows:
        try:
            if row.problem:
                raise RowError(row.problem)
            made[row.number] = make(row.values)
        except ValueError as reason:
            reasons.append(f"row {row.number}: {reason}")
    return made, reasons


def refusal(what: str, reasons: Sequence[str]) -> str:
    """The message that refuses `what`: one line per reason, the first 50 of them."""
    shown = [f"{what} is refused, {len(reasons)} reason(s):", *reasons[:MAX_REASONS]]
    if len(reasons) > MAX_REASONS:
        shown.append(f"... and {len(reasons) - MAX_REASONS} more")
    return "\n  ".join(shown)


class _Lines:
    """Lines of a text, ended by \\n, \\r or \\r\\n and nothing else; `end` counts the bytes given out."""

    def __init__(self, text: str) -> None:
        self._text = io.StringIO(text, newline="")
        self.end = 0

    def __iter__(self) -> Iterator[str]:
        for line in self._text:
            self.end += len(line.encode())
            yield line


def _different_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        twice = sorted(name for name, count in Counter(name for name, _ in pairs).items() if count > 1)
        raise RowError(f"the key {twice[0]!r} occurs twice")
    return values
