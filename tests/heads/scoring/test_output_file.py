"""A broken-off file is gone on with, byte for byte; other options and a second writer are refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mmmos.heads.scoring.output_file import OutputFile, ResumeError, Settings, check_output
from mmmos.heads.scoring.requests import AudioRequest
from tests.heads.scoring.test_answers import AXES, BUNDLE, NAMES, REQUESTS, answer


def settings(**changed: Any) -> Settings:
    return replace(Settings(None, "", BUNDLE), **changed)


def write(path: Path, form: str, numbers: range, windows: int, resume: bool) -> OutputFile:
    asked = settings(hop_s=1.0 if windows else None)
    with OutputFile(path, form, AXES, REQUESTS, asked, resume=resume) as file:
        for number in numbers[file.done :]:
            file.writer.write(answer(number, windows))
    return file


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
        OutputFile(path, "jsonl", AXES, REQUESTS, settings(), resume=False)
    with pytest.raises(ResumeError, match="answer 1 is for 'r0'"):
        OutputFile(path, "jsonl", AXES, REQUESTS[::-1], settings(), resume=True)
    with pytest.raises(ResumeError, match="scored by --bundle bundle-0, not by another"):
        OutputFile(path, "jsonl", AXES, REQUESTS, settings(bundle="another"), resume=True)
    with pytest.raises(ResumeError, match="without --timeline"):
        OutputFile(path, "jsonl", AXES, REQUESTS, settings(hop_s=5.0), resume=True)
    with pytest.raises(ResumeError, match="columns"):
        OutputFile(path, "csv", AXES, REQUESTS, settings(), resume=True)
    assert path.read_bytes() == before


def broken_off(path: Path, form: str, asked: Settings, windows: int) -> None:
    """As a kill leaves it: two rows, and what it was begun with."""
    file = OutputFile(path, form, AXES, REQUESTS, asked)
    for number in range(2):
        file.writer.write(answer(number, windows))
    file.__exit__(KeyboardInterrupt, None, None)


OTHERS = [
    ({"hop_s": 2.0}, "--hop 1, not 2"),
    ({"hop_s": None}, "with --timeline"),
    ({"domain": "music"}, "--domain ''|no --domain"),
    ({"bundle": "bundle-1"}, "--bundle bundle-0, not by bundle-1"),
    ({"loudness_lufs": -23.0}, "no --loudness, not with --loudness -23"),
]


@pytest.mark.parametrize("form", ["jsonl", "csv"])
@pytest.mark.parametrize(("changed", "said"), OTHERS)
def test_other_options_are_refused_by_name_before_anything_is_loaded(
    tmp_path: Path, form: str, changed: dict[str, Any], said: str
) -> None:
    path, asked = tmp_path / "out", settings(hop_s=1.0)
    broken_off(path, form, asked, windows=2)
    before = path.read_bytes()
    with pytest.raises(ResumeError, match=said):
        check_output(path, replace(asked, **changed), resume=True)
    check_output(path, replace(asked, bundle=""), resume=True)
    assert path.read_bytes() == before


def test_another_hop_is_found_in_the_rows_alone(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    broken_off(path, "jsonl", settings(hop_s=1.0), windows=3)
    (tmp_path / "out.jsonl.resume").unlink()
    with pytest.raises(ResumeError, match="--hop 1, not 2"):
        OutputFile(path, "jsonl", AXES, REQUESTS, settings(hop_s=2.0), resume=True)


def test_another_loudness_is_found_in_the_rows_alone(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    at = settings(loudness_lufs=-23.0)
    with OutputFile(path, "jsonl", AXES, REQUESTS[:3], at) as file:
        for number in range(3):
            file.writer.write(answer(number, 0) | {"bundle": f"{BUNDLE} at -23 LUFS"})
    with OutputFile(path, "jsonl", AXES, REQUESTS[:3], at, resume=True) as again:
        assert again.done == 3
    for other in (settings(), settings(loudness_lufs=-16.0)):
        with pytest.raises(ResumeError, match="was written at -23 LUFS"):
            OutputFile(path, "jsonl", AXES, REQUESTS[:3], other, resume=True)
    write(tmp_path / "plain.jsonl", "jsonl", range(3), 0, resume=False)
    with pytest.raises(ResumeError, match="without --loudness"):
        OutputFile(tmp_path / "plain.jsonl", "jsonl", AXES, REQUESTS[:3], at, resume=True)


def test_two_at_once_are_told_apart_and_the_file_stays_whole(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    with OutputFile(path, "jsonl", AXES, REQUESTS, settings()) as file:
        file.writer.write(answer(0))
        before = path.read_bytes()
        with pytest.raises(ResumeError, match="being written by another"):
            OutputFile(path, "jsonl", AXES, REQUESTS, settings(), resume=True)
        with pytest.raises(ResumeError, match="already there"):
            OutputFile(path, "jsonl", AXES, REQUESTS, settings())
        assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["out.jsonl"]


@pytest.mark.parametrize("form", ["jsonl", "csv"])
def test_odd_names_are_found_again(tmp_path: Path, form: str) -> None:
    requests = [AudioRequest(name, name, Path("x.wav")) for name in NAMES]
    path = tmp_path / "out"
    with OutputFile(path, form, AXES, requests, settings()) as file:
        for request in requests:
            file.writer.write({**answer(0), "id": request.id, "path": request.path})
    with OutputFile(path, form, AXES, requests, settings(), resume=True) as file:
        assert file.done == len(NAMES)


def test_what_is_no_regular_file_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path, Path("/dev/null")):
        with pytest.raises(ResumeError, match="not a regular file"):
            check_output(path, settings(), resume=True)


@pytest.mark.parametrize("form", ["jsonl", "csv"])
@pytest.mark.parametrize("after", [False, True])
def test_nothing_of_a_stranger_is_cut_off(tmp_path: Path, form: str, after: bool) -> None:
    path = tmp_path / "out"
    if after:
        write(path, form, range(3), 0, resume=False)
    with path.open("a") as file:
        file.write("mine, and there is no other copy\n" if after else "mine, and there is no other copy")
    before = path.read_bytes()
    with pytest.raises(ResumeError, match=r"does not hold answers|no answer"):
        OutputFile(path, form, AXES, REQUESTS, settings(), resume=True)
    assert path.read_bytes() == before


def test_a_large_file_without_lines_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    with path.open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(ValueError, match=r"out\.csv ends in a line of more than"):
        OutputFile(path, "csv", AXES, REQUESTS, settings(), resume=True)


def test_rows_of_a_stranger_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    path.write_text('{"id": "r0", "bundle": "bundle-0", "windows": [1, 2, 3]}\n')
    with pytest.raises(ResumeError, match="answer 1"):
        OutputFile(path, "jsonl", AXES, REQUESTS, settings(hop_s=1.0), resume=True)
