"""What the report's page is made of, and the page itself from its template (page.html.j2)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mmmos.heads.documents import render_html
from mmmos.heads.plotting import DARK, LIGHT, Figure, css_variables, inline_svg, shown_width_in
from mmmos.store.table import Table

TEMPLATE = Path(__file__).with_name("page.html.j2")


@dataclass(frozen=True)
class Plot:
    """A figure and what to see in it."""

    figure: Figure
    caption: str

    def svg(self, prefix: str) -> str:
        """For an HTML page; `prefix` begins every id in it."""
        return inline_svg(self.figure, self.caption, prefix)

    @property
    def width_in(self) -> str:
        return shown_width_in(self.figure)


@dataclass(frozen=True)
class Tile:
    """One number to read first."""

    label: str
    value: str
    detail: str


@dataclass(frozen=True)
class Section:
    """A titled part of the page: an opening sentence, then tables, plots and paragraphs in order."""

    title: str
    opening: str
    blocks: tuple[Table | Plot | str, ...]


def render(
    title: str,
    subtitle: str,
    caveats: Sequence[str],
    tiles: Sequence[Tile],
    sections: Mapping[str, Section],
) -> str:
    """The page as HTML text; `sections` by the ids that its links lead to."""
    return render_html(
        TEMPLATE,
        title=title,
        subtitle=subtitle,
        caveats=caveats,
        tiles=tiles,
        sections=sections,
        light=css_variables(LIGHT),
        dark=css_variables(DARK),
    )
