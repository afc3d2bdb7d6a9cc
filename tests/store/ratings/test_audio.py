"""Audio files found by what a table says of them, and never guessed between two."""

from __future__ import annotations

from pathlib import Path

import pytest

from mmmos.store.ratings.audio import Audio
from mmmos.store.rows import TableError
from mmmos.store.suffixes import AUDIO


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("x/a.wav", "x/b.flac", "y/c.wav", "y/c.m4a", "z/a1.wav", "w/a1.wav"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


@pytest.mark.parametrize(
    ("named", "place"),
    [
        ("x/a.wav", "x/a.wav"),
        ("/data/set/x/a.wav", "x/a.wav"),
        ("C:\\data\\x\\a.wav", "x/a.wav"),
        ("../x/a.wav", "x/a.wav"),
        ("x/b.wav", "x/b.flac"),
        ("x/b", "x/b.flac"),
        ("a.wav", "x/a.wav"),
        ("a", "x/a.wav"),
        ("y/c.wav", "y/c.wav"),
        ("nothing.wav", None),
        ("", None),
    ],
)
def test_a_file_is_found_by_what_a_table_says(folder: Path, named: str, place: str | None) -> None:
    assert Audio(folder).find(named) == place


@pytest.mark.parametrize("suffix", sorted({".au", ".aifc", ".caf", ".w64", ".wave", ".m4a", ".webm", *AUDIO}))
def test_a_clip_is_found_whatever_its_audio_is_called(tmp_path: Path, suffix: str) -> None:
    (tmp_path / f"a{suffix}").touch()
    assert Audio(tmp_path).find("a") == Audio(tmp_path).find("x/a.wav") == f"a{suffix}"


@pytest.mark.parametrize("named", ["y/c", "c", "a1.wav", "a1"])
def test_two_files_that_fit_are_refused_with_both(folder: Path, named: str) -> None:
    with pytest.raises(TableError, match=r"may be .* or .*name the file with its folder and suffix"):
        Audio(folder).find(named)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("u1 sox a.wav -t wav - |\n", "a command, which is never run"),
        ("u1\n", "not `id path`"),
        ("u1 a.wav\nu1 b.wav\n", "stands there twice"),
        ("\n", "names no files"),
    ],
)
def test_a_wav_scp_that_cannot_be_used_is_refused(tmp_path: Path, text: str, reason: str) -> None:
    (tmp_path / "wav.scp").write_text(text)
    with pytest.raises(TableError, match=reason):
        Audio(tmp_path / "wav.scp")


def test_audio_takes_a_folder_or_a_wav_scp(tmp_path: Path) -> None:
    with pytest.raises(TableError, match="is not there: --audio takes the folder"):
        Audio(tmp_path / "none")


def test_a_file_named_as_no_other_system_would_is_found(tmp_path: Path) -> None:
    (tmp_path / "a\\b.wav").touch()
    (tmp_path / "b.wav").touch()
    assert Audio(tmp_path).find("a\\b.wav") == "a\\b.wav"


def test_a_list_of_audio_that_is_no_text_is_refused_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "wav.scp"
    path.write_bytes(b"a caf\xe9.wav\n")
    with pytest.raises(TableError, match=r"wav\.scp cannot be read"):
        Audio(path)
    path.write_text("a line\u2028sep.wav\n")
    assert Audio(path).find("a") == "line\u2028sep.wav"
