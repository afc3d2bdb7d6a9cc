"""Rows out: every format holds the same, and no text in them acts."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest

from mmmos.heads.scoring.answers import Writer, beyond_scale, columns, identity
from mmmos.heads.scoring.requests import AudioRequest
from mmmos.store.escape import SPELLED_OUT, encodable
from mmmos.store.row_formats import csv_rows
from mmmos.store.schema import Scale

AXES = ("CE", "PQ")
BUNDLE = "bundle-0"
REQUESTS = [AudioRequest(f"r{n}", f"dir/a,{n}.wav", Path(f"{n}.wav")) for n in range(5)]


def answer(number: int, windows: int = 0) -> dict:
    request = REQUESTS[number]
    if number == 3:
        return {**identity(request), "error": 'no "such"\nfile', "bundle": BUNDLE}
    row = {**identity(request), "CE": 5.0 + number, "CE_80_low": 1.0, "CE_95_low": None, "PQ": 2.0}
    row |= {"seconds": 3.0, "domain": "speech", "flags": ["short", "clipped"], "bundle": BUNDLE}
    if windows:
        row["windows"] = [
            {"start_s": float(k), "end_s": k + 10.0, "CE": 4.0, "PQ": 1.0} for k in range(windows)
        ]
    return row


def test_both_formats_hold_the_same() -> None:
    texts = {}
    for form in ("jsonl", "csv"):
        stream = io.StringIO(newline="")
        writer = Writer(stream, form, AXES)
        for number in range(5):
            writer.write(answer(number, windows=2))
        texts[form] = stream.getvalue()
    plain = [json.loads(line) for line in texts["jsonl"].splitlines()]
    table = list(csv.DictReader(io.StringIO(texts["csv"], newline="")))
    files = [row for row in table if row["row"] == "file"]
    assert tuple(table[0]) == columns(AXES)
    assert [row["id"] for row in files] == [row["id"] for row in plain] == [r.id for r in REQUESTS]
    assert (files[1]["CE"], files[1]["flags"], files[1]["CE_95_low"]) == ("6.0", "short; clipped", "")
    assert files[3]["error"] == plain[3]["error"]
    assert [row["start_s"] for row in table if row["row"] == "window"] == ["0.0", "1.0"] * 4


def test_names_that_a_spreadsheet_would_run_are_text_and_come_back() -> None:
    stream = io.StringIO(newline="")
    writer = Writer(stream, "csv", AXES)
    for name in NAMES:
        writer.write({**answer(0), "id": name, "path": name})
    assert "\n=" not in stream.getvalue()
    assert ",=" not in stream.getvalue()
    stream.getvalue().encode()
    assert [row.values["id"] for row in csv_rows(stream.getvalue())] == [encodable(name) for name in NAMES]


NAMES = ("=1+1", "-1", "@x", "a\rb", "\x0b\x85\u2028", "half\udcff", "'=", "0.5", "\u202e\U000e0041")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_csv_on_a_terminal_shows_marks_as_escapes_and_a_file_keeps_the_names() -> None:
    texts = []
    for stream in (Terminal(newline=""), io.StringIO(newline="")):
        writer = Writer(stream, "csv", AXES)
        for name in ("\u202ewav.exe", "\x1b[2Jb"):
            writer.write({**answer(0), "id": name, "path": "a"})
        texts.append(stream.getvalue())
    shown, kept = texts
    assert not SPELLED_OUT.search(shown.replace("\n", ""))
    assert "\\u202ewav.exe,a" in shown
    assert [row.values["id"] for row in csv_rows(kept)] == ["\u202ewav.exe", "\x1b[2Jb"]


def test_json_lines_hold_any_name_on_one_line() -> None:
    stream = io.StringIO(newline="")
    writer = Writer(stream, "jsonl", AXES)
    for name in NAMES:
        writer.write({**answer(0), "id": name})
    stream.getvalue().encode()
    assert not SPELLED_OUT.search(stream.getvalue().replace("\n", "")), "nothing acts on a terminal"
    assert [json.loads(line)["id"] for line in stream.getvalue().split("\n")[:-1]] == list(NAMES)


@pytest.mark.parametrize(
    ("value", "bounded", "refused"),
    [
        (5.0, True, False),
        (14.0, True, False),
        (25.0, True, True),
        (-1e300, True, True),
        (float("nan"), True, True),
        (float("inf"), False, True),
        (25.0, False, False),
    ],
)
def test_a_score_that_no_scale_can_hold_is_refused(value: float, bounded: bool, refused: bool) -> None:
    said = beyond_scale(np.array([5.0, value]), AXES, Scale(0, 10), bounded)
    assert bool(said) is refused
    assert not refused or said.startswith("PQ comes out as")
