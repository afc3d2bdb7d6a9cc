"""Text from data, as it is shown: in a terminal, a plot, HTML, Markdown or a spreadsheet it is only text.

Stored text is never changed.  What cannot be seen, or would act on what shows it, is spelled out: control
characters, marks that turn the direction of writing, invisible characters, halves of surrogate pairs.
"""

from __future__ import annotations

import csv
import html
import io
import re
from collections.abc import Iterable

SPELLED_OUT = re.compile(
    "[\x00-\x1f\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff0-\ufffb"
    "\ufdd0-\ufdef\ud800-\udfff\ufffe\uffff\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
    + "".join(chr(plane << 16 | end) for plane in range(1, 17) for end in (0xFFFE, 0xFFFF))
    + "]"
)
"""Characters that are shown as escapes.  Joiners (U+200C, U+200D) are not among them: scripts need them."""

MARKDOWN = re.compile(r"([\\`*_{}\[\]()#+!|~$])")
"""Characters with a meaning in Markdown; those of HTML become entities, which Markdown shows as they were."""

FORMULA = re.compile(r"'*[=+\-@\t\r\n＝＋－＠]")
"""How text begins that a spreadsheet would run, or that stands for such text already."""
APOSTROPHE = "'"


def inert(text: str) -> str:
    """Text on one line in which nothing acts and nothing hides.

    >>> print(inert("a\\x1b[2Jb\\u202ec"))
    a\\x1b[2Jb\\u202ec
    """
    return SPELLED_OUT.sub(_spelled_out, text)


def inert_lines(text: str) -> str:
    """The same for a message of ours, which may have several lines."""
    return "\n".join(inert(line) for line in text.split("\n"))


def html_text(text: str) -> str:
    """Text for HTML, inside of elements and of quoted attributes."""
    return html.escape(inert(text))


def markdown_text(text: str) -> str:
    """Text that Markdown shows as it is, on one line; where it allows HTML, too."""
    return MARKDOWN.sub(r"\\\1", html.escape(inert(" ".join(text.split())), quote=False))


def spreadsheet(text: str) -> str:
    """Text for a cell of a CSV file: a spreadsheet runs nothing in it.

    An apostrophe is put in front of text that begins with = + - @, their full-width twins, a tab or a line
    break, and of text that begins so after apostrophes.  `from_spreadsheet` takes it away again.

    >>> spreadsheet("=1+1"), spreadsheet("it's")
    ("'=1+1", "it's")
    """
    return APOSTROPHE + text if FORMULA.match(text) else text


def from_spreadsheet(cell: str) -> str:
    """The text that `spreadsheet` made a cell of."""
    return cell[1:] if cell.startswith(APOSTROPHE) and FORMULA.match(cell) else cell


def csv_row(cells: Iterable[object]) -> str:
    """One row of a CSV file with its line end: text harmless to spreadsheets and UTF-8, None empty."""
    made = [encodable(spreadsheet(cell)) if isinstance(cell, str) else cell for cell in cells]
    # Python's writer does not quote a lone carriage return, which its reader takes for the end of a row.
    lone = any("\r" in cell for cell in made if isinstance(cell, str))
    text = io.StringIO()
    csv.writer(text, lineterminator="\n", quoting=csv.QUOTE_ALL if lone else csv.QUOTE_MINIMAL).writerow(made)
    return text.getvalue()


def encodable(text: str) -> str:
    """Text that can be written as UTF-8: halves of surrogate pairs, as in names that are not, as escapes."""
    return text.encode("utf-8", "backslashreplace").decode()


def _spelled_out(found: re.Match[str]) -> str:
    return found.group().encode("unicode_escape").decode()
