"""Whatever a name holds: shown it is only text, and written it comes back."""

from __future__ import annotations

import csv
import io
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmmos.store import files
from mmmos.store.escape import (
    csv_row,
    encodable,
    from_spreadsheet,
    html_text,
    inert,
    inert_lines,
    markdown_text,
    spreadsheet,
)
from mmmos.store.rows import read_rows

ANY = st.text(st.characters(), max_size=20)


@given(ANY)
def test_nothing_that_is_shown_acts_or_hides(text: str) -> None:
    shown = inert(text)
    assert not any(unicodedata.category(letter) in ("Cc", "Cs", "Zl", "Zp") for letter in shown)
    assert not any(unicodedata.bidirectional(letter) in BIDI_MARKS for letter in shown)
    shown.encode()
    assert inert(shown) == shown


BIDI_MARKS = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\x1b[31mb", r"a\x1b[31mb"),
        ("a\u202egpj.exe", r"a\u202egpj.exe"),
        ("zero\u200bwidth\ufeff", r"zero\u200bwidth\ufeff"),
        ("two\nlines\r\t\u2028\x0b\x85", r"two\nlines\r\t\u2028\x0b\x85"),
        ("half\ud83d", r"half\ud83d"),
        ("tag\U000e0041", r"tag\U000e0041"),
    ],
)
def test_what_acts_is_spelled_out(text: str, shown: str) -> None:
    assert inert(text) == shown


def test_writing_of_any_language_stays_as_it_is() -> None:
    for text in ("Ünï cödé", "日本語", "العربية", "עברית", "👩\u200d👩\u200d👧", "می\u200cخواهم", "a\u0301"):
        assert inert(text) == text


def test_a_message_keeps_its_lines() -> None:
    assert inert_lines("two\nlines\x1b[2J") == "two\nlines\\x1b[2J"


@given(ANY)
def test_html_and_markdown_hold_no_tag(text: str) -> None:
    for made in (html_text(text), markdown_text(text)):
        assert not {"<", ">", "\n"} & set(made)


@given(ANY)
def test_a_cell_that_a_spreadsheet_would_run_begins_with_an_apostrophe_and_comes_back(text: str) -> None:
    cell = spreadsheet(text)
    assert cell[:1] not in set("=+-@\t\r\n＝＋－＠")
    assert from_spreadsheet(cell) == text


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1), min_size=1, max_size=4))
def test_rows_of_a_file_of_ours_come_back(cells: list[str]) -> None:
    (row,) = csv.reader(io.StringIO(csv_row(cells), newline=""), strict=True)
    assert [from_spreadsheet(cell) for cell in row] == cells


def test_formulas_pass_through_our_own_writer_and_reader(tmp_path: Path) -> None:
    names = ["=1+1", "+a", "-b.wav", "@c", "\td", "'=e", "''x", "it's", "plain"]
    files.write_csv(tmp_path / "t.csv", ("=id", "score"), [(name, -1.5) for name in names])
    raw = (tmp_path / "t.csv").read_text()
    assert "\n=" not in raw
    assert ",-1.5\n" in raw  # numbers are no text
    assert [row.values["=id"] for row in read_rows(tmp_path / "t.csv", 1 << 20)] == names


def test_names_that_are_not_utf8_can_be_written() -> None:
    assert encodable("a\udcff") == r"a\udcff"
