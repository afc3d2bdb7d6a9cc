"""The plot of scoring: every point at its place, whatever the axes are called and however many there are."""

from __future__ import annotations

import numpy as np
import pytest

from mmmos.heads.plotting import standalone_svg
from mmmos.heads.scoring.plots import shifts


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
    figure = shifts("a & b", names, {name: [0.1] * count for name in names})
    assert len(figure.legends[0].get_texts()) == count
    text = standalone_svg(figure, "a < b")
    assert text.startswith("<svg")
    assert 'aria-label="a &lt; b"' in text
    assert "a&lt;b" in text
    assert "a<b" not in text
    assert count < 5 or ("$x_{" in text and "$y$" in text and "_hidden" in text)


def test_a_file_of_its_own_follows_dark_and_light() -> None:
    text = standalone_svg(shifts("", [], {}), "nothing")
    assert "prefers-color-scheme:dark" in text
    assert "#1b1f24" not in text.split("</style>", 1)[1]
