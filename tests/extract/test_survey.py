"""The survey knows what every file holds, and what has to be left out."""

from __future__ import annotations

import csv
import os
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from mmmos.extract import content, survey_cache
from mmmos.extract import survey as room
from mmmos.extract.audio import write_audio
from mmmos.extract.survey import (
    CoverageError,
    Reject,
    check_coverage,
    survey,
    write_rejects,
)
from mmmos.extract.survey_cache import CACHE, OLD_CACHE
from mmmos.store import sealed
from mmmos.store.clips import ClipTable
from mmmos.store.lines import read_lines
from mmmos.store.schema import Clip
from mmmos.store.splits import shared_audio


def tone(path: Path, seconds: float = 1.0, pitch_hz: float = 440.0) -> None:
    wave = 0.3 * np.sin(2 * np.pi * pitch_hz * np.arange(round(seconds * 16000)) / 16000)
    write_audio(path, wave[:, None], 16000)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "audio"
    tone(folder / "a.wav", 2.0)
    tone(folder / "b.flac", 3.0)
    (folder / "text.wav").write_bytes(b"no audio")
    (folder / "empty.wav").touch()
    (folder / "folder.wav").mkdir()
    tone(tmp_path / "secret.wav")
    (folder / "link.wav").symlink_to(tmp_path / "secret.wav")
    os.mkfifo(folder / "pipe.wav")
    return folder


