"""Rows of CSV, JSON-lines and Parquet files, with a row number and a reason for everything refused.

The one reader of tables that people write: clip tables, lists of files to score, label files, and answers
that are to be resumed.  CSV is read strictly (RFC 4180), both are UTF-8 with or without a byte order mark;
Parquet is read too.  Rows are given out as they are read, all of them or one part (see `store.parts`).
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO, TextIO, TypeVar

from mmmos.store import files
from mmmos.store.escape import from_spreadsheet
from mmmos.store.parts import WHOLE, Part
from mmmos.store.sealed import different_keys, whole_number

JSON_SUFFIXES = (".jsonl", ".json")
PARQUET_SUFFIX = ".parquet"
PARQUET_BATCH = 1 << 16
"""Rows of a Parquet file that are in memory at a time."""
MAX_COLUMNS = 10_000
MAX_LINE_LETTERS = 1 << 21
MAX_BLANK_LINES = 1 << 20
"""In a row: a file of line breaks alone is not read to its end."""
MAX_REASONS = 50
ENOUGH_REASONS = 1000
"""After so many refused rows the rest of a file is not looked at."""
NUMBER = re.compile(
    r"[+-]?(([0-9]+(\.[0-9]*)?|\.[0-9]+)(e[+-]?[0-9]+)?|nan|inf(inity)?)", re.ASCII | re.IGNORECASE
)

T = TypeVar("T")
CheckColumns = Callable[[Sequence[str]], None]
"""Raises RowError for columns that a table may not have: a CSV's header, or the keys of one JSON line."""


class RowError(ValueError):
    """A reason why a row, or a whole file, cannot be used."""


class TableError(ValueError):
    """A table that cannot be used; the message has one line per reason, with row numbers."""


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


def read_rows(
    path: Path,
    max_bytes: int,
    check: CheckColumns | None = None,
    part: Part = WHOLE,
    suffix: str = "",
) -> Iterator[Row]:
    """Rows of a file: `.jsonl` and `.json` as JSON lines, `.parquet` as Parquet, anything else as CSV.

    Parameters
    ----------
    max_bytes
        Of the file, for a whole table; a part's may be so many times larger as there are parts.
    suffix
        Read it as if its name ended so.

    Raises
    ------
    RowError
        If the file cannot be read or is larger than that; while the rows are read, if it is not UTF-8.
    """
    suffix = suffix or path.suffix.lower()
    try:
        file = _open(path, max_bytes * part.of)
    except (OSError, ValueError) as reason:
        raise RowError(f"{path} cannot be read: {reason}") from None

    def rows() -> Iterator[Row]:
        try:
            with file:
                if suffix == PARQUET_SUFFIX:
                    yield from parquet_rows(file, check, part)
                    return
                text = io.TextIOWrapper(file, encoding="utf-8-sig", newline="")
                yield from (json_rows if suffix in JSON_SUFFIXES else csv_rows)(text, check, part=part)
        except (OSError, UnicodeDecodeError) as reason:
            raise RowError(f"{path} cannot be read: {reason}") from None

    # The first row at once, so that a file that is no text is refused here.
    given = rows()
    return chain([first], given) if (first := next(given, None)) else iter(())


def open_text(path: Path, max_bytes: int) -> TextIO:
    """A regular file as UTF-8 text with or without a byte order mark, lines ended as they are.

    OSError or ValueError where it cannot be read, or is larger.
    """
    return io.TextIOWrapper(_open(path, max_bytes), encoding="utf-8-sig", newline="")


def _open(path: Path, max_bytes: int) -> BinaryIO:
    """A regular file that is not larger; OSError or ValueError for others."""
    file = open(files.open_regular(path), "rb")  # noqa: SIM115, PTH123
    if (size := files.size_of(file.fileno())) > max_bytes:
        file.close()
        raise ValueError(
            f"it has {size} bytes; at most {max_bytes} are read at a time: "
            "`extract --part I/N` and `predict --part I/N` take every N-th row"
        )
    return file


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
        if len(reasons) >= ENOUGH_REASONS:
            reasons.append(f"row {row.number}: not looked at any more, nor those after it")
            break
        try:
            if row.problem:
                raise RowError(row.problem)
            made[row.number] = make(row.values)
        except ValueError as reason:
            reasons.append(f"row {row.number}: {reason}")
    return made, reasons


def taken(rows: Iterable[Row]) -> tuple[dict[int, Mapping[str, Any]], list[str]]:
    """`convert` without any change: row number -> values, and the reasons against the other rows."""
    return convert(rows, lambda values: values)


def refusal(what: str, reasons: Sequence[str]) -> str:
    """The message that refuses `what`: one line per reason, the first 50 of them."""
    shown = [f"{what} is refused, {len(reasons)} reason(s):", *reasons[:MAX_REASONS]]
    if len(reasons) > MAX_REASONS:
        shown.append(f"... and {len(reasons) - MAX_REASONS} more")
    return "\n  ".join(shown)


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


def parse_number(text: str) -> float:
    """A number in ASCII digits, also "nan" and "inf"; ValueError for other digits and for "1_0"."""
    if not NUMBER.fullmatch(text.strip()):
        raise ValueError(f"{text!r:.60} is not a number")
    return float(text)
