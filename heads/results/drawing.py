"""Two small drawings as SVG text, for a card and for a page: no plotting library, no scripts.

Colours are Okabe and Ito's, told apart by colour-blind eyes; every series also has a shape of its own.  Text
and rules follow the reader's light or dark setting.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from html import escape

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00")
STYLE = (
    "<style>text{font:12px sans-serif;fill:#222}.rule{stroke:#8886;stroke-width:1}.title{font-size:13px}"
    "@media(prefers-color-scheme:dark){text{fill:#ddd}}</style>"
)


def _circle(x: float, y: float) -> str:
    return f"M{x - 4:.1f} {y:.1f}a4 4 0 1 0 8 0a4 4 0 1 0 -8 0"


def _square(x: float, y: float) -> str:
    return f"M{x - 3.5:.1f} {y - 3.5:.1f}h7v7h-7z"


def _diamond(x: float, y: float) -> str:
    return f"M{x:.1f} {y - 5:.1f}l5 5l-5 5l-5 -5z"


def _triangle(x: float, y: float) -> str:
    return f"M{x:.1f} {y - 4.5:.1f}l4.5 8h-9z"


SHAPES: tuple[Callable[[float, float], str], ...] = (_circle, _square, _diamond, _triangle)
DASHES = ("", "7 3", "2 3", "9 3 2 3")


def dot_plot(title: str, rows: Sequence[str], series: Mapping[str, Sequence[float]]) -> str:
    """A row a name, a mark a series, at its value; zero is marked."""
    left, top, width, step = 210, 60, 420, 24
    reach = max([abs(value) for values in series.values() for value in values] + [0.1]) * 1.1
    height = top + step * len(rows) + 30
    parts = [_text(10, 20, title, "title"), _legend(series, left, 42)]
    middle = left + width / 2
    for k in range(-2, 3):
        x = middle + k * width / 4
        parts.append(_rule(x, top - 8, x, height - 28, 2 if k == 0 else 1))
        parts.append(_text(x, height - 10, f"{k * reach / 2:+.2f}", anchor="middle"))
    for number, name in enumerate(rows):
        y = top + step * (number + 0.5)
        parts.append(_text(left - 10, y + 4, name, anchor="end"))
        for index, values in enumerate(series.values()):
            x = middle + values[number] / reach * width / 2
            # A little apart, so that equal values stay visible.
            mark = SHAPES[index % len(SHAPES)](x, y + 3 * (index - (len(series) - 1) / 2))
            parts.append(f'<path d="{mark}" fill="{COLOURS[index % len(COLOURS)]}" fill-opacity="0.85"/>')
    return _svg(left + width + 30, height, title, parts)


def timeline_plot(
    envelope: Sequence[tuple[float, float]],
    duration_s: float,
    series: Mapping[str, Sequence[tuple[float, float]]],
    low: float,
    high: float,
) -> str:
    """Scores over time above the waveform they belong to.

    envelope: (lowest, highest) sample in equal steps of time; series: axis -> (seconds, score) in order.
    """
    left, top, width, plot, wave = 46, 40, 640, 190, 70
    title = f"Scores ({low:g} to {high:g}) of 10 s windows, over the waveform"
    parts = [_text(10, 16, title, "title"), _legend(series, left, 32)]
    span = max(duration_s, 1e-6)
    for k in range(5):
        y = top + plot - k * plot / 4
        parts.append(_rule(left, y, left + width, y))
        parts.append(_text(left - 6, y + 4, f"{low + k * (high - low) / 4:.3g}", anchor="end"))
    for index, points in enumerate(series.values()):
        colour, dash = COLOURS[index % len(COLOURS)], DASHES[index % len(DASHES)]
        places = [
            (left + s / span * width, top + plot - (value - low) / (high - low) * plot) for s, value in points
        ]
        if len(places) > 1:
            line = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
            parts.append(
                f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2" '
                f'stroke-dasharray="{dash}"/>'
            )
        if len(places) <= 120:
            marks = "".join(SHAPES[index % len(SHAPES)](x, y) for x, y in places)
            parts.append(f'<path d="{marks}" fill="{colour}"/>')
    middle, y_axis = top + plot + 20 + wave / 2, top + plot + 20 + wave
    if envelope:
        step = width / len(envelope)
        peak = max(max(-a, b) for a, b in envelope) or 1.0
        bars = "".join(
            f"M{left + (i + 0.5) * step:.1f} {middle - b / peak * wave / 2:.1f}"
            f"L{left + (i + 0.5) * step:.1f} {middle - a / peak * wave / 2 + 0.5:.1f}"
            for i, (a, b) in enumerate(envelope)
        )
        parts.append(f'<path d="{bars}" stroke="#888" stroke-width="{max(step * 0.8, 0.5):.2f}"/>')
    for k in range(5):
        parts.append(_text(left + k * width / 4, y_axis + 16, f"{k * duration_s / 4:.1f} s", anchor="middle"))
    return _svg(left + width + 30, y_axis + 26, title, parts)


def _legend(series: Mapping[str, object], x: float, y: float) -> str:
    parts = []
    for index, name in enumerate(series):
        mark = SHAPES[index % len(SHAPES)](x + 74 * index, y - 4)
        parts.append(f'<path d="{mark}" fill="{COLOURS[index % len(COLOURS)]}"/>')
        parts.append(_text(x + 74 * index + 10, y, name))
    return "".join(parts)


def _text(x: float, y: float, words: str, kind: str = "", anchor: str = "start") -> str:
    named = f' class="{kind}"' if kind else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{named}>{escape(words)}</text>'


def _rule(x1: float, y1: float, x2: float, y2: float, width: int = 1) -> str:
    return (
        f'<line class="rule" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" '
        f'style="stroke-width:{width}"/>'
    )


def _svg(width: float, height: float, title: str, parts: Sequence[str]) -> str:
    body = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" '
        f'width="{width:.0f}" style="max-width:100%" role="img" aria-label="{escape(title)}">\n'
        f"{STYLE}\n{body}\n</svg>\n"
    )
