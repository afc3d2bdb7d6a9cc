"""A table of results: rows and columns that print as text, HTML and Markdown, or become a pandas frame."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.table import Table as RichTable
from rich.text import Text

from mmmos.store.escape import html_text, inert, markdown_text

if TYPE_CHECKING:
    import pandas as pd

Cell = str | int | float | None

MANY_COLUMNS = 12
"""Tables with more are set closer, to fit on an HTML page."""

FIGURE = re.compile(r"-?[\d.]+( \[.*\])?|\[.*\]")
"""A number as text, with or without its interval."""


@dataclass(frozen=True)
class Table:
    """A titled table; None is "not defined".  `notes` belong under it, one sentence each."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    notes: tuple[str, ...] = ()

    @property
    def numeric(self) -> tuple[bool, ...]:
        """Which columns hold numbers only, with or without intervals: they are set to the right."""
        return tuple(
            bool(self.rows)
            and all(not isinstance(cell := row[i], str) or FIGURE.fullmatch(cell) for row in self.rows)
            for i in range(len(self.columns))
        )

    def text(self) -> RichTable:
        """For a terminal, without title and notes; no cell is read as markup."""
        view = RichTable()
        for column, numeric in zip(self.columns, self.numeric, strict=True):
            view.add_column(Text(inert(column)), justify="right" if numeric else "left", overflow="fold")
        for row in self.rows:
            view.add_row(*(Text(inert(shown(cell))) for cell in row))
        return view

    def html(self) -> str:
        """The title as caption, then the table, then the notes as a list; everything is escaped."""
        kind = [' class="n"' if numeric else "" for numeric in self.numeric]
        head = "".join(
            f"<th scope=col{k}>{html_text(c)}</th>" for k, c in zip(kind, self.columns, strict=True)
        )
        body = ""
        for row in self.rows:
            cells = "".join(f"<td{k}>{_html_cell(cell)}</td>" for k, cell in zip(kind, row, strict=True))
            # An empty first cell: the line goes on with the row above.
            body += f"<tr{' class=sub' if row and row[0] == '' else ''}>{cells}</tr>"
        notes = "".join(f"<li>{html_text(note)}</li>" for note in self.notes)
        wide = ' class="wide"' if len(self.columns) > MANY_COLUMNS else ""
        title = html_text(self.title)
        return (
            # What scrolls can be reached by keys.
            f'<div class="table" tabindex="0" role="region" aria-label="{title}">'
            f"<table{wide}><caption>{title}</caption>"
            f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
            + (f'<ul class="notes">{notes}</ul>' if notes else "")
        )

    def __html__(self) -> str:
        """What a template with autoescape inserts."""
        return self.html()

    def markdown(self) -> str:
        """The rows as a Markdown table, without title and notes; every cell is escaped."""
        head, *body = ([markdown_text(shown(cell)) for cell in line] for line in (self.columns, *self.rows))
        return "\n".join(f"| {' | '.join(line)} |" for line in (head, ["---"] * len(head), *body))

    def frame(self) -> pd.DataFrame:
        """As a pandas frame, for notebooks."""
        import pandas

        return pandas.DataFrame(list(self.rows), columns=list(self.columns))


def shown(cell: Cell) -> str:
    """A cell as text: three decimals, a dash for what is not defined."""
    if cell is None:
        return "-"
    return f"{cell:.3f}" if isinstance(cell, float) else str(cell)


def _html_cell(cell: Cell) -> str:
    if cell is None:
        return '<span class="none" title="not defined">–</span>'
    # The interval is lighter than the figure it belongs to.
    return re.sub(r"^(-?[\d.]+) (\[.*\])$", r"\1 <i>\2</i>", html_text(shown(cell)))
