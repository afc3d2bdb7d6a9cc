"""Rows of CSV, of JSON lines and of Parquet, one after the other, from an open file.

CSV is read strictly (RFC 4180); CSV and JSON lines are UTF-8 with or without a byte order mark.
"""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO, TextIO

from mmmos.store.escape import from_spreadsheet
from mmmos.store.parts import WHOLE, Part
from mmmos.store.sealed import different_keys, whole_number

PARQUET_BATCH = 1 << 16
"""Rows of a Parquet file that are in memory at a time."""
MAX_COLUMNS = 10_000
MAX_LINE_LETTERS = 1 << 21
MAX_BLANK_LINES = 1 << 20
"""In a row: a file of line breaks alone is not read to its end."""

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


def csv_rows(
    text: str | TextIO,
    check: CheckColumns | None = None,
    separator: str = ",",
    names: Sequence[str] = (),
    part: Part = WHOLE,
) -> Iterator[Row]:
    """Rows below the header of a CSV text; blank ones are skipped.

    `names` are the columns of a text without a header.

    The apostrophe that our own files put before text that a spreadsheet would run is taken away.  Every row
    must have as many cells as the header.  A header that is refused, or text that is not CSV,
    is the problem of the last row that is given.
    """
    lines = _Lines(text)
    reader = csv.reader(lines, strict=True, delimiter=separator)
    header = list(names)
    number, ours = 0, part.turns()
    while True:
        number += 1
        try:
            cells = next(reader, None)
            if cells is None:
                return
            if number == 1 and not names:
                header = [from_spreadsheet(cell.strip()) for cell in cells]
                check_header(header, check, separator)
                continue
        except (csv.Error, RowError) as reason:
            yield Row(number, {}, lines.end, str(reason))
            return
        if not any(map(str.strip, cells)) or not next(ours):
            continue
        if len(cells) != len(header):
            yield Row(number, {}, lines.end, f"{len(cells)} cells under {len(header)} columns")
        else:
            yield Row(number, dict(zip(header, map(from_spreadsheet, cells), strict=True)), lines.end)


def check_header(header: Sequence[str], check: CheckColumns | None = None, separator: str = ",") -> None:
    """RowError for a CSV header that no table may have, or that `check` refuses."""
    if separator == "," and len(header) == 1 and (";" in header[0] or "\t" in header[0]):
        raise RowError("the columns are not separated by commas")
    if len(header) > MAX_COLUMNS:
        raise RowError(f"{len(header)} columns, where a table has {MAX_COLUMNS} at most")
    twice = sorted(name for name, count in Counter(header).items() if name and count > 1)
    if twice:
        raise RowError("; ".join(f"column {name!r} occurs twice" for name in twice))
    if check:
        check(header)


def json_rows(text: str | TextIO, check: CheckColumns | None = None, part: Part = WHOLE) -> Iterator[Row]:
    """One JSON object per line; blank lines are skipped."""
    lines = _Lines(text)
    number, ours = 0, part.turns()
    while True:
        number += 1
        try:
            line = next(lines, None)
        except RowError as reason:
            yield Row(number, {}, lines.end, str(reason))
            return
        if line is None:
            return
        if not line.strip() or not next(ours):
            continue
        try:
            values = json.loads(line, object_pairs_hook=different_keys, parse_int=whole_number)
            if not isinstance(values, dict):
                raise RowError("not a JSON object")
            if check:
                check(list(values))
        except RowError as reason:
            yield Row(number, {}, lines.end, str(reason))
        except (json.JSONDecodeError, RecursionError) as reason:
            yield Row(number, {}, lines.end, f"not JSON: {reason}")
        except ValueError as reason:
            yield Row(number, {}, lines.end, str(reason))
        else:
            yield Row(number, values, lines.end)


def parquet_rows(file: BinaryIO, check: CheckColumns | None = None, part: Part = WHOLE) -> Iterator[Row]:
    """The rows of a Parquet file, numbered from 1; a file that is none is one row with its problem."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    number = 0
    try:
        parquet = pq.ParquetFile(file, pre_buffer=False)
        check_header(parquet.schema_arrow.names, check)
        for batch in parquet.iter_batches(PARQUET_BATCH):
            numbers = [number + at for at in range(1, len(batch) + 1) if part.has(number + at - 1)]
            ours = batch.take(pa.array([one - number - 1 for one in numbers], pa.int64()))
            number += len(batch)
            for row, values in zip(numbers, ours.to_pylist(), strict=True):
                yield Row(row, values, 0)
    except (pa.ArrowException, RowError) as reason:
        yield Row(number + 1, {}, 0, str(reason).strip())


class _Lines:
    """Lines of a text, ended by \\n, \\r or \\r\\n and nothing else; `end` counts the bytes given out.

    RowError for a line that is longer than any table has, and for more blank ones than any has.
    """

    def __init__(self, text: str | TextIO) -> None:
        self._text = io.StringIO(text, newline="") if isinstance(text, str) else text
        self.end = self._blank = 0

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = self._text.readline(MAX_LINE_LETTERS)
        if not line:
            raise StopIteration
        if len(line) == MAX_LINE_LETTERS:
            raise RowError(f"a line of more than {MAX_LINE_LETTERS} letters")
        self._blank = 0 if line.strip() else self._blank + 1
        if self._blank > MAX_BLANK_LINES:
            raise RowError(f"more than {MAX_BLANK_LINES} blank lines in a row")
        self.end += len(line.encode())
        return line
