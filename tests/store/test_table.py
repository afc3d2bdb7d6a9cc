"""One table, shown as text, HTML, Markdown or a frame; what stands in a cell stays text everywhere."""

from __future__ import annotations

import pandas as pd
import pytest
from rich.console import Console

from mmmos.store.table import Table

TABLE = Table(
    "Runs", ("run", "SRCC"), (("a|b <i> [red] $x$", "0.873 [0.812, 0.921]"), ("c", None)), ("a & b",)
)


def printed(table: Table) -> str:
    console = Console(width=80, record=True, file=open("/dev/null", "w"))  # noqa: SIM115, PTH123
    console.print(table.text())
    return console.export_text()


def test_text_shows_every_cell_as_it_is_and_a_dash_for_what_is_not_defined() -> None:
    text = printed(TABLE)
    assert "a|b <i> [red] $x$" in text
    assert "0.873 [0.812, 0.921]" in text
    assert text.splitlines()[-2].split("│")[2].strip() == "-"


def test_html_escapes_cells_title_and_notes_and_lightens_the_interval() -> None:
    html = Table("<b>", ("<c>",), (("<script>",), ("0.5 [0.4, 0.6]",)), ("<n>",)).html()
    assert "<script>" not in html
    assert {"<b>", "<c>", "<n>"} & set(html.split()) == set()
    assert "&lt;script&gt;" in html
    assert "0.5 <i>[0.4, 0.6]</i>" in html


def test_a_column_of_numbers_with_or_without_intervals_is_set_to_the_right() -> None:
    assert TABLE.numeric == (False, True)
    assert Table("", ("n",), ()).numeric == (False,)


def test_markdown_escapes_what_would_end_a_cell_or_become_html() -> None:
    lines = TABLE.markdown().splitlines()
    assert lines[1] == "| --- | --- |"
    assert lines[2].startswith(r"| a\|b &lt;i&gt; \[red\] \$x\$ |")
    assert "\n" not in Table("", ("n",), (("two\nlines",),)).markdown().splitlines()[2]


def test_a_frame_has_the_same_rows() -> None:
    assert isinstance(TABLE.frame(), pd.DataFrame)
    assert TABLE.frame().loc[0, "SRCC"] == "0.873 [0.812, 0.921]"


@pytest.mark.parametrize(("cell", "text"), [(None, "-"), (0.12345, "0.123"), (3, "3"), ("x", "x")])
def test_figures_have_three_decimals(cell: object, text: str) -> None:
    assert text in printed(Table("", ("n",), ((cell,),)))  # type: ignore[arg-type]
