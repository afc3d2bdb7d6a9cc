"""What a user may name, and what it becomes."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from mmmos.extract.front import AudioError, open_file
from mmmos.heads.scoring.requests import AudioRequest, RequestError, list_requests


def tree(folder: Path) -> Path:
    for name in ("b.wav", "a.FLAC", "notes.txt", "deep/er/c.mp3", "odd [1].wav"):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return folder


def names(requests: list[AudioRequest], folder: Path) -> list[str]:
    return [request.file.relative_to(folder).as_posix() for request in requests]


def test_files_folders_and_patterns(tmp_path: Path) -> None:
    tree(tmp_path)
    assert names(list_requests([str(tmp_path)]), tmp_path) == [
        "a.FLAC",
        "b.wav",
        "deep/er/c.mp3",
        "odd [1].wav",
    ]
    assert names(list_requests([f"{tmp_path}/**/*.mp3", f"{tmp_path}/b.wav"]), tmp_path) == [
        "deep/er/c.mp3",
        "b.wav",
    ]
    assert names(list_requests([f"{tmp_path}/odd [1].wav"]), tmp_path) == ["odd [1].wav"]
    (missing,) = list_requests([f"{tmp_path}/none.wav"])  # its answer will say that it is missing
    assert missing.file == tmp_path / "none.wav"


def test_audio_in_a_folder_that_cannot_be_decoded_is_asked_for_too(tmp_path: Path) -> None:
    # Its answer says so: a file that is left out in silence is missing from the results unseen.
    for name in ("a.wav", "b.m4a", "c.WEBM", "d.mp4", "e.wma", "._a.wav", "notes.txt"):
        (tmp_path / name).touch()
    found = names(list_requests([str(tmp_path)]), tmp_path)
    assert found == ["a.wav", "b.m4a", "c.WEBM", "d.mp4", "e.wma"]


def test_the_list_that_audiobox_users_have(tmp_path: Path) -> None:
    (tmp_path / "a.wav").touch()
    path = tmp_path / "list.jsonl"
    rows = [
        {"path": "a.wav", "start_time": 0, "end_time": 7.25},
        {"path": "a.wav", "start_time": "12.5"},
        {"path": "/elsewhere/b.wav", "domain": "speech", "id": 7},
    ]
    path.write_text("\n".join(map(json.dumps, rows)) + "\n\n")
    first, second, third = list_requests([str(path)])
    assert first == AudioRequest("a.wav#0-7.25", "a.wav", tmp_path / "a.wav", 0.0, 7.25)
    assert (second.id, second.start_s, second.end_s) == ("a.wav#12.5-", 12.5, None)
    assert (third.id, third.file, third.domain) == ("7", Path("/elsewhere/b.wav"), "speech")
    assert list_requests([str(path)], audio_root=Path("/corpus"))[0].file == Path("/corpus/a.wav")


def test_a_csv_may_be_a_clip_table(tmp_path: Path) -> None:
    path = tmp_path / "clips.csv"
    path.write_text("id,path,domain,CE\nx,a.wav,music,5\ny,b.wav,,\n", encoding="utf-8-sig")
    assert [(r.id, r.path, r.domain) for r in list_requests([str(path)])] == [
        ("x", "a.wav", "music"),
        ("y", "b.wav", ""),
    ]


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("a.csv", "file\nx.wav\n", "no column 'path', only file. `mmmos prepare table TABLE --audio DIR"),
        ("a.csv", "path\n", "no rows"),
        ("a.xlsx", "PK", "a.xlsx is not text: save it as CSV"),
        ("a.csv", "path,id\nx.wav\n", "row 2: 1 cells under 2 columns"),
        ("a.jsonl", "{", "row 1: not JSON"),
        ("a.jsonl", "[1]", "row 1: not a JSON object"),
        ("a.jsonl", '{"path": " "}', "row 1: no path"),
        ("a.jsonl", '{"path": "a", "start_time": -1}', "row 1: start_time is -1, not a number of seconds"),
        ("a.jsonl", '{"path": "a", "start_time": true}', "start_time is True"),
        ("a.jsonl", '{"path": "a", "start_time": 3, "end_time": 3}', "ends at 3 s, not after its start"),
        ("a.jsonl", '{"path": "a"}\n{"path": "a"}', "'a' is asked for twice"),
    ],
)
def test_what_cannot_be_understood_is_refused_whole(
    tmp_path: Path, name: str, text: str, reason: str
) -> None:
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(RequestError) as refused:
        list_requests([str(path)])
    assert reason in str(refused.value)


def test_nothing_found_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="no audio below this folder"):
        list_requests([str(tmp_path)])
    with pytest.raises(RequestError, match="nothing matches"):
        list_requests([f"{tmp_path}/*.wav"])
    with pytest.raises(RequestError, match="cannot be read"):
        list_requests([f"{tmp_path}/none.jsonl"])


def test_names_that_no_file_can_have_are_requests_like_any_other(tmp_path: Path) -> None:
    names = ["a" * 300 + ".wav", "x\udcff.wav", f"{'d' * 300}/x.wav", "nul\0.wav", "a" * 5000]
    assert [request.path for request in list_requests(names)] == names
    listed = tmp_path / "list.csv"
    listed.write_text("path\n" + "a" * 300 + ".wav\n")
    assert list_requests([str(listed)])[0].path == "a" * 300 + ".wav"


def test_a_closed_folder_is_a_request_whose_answer_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("open", "closed"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.wav").write_bytes(b"")
    scandir = os.scandir

    def refuse(path: str) -> object:
        if str(path).endswith("closed"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    found = [request.path for request in list_requests([str(tmp_path)])]
    assert found == [str(tmp_path / "closed"), str(tmp_path / "open" / "a.wav")]


def test_a_folder_names_what_is_not_read_and_what_is_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing that a user takes for audio is skipped without a word."""
    for name in ("0.wav", "0.m4a", "b/talk.WEBM", "b/film.mp4", "notes.txt", "closed/c.wav"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    real = os.scandir

    def scandir(path: str) -> Any:
        if Path(path).name == "closed":
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    asked = [Path(one.path).relative_to(tmp_path).as_posix() for one in list_requests([str(tmp_path)])]
    assert asked == ["0.m4a", "0.wav", "b/film.mp4", "b/talk.WEBM", "closed"]


UNUSABLE = ["x" * 300 + ".wav", "a/" * 3000 + "b.wav", "a\0b", chr(0xDCFF), chr(0xD800)]


@pytest.mark.parametrize("name", UNUSABLE)
def test_a_name_that_no_file_can_have_is_one_request_like_any_other(tmp_path: Path, name: str) -> None:
    (one,) = list_requests([str(tmp_path / name)])
    with pytest.raises(AudioError, match=r"no such file|too long|no file can have this name"):
        open_file(one.file)
