"""One self-contained HTML page: tables, figures and prose in sections, for screen (light, dark) and print.

Everything that comes from data is escaped; the page asks the network for nothing and runs no script.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from mmmos.heads.results.palette import GRID, INK, SERIES
from mmmos.heads.results.plots import Figure, to_svg
from mmmos.store.table import Table

DARK_SERIES = ("#4ea8e8", "#f08a4b", "#2fc398", "#e3a3c7", "#f2b632", "#8fd0f5", "#a6adb5")
"""SERIES again, light enough for a dark page."""

ENLARGED = 1.06
"""Figures are shown at one scale, so that their letters have one size beside the text."""


@dataclass(frozen=True)
class Plot:
    """A figure and what to see in it."""

    figure: Figure
    caption: str


@dataclass(frozen=True)
class Tile:
    """One number to read first."""

    label: str
    value: str
    detail: str


@dataclass(frozen=True)
class Section:
    """A titled part of the page: an opening sentence, then tables and plots in order."""

    id: str
    title: str
    opening: str
    blocks: tuple[Table | Plot | str, ...]


def render(
    title: str, subtitle: str, caveats: Sequence[str], tiles: Sequence[Tile], sections: Sequence[Section]
) -> str:
    """The whole page as HTML text."""
    links = "".join(f'<a href="#{s.id}">{escape(s.title)}</a>' for s in sections)
    warning = ""
    if caveats:
        items = "; ".join(escape(caveat) for caveat in caveats)
        warning = f'<p class="caveat" role="note"><strong>Read with care:</strong> {items}.</p>'
    cards = "".join(_tile(tile) for tile in tiles)
    body = "".join(_section(number, section) for number, section in enumerate(sections))
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta name="color-scheme" content="light dark"><title>{escape(title)}</title>'
        f"<style>{_style()}</style></head><body><header><h1>{escape(title)}</h1>"
        f'<p class="subtitle">{escape(subtitle)}</p>{warning}</header><nav>{links}</nav>'
        f'<main><div class="tiles">{cards}</div>{body}</main></body></html>\n'
    )


def plot_html(plot: Plot, prefix: str) -> str:
    """A figure inline as SVG; its colours become the page's, its ids its own."""
    text = to_svg(plot.figure)
    text = text[text.index("<svg") :]
    text = re.sub(r'\bid="([^"]+)"', rf'id="{prefix}-\1"', text)
    text = re.sub(r'(xlink:href="|url\()#', rf"\1#{prefix}-", text)
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    view = re.search(r'width="([\d.]+)pt" height="[\d.]+pt"', text)
    widest = f"{float(view.group(1)) / 72 * ENLARGED:.2f}in" if view else "100%"
    text = re.sub(r'width="[\d.]+pt" height="[\d.]+pt"', 'width="100%"', text, count=1)
    for colour, name in [(INK, "ink"), (GRID, "grid"), *((c, f"s{i}") for i, c in enumerate(SERIES))]:
        text = text.replace(colour, f"var(--{name})")
    label = escape(plot.caption, quote=True)
    text = text.replace("<svg", f'<svg role="img" aria-label="{label}"', 1)
    return (
        f'<figure style="max-width:{widest}">{text}<figcaption>{escape(plot.caption)}</figcaption></figure>'
    )


def _tile(tile: Tile) -> str:
    label, value, detail = (escape(text) for text in (tile.label, tile.value, tile.detail))
    return f'<div class="tile"><span>{label}</span><b>{value}</b><small>{detail}</small></div>'


def _section(number: int, section: Section) -> str:
    parts = []
    for place, block in enumerate(section.blocks):
        if isinstance(block, Table):
            parts.append(block.html())
        elif isinstance(block, Plot):
            parts.append(plot_html(block, f"f{number}-{place}"))
        else:
            parts.append(f"<p>{escape(block)}</p>")
    opening = f'<p class="opening">{escape(section.opening)}</p>'
    # A title never stands alone at the foot of a printed page.
    first = parts.pop(0) if parts and isinstance(section.blocks[0], Plot) else ""
    head = f'<div class="together"><h2>{escape(section.title)}</h2>{opening}{first}</div>'
    return f'<section id="{section.id}">{head}{"".join(parts)}</section>'


