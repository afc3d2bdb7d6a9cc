"""The plot of scoring: how changes of the audio move the scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from mmmos.heads.plotting import INK, Figure, legend, look, named, panels_of, styled


@styled
def shifts(title: str, rows: Sequence[str], series: Mapping[str, Sequence[float]]) -> Figure:
    """A row per name, a mark per series at its value; zero is marked.

    Parameters
    ----------
    title
        Stands above the plot.
    rows
        [R] names, drawn from top to bottom.
    series
        Name of a series -> its [R] values.
    """
    figure, (panel,) = panels_of(1, columns=1, size=(6.8, 1.1 + 0.25 * len(rows)))
    panel.axvline(0, color=INK, linewidth=1.2)
    for number, (name, values) in enumerate(series.items()):
        colour, marker = look(number)
        # A little apart, so that equal values stay visible.
        places = np.arange(len(rows)) + 0.12 * (number - (len(series) - 1) / 2)
        panel.plot(
            values, places, marker=marker, color=colour, markersize=5, linestyle="none", alpha=0.85,
            label=named(name),
        )  # fmt: skip
    reach = 1.1 * max([abs(value) for values in series.values() for value in values] + [0.1])
    panel.set(yticks=range(len(rows)), yticklabels=[named(row) for row in rows], ylim=(len(rows) - 0.4, -0.6))
    panel.set(xlim=(-reach, reach), title=title)
    panel.xaxis.set_major_formatter("{x:+.2f}")
    legend(figure)
    return figure
