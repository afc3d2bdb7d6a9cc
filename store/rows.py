"""Rows of CSV, JSON-lines and Parquet files, with a row number and a reason for everything refused.

The one reader of tables that people write: clip tables, lists of files to score, label files, and answers
that are to be resumed.  Rows are given out as they are read, all of them or one part (see `store.parts`).
"""

from __future__ import annotations

import io
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO, TextIO, TypeVar

from mmmos.store import files
from mmmos.store.parts import WHOLE, Part
from mmmos.store.row_formats import CheckColumns, Row, RowError, csv_rows, json_rows, parquet_rows

JSON_SUFFIXES = (".jsonl", ".json")
PARQUET_SUFFIX = ".parquet"
MAX_REASONS = 50
ENOUGH_REASONS = 1000
"""After so many refused rows the rest of a file is not looked at."""
NUMBER = re.compile(
    r"[+-]?(([0-9]+(\.[0-9]*)?|\.[0-9]+)(e[+-]?[0-9]+)?|nan|inf(inity)?)", re.ASCII | re.IGNORECASE
)

T = TypeVar("T")


class TableError(ValueError):
    """A table that cannot be used; the message has one line per reason, with row numbers."""


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
    """A regular file that is not larger, or a link to one; OSError or ValueError for others."""
    real = Path(os.path.realpath(path))
    try:
        file = open(files.open_regular(real), "rb")  # noqa: SIM115, PTH123
    except FileNotFoundError:
        raise FileNotFoundError(f"there is no file {real}") from None
    if (size := files.size_of(file.fileno())) > max_bytes:
        file.close()
        raise ValueError(
            f"it has {size} bytes; at most {max_bytes} are read at a time: "
            "`extract --part I/N` and `predict --part I/N` take every N-th row"
        )
    return file


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


def parse_number(text: str) -> float:
    """A number in ASCII digits, also "nan" and "inf"; ValueError for other digits and for "1_0"."""
    if not NUMBER.fullmatch(text.strip()):
        raise ValueError(f"{text!r:.60} is not a number")
    return float(text)
