"""What all plots have in common: colours, panels, the legend, and how a figure becomes text.

Colours are Okabe and Ito's, which the common kinds of colour blindness keep apart; INK, GRID and SERIES
are replaced by the report, so that the same figure reads on dark and light.
"""

from __future__ import annotations

import io
from typing import Any

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

INK = "#1b1f24"
GRID = "#d5d9de"
SERIES = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7f7f7f")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
"""Colour never tells alone: every series has its own marker as well."""

STYLE: dict[Any, Any] = {
    "font.family": "sans-serif",
    "font.size": 9,
    "text.color": INK,
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


def panels_of(
    count: int, columns: int, size: tuple[float, float], sharey: bool = False
) -> tuple[Figure, list[Axes]]:
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
    """Colour and marker of the series with this number."""
    return SERIES[number % len(SERIES)], MARKERS[number % len(MARKERS)]


def legend(figure: Figure, panel: Axes, show: bool = True, enlarge: float = 1.0) -> None:
    """One legend below the figure, of what is labelled in `panel`; every label once, markers enlarged."""
    handles, labels = panel.get_legend_handles_labels()
    unique = dict(zip(labels, handles, strict=True))
    if show and unique:
        columns = min(4, len(unique))
        names, drawn = unique.keys(), unique.values()
        figure.legend(drawn, names, loc="outside lower center", ncols=columns, markerscale=enlarge)


@rc_context(STYLE)
def to_svg(figure: Figure) -> str:
    """The figure as an SVG text: letters stay letters, equal figures give equal texts."""
    text = io.StringIO()
    figure.savefig(text, format="svg", dpi=150, transparent=True, metadata={"Date": None, "Creator": None})
    return text.getvalue()
