"""How figures look and become SVG."""

from __future__ import annotations

import re

from mmmos.heads.plotting import (
    DARK,
    GRID,
    INK,
    LIGHT,
    MARKERS,
    SERIES,
    css_variables,
    inline_svg,
    legend,
    look,
    named,
    panels_of,
    styled,
)


@styled
def drawing(name: str = "one"):
    figure, (left, right) = panels_of(2, columns=2, size=(3, 2))
    for panel in (left, right):
        panel.plot([0, 1], [0, 1], color=SERIES[0], label=named(name))
        panel.set(title=name)
    legend(figure)
    return figure


def test_every_series_differs_by_more_than_its_colour_and_they_repeat() -> None:
    assert len(set(SERIES)) == len(SERIES) == len(set(MARKERS)) == len(MARKERS)
    assert look(2) == look(2 + len(SERIES)) == (SERIES[2], MARKERS[2])
    assert LIGHT.keys() == DARK.keys()


def test_the_legend_names_each_label_once_also_one_with_an_underscore() -> None:
    for name in ("one", "_one"):
        assert [text.get_text().strip("\u200b") for text in drawing(name).legends[0].get_texts()] == [name]


def test_colours_become_variables_of_the_page_and_ids_its_own() -> None:
    text = inline_svg(drawing(), 'a "figure"', "f7")
    assert text.startswith('<svg role="img" aria-label="a &quot;figure&quot;"')
    assert not any(colour in text for colour in (INK, GRID, *SERIES))
    used = set(re.findall(r"var\(--(\w+)\)", text))
    assert {"ink", "grid", "s0"} <= used <= LIGHT.keys()
    assert all(f"--{name}:" in css_variables(DARK) for name in used)
    ids = re.findall(r'\bid="([^"]+)"', text)
    assert ids
    assert all(name.startswith("f7-") for name in ids)
    assert set(re.findall(r'(?:xlink:href="|url\()#([^")]+)', text)) <= set(ids)


def test_names_from_data_are_no_formulas_and_no_markup() -> None:
    text = inline_svg(drawing("$x^$ <b>"), "", "f")
    assert "$x^$ &lt;b&gt;" in text
    assert "<b>" not in text
