"""Plots of scoring: every point at its place, whatever the axes are called and however many there are."""

from __future__ import annotations

import numpy as np
import pytest

from mmmos.heads.plotting import standalone_svg
from mmmos.heads.scoring.plots import MOST_MARKS, shifts, timeline

ENVELOPE = [(-0.5, 0.25), (-0.1, 0.1), (0.0, 0.0), (-1.0, 1.0)]


def test_a_timeline_has_each_score_at_its_second_above_the_waveform() -> None:
    points = {"CE": [(5.0, 1.0), (15.0, 10.0)], "PQ": [(5.0, 4.0)]}
    scores, wave = timeline(ENVELOPE, 40.0, points, 1, 10).axes
    drawn = {line.get_label(): [tuple(point) for point in line.get_xydata()] for line in scores.lines}
    assert drawn == points
    assert scores.get_xlim() == wave.get_xlim() == (0, 40)
    low, high = scores.get_ylim()
    assert low < 1 < 10 < high
    (outline,) = wave.collections
    corners = {tuple(corner) for corner in outline.get_paths()[0].vertices}
    # Four steps over 40 s: the waveform of each stands in the middle of its ten seconds.
    middles = (5.0, 15.0, 25.0, 35.0)
    for middle, (bottom, top) in zip(middles, ENVELOPE, strict=True):
        assert {(middle, bottom), (middle, top)} <= corners


def test_many_windows_are_a_line_without_marks() -> None:
    points = [(float(n), 5.0) for n in range(MOST_MARKS + 1)]
    marks = [timeline(ENVELOPE, 200.0, {"a": part}, 1, 10).axes[0].lines[0] for part in (points, points[1:])]
    assert [line.get_marker() for line in marks] == ["", "o"]


def test_shifts_stand_in_the_row_of_their_change() -> None:
    values = {"CE": [0.0, -0.5, 0.2], "PQ": [0.1, 0.1, 0.1]}
    (panel,) = shifts("title", ["a", "b", "c"], values).axes
    lines = {line.get_label(): line for line in panel.lines if line.get_label() in values}
    for name, line in lines.items():
        assert line.get_xdata().tolist() == values[name]
        np.testing.assert_array_equal(np.round(line.get_ydata()), [0, 1, 2])
    assert lines.keys() == values.keys()
    top, bottom = panel.get_ylim()[::-1]
    assert top < 0 < 2 < bottom
    assert [tick.get_text() for tick in panel.get_yticklabels()] == ["a", "b", "c"]
    assert panel.get_xlim() == (-0.55, 0.55)


@pytest.mark.parametrize("count", [1, 5, 12])
def test_any_number_of_axes_and_any_names(count: int) -> None:
    names = ["a<b", "$x_{", "$y$", "_hidden", *(f"axis {n}" for n in range(20))][:count]
    figures = (
        timeline(ENVELOPE, 40.0, {name: [(5.0, 2.0)] for name in names}, 1, 10),
        shifts("a & b", names, {name: [0.1] * count for name in names}),
    )
    for figure in figures:
        assert len(figure.legends[0].get_texts()) == count
        text = standalone_svg(figure, "a < b")
        assert text.startswith("<svg")
        assert 'aria-label="a &lt; b"' in text
        assert "a&lt;b" in text
        assert "a<b" not in text
        assert count < 5 or ("$x_{" in text and "$y$" in text and "_hidden" in text)


def test_a_file_of_its_own_follows_dark_and_light() -> None:
    text = standalone_svg(timeline([], 0.0, {}, 1, 10), "nothing")
    assert "prefers-color-scheme:dark" in text
    assert "#1b1f24" not in text.split("</style>", 1)[1]
