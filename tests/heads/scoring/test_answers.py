"""Rows out: every format holds the same, and a broken-off file is gone on with, byte for byte."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest

from mmmos.heads.scoring.answers import OutputFile, ResumeError, Writer, columns, identity
from mmmos.heads.scoring.requests import AudioRequest

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


def write(path: Path, form: str, numbers: range, windows: int, resume: bool) -> OutputFile:
    with OutputFile(path, form, AXES, REQUESTS, BUNDLE, timeline=windows > 0, resume=resume) as file:
        for number in numbers[file.done :]:
            file.writer.write(answer(number, windows))
    return file


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


@pytest.mark.parametrize("form", ["jsonl", "csv"])
@pytest.mark.parametrize("windows", [0, 3])
def test_broken_off_anywhere_it_ends_as_if_unbroken(tmp_path: Path, form: str, windows: int) -> None:
    path = tmp_path / f"whole.{form}"
    write(path, form, range(5), windows, resume=False)
    whole = path.read_bytes()
    for end in range(0, len(whole) + 1, 7):
        torn = tmp_path / f"torn-{end}"
        torn.write_bytes(whole[:end])
        write(torn, form, range(5), windows, resume=True)
        assert torn.read_bytes() == whole, f"cut at byte {end}"


def test_what_is_there_is_counted(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    assert write(path, "jsonl", range(4), 0, resume=True).done == 0
    again = write(path, "jsonl", range(5), 0, resume=True)
    assert (again.done, again.errors) == (4, 1)


def test_what_cannot_be_gone_on_with_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    write(path, "jsonl", range(3), 0, resume=False)
    before = path.read_bytes()
    with pytest.raises(ResumeError, match="--resume"):
        OutputFile(path, "jsonl", AXES, REQUESTS, BUNDLE, resume=False)
    with pytest.raises(ResumeError, match="answer 1 is for 'r0'"):
        OutputFile(path, "jsonl", AXES, REQUESTS[::-1], BUNDLE, resume=True)
    with pytest.raises(ResumeError, match="scored by bundle-0, not by another"):
        OutputFile(path, "jsonl", AXES, REQUESTS, "another", resume=True)
    with pytest.raises(ResumeError, match="without a timeline"):
        OutputFile(path, "jsonl", AXES, REQUESTS, BUNDLE, timeline=True, resume=True)
    with pytest.raises(ResumeError, match="columns"):
        OutputFile(path, "csv", AXES, REQUESTS, BUNDLE, resume=True)
    assert path.read_bytes() == before
    with pytest.raises(ValueError, match="unknown format"):
        Writer(io.StringIO(), "xml", AXES)