@pytest.fixture
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files that were written just now are remembered too."""
    monkeypatch.setattr(content, "UNSETTLED_S", 0.0)


def table(*paths: str) -> ClipTable:
    return ClipTable(tuple(Clip(f"c{i}", path) for i, path in enumerate(paths)))


def test_readable_clips_are_measured_and_the_others_rejected_by_name(root: Path) -> None:
    paths = ("a.wav", "text.wav", "b.flac", "empty.wav", "absent.wav", "folder.wav", "link.wav", "pipe.wav")
    surveyed, rejects = survey(table(*paths, "../secret.wav"), root, quiet=True)
    assert [(clip.id, clip.duration_s) for clip in surveyed.clips] == [("c0", 2.0), ("c2", 3.0)]
    assert all(len(clip.audio) == 48 for clip in surveyed.clips)
    reasons = {reject.path: reject.reason for reject in rejects}
    assert list(reasons) == [*(path for path in paths if path not in ("a.wav", "b.flac")), "../secret.wav"]
    for path, reason in {
        "text.wav": "container",
        "empty.wav": "empty",
        "absent.wav": "no such file",
        "folder.wav": "folder",
        "link.wav": "out of the audio root",
        "pipe.wav": "not a regular file",
        "../secret.wav": "out of the audio root",
    }.items():
        assert reason in reasons[path]


def test_a_file_is_decoded_again_only_after_it_changed(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded = []
    real = room.survey_file
    monkeypatch.setattr(content, "UNSETTLED_S", 0.0)
    monkeypatch.setattr(room, "survey_file", lambda path: decoded.append(path.name) or real(path))
    cache = tmp_path / CACHE
    first, _ = survey(table("a.wav", "b.flac"), root, cache, quiet=True)
    assert sorted(decoded) == ["a.wav", "b.flac"]
    decoded.clear()
    assert survey(table("a.wav", "b.flac"), root, cache, quiet=True)[0] == first
    assert decoded == []
    tone(root / "a.wav", 2.0, 880.0)
    changed, _ = survey(table("a.wav", "b.flac"), root, cache, quiet=True)
    assert decoded == ["a.wav"]
    assert changed.clips[0].audio != first.clips[0].audio
    assert changed.clips[1] == first.clips[1]


@pytest.mark.parametrize("name", [CACHE, OLD_CACHE])
@pytest.mark.parametrize("content", [b"", b"[]\n", b'{"recipe": "another", "files": 3}\n', b"\xff\x00\n"])
def test_a_spoilt_cache_only_costs_time(
    root: Path, tmp_path: Path, name: str, content: bytes, settled
) -> None:
    (tmp_path / name).write_bytes(content)
    for _ in range(2):
        surveyed, rejects = survey(table("a.wav"), root, tmp_path / CACHE, quiet=True)
        assert (len(surveyed.clips), rejects) == (1, [])
    assert [line["path"] for line in read_lines(tmp_path / CACHE) if "path" in line] == ["a.wav"]


def test_a_survey_that_was_killed_goes_on_where_it_was(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settled
) -> None:
    for number in range(20):
        tone(root / f"{number}.wav", 1.0, 100.0 + number)
    decoded: list[str] = []
    real, parent = room.survey_file, os.getpid()

    def until_the_kill(path: Path):
        if os.getpid() != parent and len(decoded) == 18:
            os._exit(9)
        decoded.append(path.name)
        return real(path)

    monkeypatch.setattr(survey_cache, "KEPT_EVERY_S", 0.0)
    monkeypatch.setattr(room, "survey_file", until_the_kill)
    whole = table(*(f"{number}.wav" for number in range(20)))
    child = os.fork()
    if not child:
        survey(whole, root, tmp_path / CACHE, 1, quiet=True)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    with (tmp_path / CACHE).open("ab") as file:
        file.write(b'{"path":"torn')
    surveyed, _ = survey(whole, root, tmp_path / CACHE, quiet=True)
    assert len(decoded) <= 20 - 13, "what the other threads had in hand"
    assert surveyed == survey(whole, root, quiet=True)[0]
    assert len(list(read_lines(tmp_path / CACHE))) == 1 + 20


def test_the_cache_of_an_earlier_version_is_taken_over(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    status = (root / "a.wav").stat()
    info = asdict(room.survey_file(root / "a.wav"))
    entry = {"state": [status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino], "info": info}
    old = {"recipe": survey_cache.AUDIO_RECIPE, "files": {str(root / "a.wav"): entry}}
    sealed.write_json(tmp_path / OLD_CACHE, old)
    monkeypatch.setattr(room, "survey_file", lambda path: pytest.fail(f"{path} is decoded again"))
    for _ in range(2):
        assert survey(table("a.wav"), root, tmp_path / CACHE, quiet=True)[0].clips[0].audio == info["audio"]
        (tmp_path / OLD_CACHE).unlink(missing_ok=True)


def test_a_hash_follows_the_content_not_the_name(root: Path) -> None:
    (root / "copy.wav").write_bytes((root / "a.wav").read_bytes())
    surveyed, _ = survey(table("a.wav", "copy.wav", "b.flac"), root, quiet=True)
    first, copy, other = (clip.audio for clip in surveyed.clips)
    assert first == copy != other


def test_the_same_audio_in_several_splits_is_told() -> None:
    clips = [
        Clip("a", "a", split="train", audio="1"),
        Clip("b", "b", split="test", audio="1"),
        Clip("c", "c", split="train", audio="2"),
        Clip("d", "d", split="train", audio="2"),
        Clip("e", "e", split="dev"),
        Clip("f", "f", split="test"),
    ]
    assert shared_audio(clips) == ["the same audio in several splits: a (train), b (test)"]


def test_coverage_below_the_floor_stops() -> None:
    rejects = [Reject("a", "a.wav", "empty file")]
    assert check_coverage(20, rejects, 0.95) == 0.95
    assert check_coverage(3, [], 0.95) == 1.0
    with pytest.raises(CoverageError, match=r"18 of 19 clips .*a\.wav: empty file"):
        check_coverage(19, rejects, 0.95)
    assert check_coverage(19, rejects, 0.9) == pytest.approx(18 / 19)
    with pytest.raises(CoverageError):
        check_coverage(0, [], 0.95)


def test_rejects_are_written_as_csv(tmp_path: Path) -> None:
    rejects = [Reject("a", "x, y.wav", 'a "reason"'), Reject("b", "z.wav", "empty file")]
    write_rejects(tmp_path / "rejects.csv", rejects)
    with (tmp_path / "rejects.csv").open(newline="") as file:
        rows = list(csv.reader(file))
    assert rows == [["id", "path", "reason"], ["a", "x, y.wav", 'a "reason"'], ["b", "z.wav", "empty file"]]