def _style() -> str:
    series = "".join(f"--s{i}:{colour};" for i, colour in enumerate(SERIES))
    dark = "".join(f"--s{i}:{colour};" for i, colour in enumerate(DARK_SERIES))
    light_ground = f"--ink:{INK};--grid:{GRID};--ground:#fff;--soft:#f5f6f8;--line:#d9dde3;--faint:#5c6570;"
    light_mark = "--mark:#0b62a3;--warn:#fff4d6;--warnink:#5c4300;"
    dark_ground = (
        "--ink:#e6e9ed;--grid:#343b45;--ground:#12161c;--soft:#1a2028;--line:#323a45;--faint:#9aa5b1;"
    )
    dark_mark = "--mark:#7cc4ff;--warn:#3a2f12;--warnink:#ffdf94;"
    return (
        f":root{{{light_ground}{light_mark}{series}}}"
        f"@media (prefers-color-scheme:dark){{:root{{{dark_ground}{dark_mark}{dark}}}}}"
        f"{RULES}"
        f"@media print{{:root{{{light_ground}{light_mark}{series}}}{PRINT_RULES}}}"
    )


RULES = """
*{box-sizing:border-box}html{scroll-behavior:smooth}
body{margin:0;background:var(--ground);color:var(--ink);font:16px/1.55 system-ui,-apple-system,"Segoe UI",
Roboto,"Helvetica Neue",Arial,"Noto Sans","Liberation Sans",sans-serif}
header,main{max-width:1120px;margin:0 auto;padding:0 24px}header{padding-top:36px}
h1{font-size:1.9rem;line-height:1.2;margin:0 0 4px;letter-spacing:-.01em}
.subtitle{color:var(--faint);margin:0 0 16px}
.caveat{background:var(--warn);color:var(--warnink);padding:10px 14px;border-radius:8px;margin:0 0 16px}
nav{position:sticky;top:0;z-index:1;background:var(--ground);border-bottom:1px solid var(--line);
display:flex;gap:4px 18px;flex-wrap:wrap;justify-content:center;padding:10px 24px;font-size:.9rem}
nav a{color:var(--mark);text-decoration:none}nav a:hover,nav a:focus{text-decoration:underline}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(210px,1fr));gap:14px;margin:24px 0 8px}
.tile{background:var(--soft);border:1px solid var(--line);border-radius:10px;padding:14px 16px}
.tile span,.tile small{display:block;color:var(--faint);font-size:.86rem;line-height:1.4}
.tile b{display:block;font-size:1.7rem;line-height:1.3;font-variant-numeric:tabular-nums}
section{padding-top:30px;scroll-margin-top:44px}h2{font-size:1.3rem;margin:0 0 4px}
.opening{margin:0 0 14px;color:var(--faint);max-width:72ch}
.table{overflow-x:auto;margin:18px 0 6px}table{border-collapse:collapse;width:100%;font-size:.88rem}
table.wide{font-size:.76rem}.wide th,.wide td{padding:4px 5px}.wide th{white-space:normal}
caption{text-align:left;font-weight:600;padding:0 0 6px}
th,td{padding:5px 10px;text-align:left;vertical-align:top}
th{border-bottom:1.5px solid var(--ink);font-weight:600;white-space:nowrap}
tbody tr{border-top:1px solid var(--line)}tbody tr:hover{background:var(--soft)}
tr.sub{border-top:0;color:var(--faint)}
.n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}
td i{font-style:normal;color:var(--faint);font-size:.92em}.none{color:var(--faint)}
.notes{margin:4px 0 18px;padding-left:18px;color:var(--faint);font-size:.85rem;max-width:90ch}
figure{margin:20px auto 26px}figure svg{display:block;height:auto;width:100%}
figcaption{color:var(--faint);font-size:.86rem;margin-top:6px;max-width:86ch}
footer,.end{padding:30px 0;color:var(--faint)}main{padding-bottom:60px}
@media (max-width:640px){header,main{padding-left:14px;padding-right:14px}h1{font-size:1.5rem}
figure{overflow-x:auto}figure svg{min-width:620px}}
"""

PRINT_RULES = """
body{font-size:10.5pt}nav{display:none}header,main{max-width:none;padding:0}
section{padding-top:14px}h2{break-after:avoid}.opening{break-after:avoid}
figure,tr,.tile,.caveat,.together,.notes{break-inside:avoid}caption{break-after:avoid}.table{overflow:visible}thead{display:table-header-group}
table{font-size:7.6pt}th,td{padding:2.5px 5px}table.wide{font-size:6.2pt}.wide th,.wide td{padding:2px 3px}
figure{max-width:100%!important}
a{color:inherit}.tile{background:none}
@page{size:A4;margin:14mm}
"""
