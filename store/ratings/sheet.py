"""A file of ratings as columns and rows, whatever separates them: the first step of reading one.

CSV separated by commas, semicolons or tabs, JSON lines, one JSON list, Kaldi's `id value` lines, and the
lists without a header that the VoiceMOS challenges hand out.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmmos.store import files
from mmmos.store.rows import JSON_SUFFIXES, Row, TableError, csv_rows, json_rows, refusal

MAX_BYTES = 1 << 31
AUDIO_SUFFIXES = (
    ".wav", ".flac", ".mp3", ".ogg", ".oga", ".opus", ".aif", ".aiff", *sorted(files.NOT_DECODED)
)  # fmt: skip
"""What a file of audio is called, also where it will not be read: then that is said of it, and why."""
SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs"}
OTHER_FILES = (".xlsx", ".xls", ".ods", ".parquet", ".mat", ".sav")
NOTHING = ("", "na", "n/a", "nan", "null", "none", "-", "?")
"""Words, in small letters, by which tables say that a cell is empty."""

VOICEMOS = ("system", "path", "score", "_", "listener")
"""Columns of the lists of single ratings of VoiceMOS 2022, which have no header."""


@dataclass(frozen=True)
class Sheet:
    """Columns in their order, and values by row number and column: texts, or JSON values.

    form:          what kind of file it is, in words.
    decimal_comma: whether a number may be written 3,5.
    """

    columns: tuple[str, ...]
    rows: Mapping[int, Mapping[str, Any]]
    form: str
    decimal_comma: bool = False

    def values(self, column: str) -> list[Any]:
        """The cells of a column that are not empty; texts without blanks at their ends."""
        cells = (row.get(column) for row in self.rows.values())
        return [cell.strip() if isinstance(cell, str) else cell for cell in cells if not is_blank(cell)]


def read_sheet(path: Path) -> Sheet:
    """Read a file; TableError says what it is not, with row numbers."""
    if path.suffix.lower() in OTHER_FILES:
        raise TableError(f"{path} is not text: save it as CSV (UTF-8) and name that file")
    try:
        text = files.read_bytes(path, MAX_BYTES).decode("utf-8-sig")
    except UnicodeDecodeError as reason:
        raise TableError(f"{path} is not UTF-8 text ({reason}): save it as CSV (UTF-8)") from None
    except OSError as reason:
        raise TableError(f"{path} cannot be read: {reason}") from None
    if not text.strip():
        raise TableError(f"{path} is empty")
    if path.suffix.lower() in JSON_SUFFIXES:
        return _json_sheet(path, text)
    first = text.lstrip().splitlines()[0]
    words = first.split()
    if len(words) == 2 and is_number(words[1]) and not any(mark in first for mark in ",;"):
        lines = [line.split() for line in text.splitlines() if line.strip()]
        wrong = [n for n, line in enumerate(lines, 1) if len(line) != 2]
        if wrong:
            raise TableError(f"{path}, line {wrong[0]}: not `id value`, as its first line is")
        scored = {n: {"id": line[0], "score": line[1]} for n, line in enumerate(lines, 1)}
        return Sheet(("id", "score"), scored, "lines of id and value, without a header")
    separator = max(SEPARATORS, key=first.count)
    names = headerless(first.split(separator), path)
    form = f"CSV separated by {SEPARATORS[separator]}" + (", without a header" if names else "")
    rows = _rows(path, csv_rows(text, None, separator, names))
    columns = names or [name.strip() for name in next(iter(rows.values()), {})]
    if not rows:
        raise TableError(f"{path} has a header and no rows")
    return Sheet(tuple(columns), rows, form, decimal_comma=separator != ",")


def headerless(cells: Sequence[str], path: Path) -> list[str]:
    """Names for the columns of a file whose first row is no header; [] where it is one."""
    cells = [cell.strip().strip('"') for cell in cells]
    audio = [n for n, cell in enumerate(cells) if cell.lower().endswith(AUDIO_SUFFIXES)]
    numbers = [n for n, cell in enumerate(cells) if is_number(cell)]
    if not audio and not numbers:
        return []
    if len(cells) == 2 and audio and numbers:
        return ["path" if n in audio else "score" for n in range(2)]
    if len(cells) == len(VOICEMOS) and audio == [1] and 2 in numbers:
        return list(VOICEMOS)
    raise TableError(
        f"{path}: its first row, {', '.join(cells[:6])}, is not a header. Put the columns' names above it"
    )


def is_blank(cell: Any) -> bool:
    """Whether a cell says that there is nothing: empty, or a word such as NA."""
    return cell is None or (isinstance(cell, str) and cell.strip().lower() in NOTHING)


def is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _json_sheet(path: Path, text: str) -> Sheet:
    if not text.lstrip().startswith("["):
        rows = _rows(path, json_rows(text))
        form = "JSON lines"
    else:
        try:
            listed = json.loads(text)
        except (ValueError, RecursionError) as reason:
            raise TableError(f"{path} is not JSON: {reason}") from None
        if not listed or not all(isinstance(one, dict) for one in listed):
            raise TableError(f"{path} is not a list of JSON objects")
        rows, form = dict(enumerate(listed, 1)), "a list of JSON objects"
    if not rows:
        raise TableError(f"{path} has no rows")
    columns = dict.fromkeys(name for row in rows.values() for name in row)
    return Sheet(tuple(columns), rows, form)


def _rows(path: Path, rows: Iterable[Row]) -> dict[int, Mapping[str, Any]]:
    found = list(rows)
    if reasons := [f"row {row.number}: {row.problem}" for row in found if row.problem]:
        raise TableError(refusal(str(path), reasons))
    return {row.number: row.values for row in found}
