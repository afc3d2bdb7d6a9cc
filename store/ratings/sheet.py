"""A file of ratings as columns and rows, whatever separates them: the first step of reading one.

CSV separated by commas, semicolons or tabs, JSON lines, one JSON list, Kaldi's `id value` lines, and the
lists without a header that the VoiceMOS challenges hand out.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from mmmos.store.row_formats import MAX_COLUMNS, MAX_LINE_LETTERS, Row, RowError, csv_rows, json_rows
from mmmos.store.rows import JSON_SUFFIXES, NUMBER, TableError, open_text, refusal, taken
from mmmos.store.sealed import different_keys, whole_number
from mmmos.store.suffixes import AUDIO, TABLES

MAX_BYTES = 1 << 31
MAX_LIST_LETTERS = 1 << 26
"""Of a JSON list, which is read as a whole; JSON lines are not."""
BETWEEN = re.compile(r"[\s,]*")
SUFFIXES = tuple(AUDIO)
"""Also of what will not be read: then that is said of it, and why."""
SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs"}
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
    if path.suffix.lower() in TABLES:
        raise TableError(f"{path} is not text: save it as CSV (UTF-8) and name that file")
    try:
        with open_text(path, MAX_BYTES) as text:
            return _sheet(path, text)
    except UnicodeDecodeError as reason:
        raise TableError(f"{path} is not UTF-8 text ({reason}): save it as CSV (UTF-8)") from None
    except TableError:
        raise
    except (OSError, ValueError) as reason:
        raise TableError(f"{path} cannot be read: {reason}") from None


def _sheet(path: Path, text: TextIO) -> Sheet:
    """The sheet of an open text, which is read row by row: a hostile one ends at its first rows."""
    start = text.read(MAX_LINE_LETTERS)
    text.seek(0)
    if not start.strip():
        raise TableError(f"{path} is empty, or begins with nothing but blanks")
    if path.suffix.lower() in JSON_SUFFIXES:
        return _json_sheet(path, text, listed=start.lstrip().startswith("["))
    first = start.lstrip().splitlines()[0]
    if len(first) == MAX_LINE_LETTERS or "\0" in first:
        raise TableError(f"{path} is no table: its first line holds zero bytes, or has no end")
    words = first.split()
    if len(words) == 2 and is_number(words[1]) and not any(mark in first for mark in ",;"):
        return _pairs(path, text)
    separator = max(SEPARATORS, key=first.count)
    names = headerless(first.split(separator), path)
    form = f"CSV separated by {SEPARATORS[separator]}" + (", without a header" if names else "")
    rows = _rows(path, csv_rows(text, _check_columns, separator, names))
    columns = names or [name.strip() for name in next(iter(rows.values()), {})]
    if not rows:
        raise TableError(f"{path} has a header and no rows")
    return Sheet(tuple(columns), rows, form, decimal_comma=separator != ",")


def _check_columns(header: Sequence[str]) -> None:
    if not header:
        raise RowError("its first line is blank, where the columns' names belong")
    if len(header) < 2:
        raise RowError(f"one column, {header[0]!r:.60}, where audio and ratings need two")


def _pairs(path: Path, text: TextIO) -> Sheet:
    """Kaldi's lines of an id and a value."""
    scored = {}
    for number, line in enumerate((line for line in text if line.strip()), 1):
        words = line.split()
        if len(words) != 2:
            raise TableError(f"{path}, line {number}: not `id value`, as its first line is")
        scored[number] = {"id": words[0], "score": words[1]}
    return Sheet(("id", "score"), scored, "lines of id and value, without a header")


def headerless(cells: Sequence[str], path: Path) -> list[str]:
    """Names for the columns of a file whose first row is no header; [] where it is one."""
    cells = [cell.strip().strip('"') for cell in cells]
    audio = [n for n, cell in enumerate(cells) if cell.lower().endswith(SUFFIXES)]
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
    """Whether a text is a number in ASCII digits."""
    return NUMBER.fullmatch(text.strip()) is not None


def _json_sheet(path: Path, text: TextIO, *, listed: bool) -> Sheet:
    if not listed:
        rows = _rows(path, json_rows(text))
        form = "JSON lines"
    else:
        rows, form = (
            dict(enumerate(_objects(path, text.read(MAX_LIST_LETTERS + 1)), 1)),
            "a list of JSON objects",
        )
    if not rows:
        raise TableError(f"{path} has no rows")
    columns = dict.fromkeys(name for row in rows.values() for name in row)
    if not 0 < len(columns) <= MAX_COLUMNS:
        raise TableError(f"{path} has {len(columns)} columns, where a table has 1 to {MAX_COLUMNS}")
    return Sheet(tuple(columns), rows, form)


def _objects(path: Path, text: str) -> Iterator[Mapping[str, Any]]:
    """The objects of a JSON list, one after the other: the first that is none ends it."""
    if len(text) > MAX_LIST_LETTERS:
        raise TableError(
            f"{path} is a JSON list of more than {MAX_LIST_LETTERS} letters: save it as JSON lines"
        )
    decoder = json.JSONDecoder(object_pairs_hook=different_keys, parse_int=whole_number)
    at, number = text.index("[") + 1, 0
    at += len(text[at:]) - len(text[at:].lstrip())
    while at < len(text) and text[at] != "]":
        number += 1
        if text[at] != "{":
            raise TableError(f"{path} is not a list of JSON objects: its entry {number} is none")
        try:
            value, end = decoder.raw_decode(text, at)
        except (ValueError, RecursionError) as reason:
            raise TableError(f"{path} is not JSON: entry {number}: {reason}") from None
        yield value
        at = BETWEEN.match(text, end).end()  # type: ignore[union-attr]
        if text[end:at].count(",") + text.startswith("]", at) != 1:
            raise TableError(f"{path} is not JSON: no comma or ] after entry {number}")
    if text[at:].strip() != "]":
        raise TableError(f"{path} is not JSON: the list does not end, or something follows it")


def _rows(path: Path, rows: Iterable[Row]) -> dict[int, Mapping[str, Any]]:
    found, reasons = taken(rows)
    if reasons:
        raise TableError(refusal(str(path), reasons))
    return found
