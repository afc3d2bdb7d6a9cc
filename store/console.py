"""How the command line speaks: results on stdout, everything else on stderr, one exit code per outcome."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from typing import Protocol

from rich.console import Console
from rich.table import Table

OK = 0
FAILED = 1
"""Something nobody foresaw; the traceback is shown."""
REFUSED = 2
"""The request itself was wrong: an unknown name, a bad table, a missing file.  Nothing was changed."""
REJECTS = 3
"""Done, but some files could not be read; they are listed with their reasons."""
COVERAGE = 4
"""Stopped before training: too few of the table's clips could be read."""
DAMAGED = 5
"""Stored data does not match its checksums or structure, or golden scores do not come out."""
MISSING = 6
"""Something asked for is not stored yet."""

WORSE = 7
"""`compare`: B is worse than A beyond chance and margin."""

out = Console(highlight=False)
err = Console(stderr=True, highlight=False)


def say(message: str) -> None:
    """A line of progress or advice, on stderr so that piped results stay clean."""
    err.print(message, markup=False, soft_wrap=True)


def table(
    title: str, columns: Sequence[str], rows: Iterable[Sequence[object]], caveats: Iterable[str] = ()
) -> None:
    """Print a table; text columns left, numbers right with three decimals, None as a dash.

    The caveats ("random weights", "synthetic audio") stand in the title, so no table travels without them.
    """
    marks = ", ".join(caveats)
    # The title is a line of its own: a rich title folds to the width of its table.
    out.print(f"{title} ({marks})" if marks else title, markup=False, soft_wrap=True, style="bold")
    view = Table()
    rows = [list(row) for row in rows]
    for index, column in enumerate(columns):
        numeric = all(row[index] is None or isinstance(row[index], int | float) for row in rows)
        view.add_column(column, justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        view.add_row(*(_cell(value) for value in row))
    if out.is_terminal:
        out.print(view)
    else:  # a pipe has no width: never fold a figure
        Console(file=sys.stdout, highlight=False, width=200).print(view)


class Tabular(Protocol):
    """A titled table with notes, wherever it was made."""

    @property
    def title(self) -> str: ...
    @property
    def columns(self) -> Sequence[str]: ...
    @property
    def rows(self) -> Iterable[Sequence[object]]: ...
    @property
    def notes(self) -> Sequence[str]: ...


def show(tables: Iterable[Tabular], caveats: Iterable[str] = ()) -> None:
    """Print tables one after the other, each with the caveats in its title and its notes below it."""
    marks = tuple(caveats)
    for one in tables:
        table(one.title, one.columns, one.rows, marks)
        for note in one.notes:
            out.print(f"  {note}", markup=False, soft_wrap=True)
        out.print()


def _cell(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.3f}"
    return str(value)
