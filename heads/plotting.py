"""How all plots look, and how a figure becomes SVG; the only file that imports matplotlib.

The colours of the series are Okabe and Ito's, which the common kinds of colour blindness keep apart.  In SVG
for a page every colour becomes a CSS variable, so that the same figure reads on dark and light.
"""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote, unquote

from matplotlib import rc_context
from matplotlib.axes import Axes as Panel
from matplotlib.figure import Figure as Figure  # plots' return type, from here
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike

from mmmos.store.escape import html_text, inert

INK = "#1b1f24"
GRID = "#d5d9de"
SERIES = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7f7f7f")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
"""Colour never tells alone: every series has its own marker as well."""

LIGHT = {"ink": INK, "grid": GRID, **{f"s{i}": colour for i, colour in enumerate(SERIES)}}
DARK_SERIES = ("#4ea8e8", "#f08a4b", "#2fc398", "#e3a3c7", "#f2b632", "#8fd0f5", "#a6adb5")
DARK = {"ink": "#e6e9ed", "grid": "#343b45", **{f"s{i}": colour for i, colour in enumerate(DARK_SERIES)}}
"""CSS variable -> its colour on a light and on a dark page; figures are drawn in those of LIGHT."""

STYLE: dict[Any, Any] = {
    "font.family": "sans-serif",
    "font.size": 9,
    "text.color": INK,
    # Names come from data: a "$" in them is no formula.
    "text.parse_math": False,
    "axes.labelcolor": INK,
    "axes.edgecolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.grid": True,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 10,
    "legend.frameon": False,
    "figure.facecolor": "white",
    "axes.facecolor": "none",
    "svg.fonttype": "none",
    "svg.hashsalt": "mmmos",
}

styled = rc_context(STYLE)
"""Decorator of every function that draws."""

LONGEST_LABEL = 60

NAMED_POINT = "point:"
"""Begins the address of a point that is no address but its name."""

ENLARGED = 1.06
"""Figures are shown at one scale, so that their letters have one size beside the text."""


def panels_of(
    count: int,
    columns: int,
    size: tuple[float, float],
    sharey: bool = False,
) -> tuple[Figure, list[Panel]]:
    """A figure with `count` panels of `size` inches in rows of `columns`."""
    lines = -(-count // columns)
    # Room between a panel's label and the title of the one below.
    layout = ConstrainedLayoutEngine(h_pad=0.09 if lines > 1 else 0.04, hspace=0.05)
    figure = Figure(figsize=(size[0] * min(columns, count), size[1] * lines), layout=layout)
    grid = figure.subplots(lines, min(columns, count), squeeze=False, sharey=sharey).ravel()
    for spare in grid[count:]:
        figure.delaxes(spare)
    return figure, list(grid[:count])


def look(number: int) -> tuple[str, str]:
    """Colour and marker of the series with this number; they repeat when there are more series."""
    return SERIES[number % len(SERIES)], MARKERS[number % len(MARKERS)]


def whole_ticks(panel: Panel, most: int = 5) -> None:
    """Ticks of the x axis at whole numbers only, `most` of them."""
    panel.xaxis.set_major_locator(MaxNLocator(most, integer=True))


def named(name: str) -> str:
    """A name from data as a label: inert, its middle left out where it is longer than a plot has room for."""
    name = inert(name)
    if len(name) > LONGEST_LABEL:
        name = f"{name[: LONGEST_LABEL // 2]}…{name[-LONGEST_LABEL // 2 :]}"
    # matplotlib would leave a name that begins with "_" out of legends.
    return f"\u200b{name}" if name.startswith("_") else name


def legend(figure: Figure, show: bool = True, enlarge: float = 1.0) -> None:
    """One legend below the figure, of what is labelled in any panel; every label once, markers enlarged."""
    found = [panel.get_legend_handles_labels() for panel in figure.axes]
    unique = {
        label: handle for handles, labels in found for label, handle in zip(labels, handles, strict=True)
    }
    if show and unique:
        columns = min(4, len(unique))
        names, drawn = unique.keys(), unique.values()
        figure.legend(drawn, names, loc="outside lower center", ncols=columns, markerscale=enlarge)


def name_points(panel: Panel, x: ArrayLike, y: ArrayLike, names: Sequence[str]) -> None:
    """Let each point tell its name under the mouse: faint marks, to which `to_svg` gives titles."""
    addresses = [NAMED_POINT + quote(inert(name), safe="") for name in names]
    # Not quite invisible: what has no colour at all does not feel the mouse.
    panel.scatter(x, y, s=20, color=INK, alpha=0.01, linewidths=0, urls=addresses)


@styled
def to_svg(figure: Figure) -> str:
    """The figure as an SVG text: letters stay letters, equal figures give equal texts."""
    text = io.StringIO()
    figure.savefig(text, format="svg", dpi=150, transparent=True, metadata={"Date": None, "Creator": None})
    # matplotlib writes a link around a point, and knows no title.
    titled = re.sub(rf'<a xlink:href="{NAMED_POINT}([^"]*)"[^>]*>', _titled, text.getvalue())
    return titled.replace("</a>", "</g>")


def _titled(link: re.Match[str]) -> str:
    return f"<g><title>{html_text(unquote(link[1]))}</title>"


def inline_svg(figure: Figure, label: str, prefix: str) -> str:
    """The figure as an <svg> element as wide as what it stands in, for a page that defines `css_variables`.

    Parameters
    ----------
    figure
        What to show.
    label
        What a screen reader says of it.
    prefix
        Begins every id in it; ids must differ within a page.
    """
    text = to_svg(figure)
    text = text[text.index("<svg") :]
    text = re.sub(r'\bid="([^"]+)"', rf'id="{prefix}-\1"', text)
    text = re.sub(r'(xlink:href="|url\()#', rf"\1#{prefix}-", text)
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r'width="[\d.]+pt" height="[\d.]+pt"', 'width="100%"', text, count=1)
    for name, colour in LIGHT.items():
        text = text.replace(colour, f"var(--{name})")
    return text.replace("<svg", f'<svg role="img" aria-label="{html_text(label)}"', 1)


def standalone_svg(figure: Figure, label: str) -> str:
    """The figure as an SVG file of its own, which follows the reader's light or dark setting."""
    dark = f"@media(prefers-color-scheme:dark){{.standalone{{{css_variables(DARK)}}}}}"
    style = f"<style>.standalone{{{css_variables(LIGHT)}max-width:{shown_width_in(figure)}in}}{dark}</style>"
    head, rest = inline_svg(figure, label, "figure").split(">", 1)
    return f'{head} class="standalone">{style}{rest}'


def css_variables(colours: dict[str, str]) -> str:
    """The declarations of LIGHT or DARK, to stand in a CSS rule."""
    return "".join(f"--{name}:{colour};" for name, colour in colours.items())


def shown_width_in(figure: Figure) -> str:
    """How wide a page shows a figure at most, in inches."""
    return f"{figure.get_figwidth() * ENLARGED:.2f}"
