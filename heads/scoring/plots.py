"""The plots of scoring: how changes of the audio move the scores, and the scores of a file over time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from mmmos.heads.plotting import INK, Figure, legend, look, named, panels_of, styled

DASHES = ("-", (0, (4, 2)), (0, (1, 1.5)), (0, (5, 1.5, 1, 1.5)))
MOST_MARKS = 120
"""Windows beyond which a line is drawn without a mark at each."""

WAVE = "#888888"


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


@styled
def timeline(
    envelope: Sequence[tuple[float, float]],
    duration_s: float,
    series: Mapping[str, Sequence[tuple[float, float]]],
    low: float,
    high: float,
) -> Figure:
    """Scores over time above the waveform that they belong to.

    Parameters
    ----------
    envelope
        (lowest, highest) sample in equal steps of time over the whole file.
    duration_s
        Length of the file.
    series
        Axis -> (seconds, score) of its windows, in order of time.
    low, high
        Ends of the scale of the scores.
    """
    figure, (scores, wave) = panels_of(2, columns=1, size=(7.2, 1.8), heights=(2.5, 1))
    for number, (name, points) in enumerate(series.items()):
        colour, marker = look(number)
        seconds, values = [s for s, _ in points], [value for _, value in points]
        scores.plot(
            seconds, values, color=colour, linestyle=DASHES[number % len(DASHES)], linewidth=1.6,
            marker=marker if len(points) <= MOST_MARKS else "", markersize=5, label=named(name),
        )  # fmt: skip
    margin = 0.03 * (high - low)
    scores.set(ylim=(low - margin, high + margin), title="Scores of 10 s windows, over the waveform")
    scores.set(ylabel=f"points, {low:g}-{high:g}", yticks=np.linspace(low, high, 5), xticklabels=[])
    edges = np.linspace(0, duration_s, len(envelope) + 1)
    bottom, top = ([pair[end] for pair in envelope] for end in (0, 1))
    wave.fill_between((edges[:-1] + edges[1:]) / 2, bottom, top, color=WAVE, linewidth=0.5)
    wave.set(xlabel="seconds", yticks=[0])
    for panel in (scores, wave):
        panel.set_xlim(0, max(duration_s, 1e-6))
    legend(figure)
    return figure
