"""Every byte of a sealed file counts; JSON is read strictly, and what is wrong is said with its place."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mmmos.store import sealed


def test_what_was_written_comes_back_and_says_that_it_is_sealed(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "x.json"
    sealed.write_json(path, {"a": [1, 2.5, None], "ä": "ö"})
    assert sealed.read_json(path) == {"a": [1, 2.5, None], "ä": "ö"}
    assert sealed.is_sealed(path.read_bytes(), path)


def test_any_changed_bit_of_a_sealed_file_is_found(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    sealed.write_json(path, {"value": 1.5, "text": "t"})
    whole = path.read_bytes()
    for at in range(len(whole)):
        for bit in range(8):
            broken = bytearray(whole)
            broken[at] ^= 1 << bit
            path.write_bytes(broken)
            with pytest.raises(sealed.DamagedFileError, match=r"x\.json is damaged or changed by hand"):
                sealed.read_json(path)
    for end in range(len(whole)):
        path.write_bytes(whole[:end])
        with pytest.raises(ValueError, match=r"x\.json"):
            sealed.read_json(path)


def test_a_file_of_earlier_versions_has_no_seal_and_is_read(tmp_path: Path) -> None:
    path = tmp_path / "old.json"
    path.write_text('{"a": 1}')
    assert sealed.read_json(path) == {"a": 1}
    assert not sealed.is_sealed(path.read_bytes(), path)


def test_a_text_that_looks_like_a_seal_is_refused_by_the_writer(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="reads like a checksum's place"):
        sealed.write_json(tmp_path / "x.json", {"system": sealed.BLANK})
    assert list(tmp_path.iterdir()) == []


def test_whole_pairs_of_surrogates_and_64_bits_are_read(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text('{"a": "\\ud83d\\ude00", "b": 18446744073709551615}')
    assert sealed.read_object(path) == {"a": "\U0001f600", "b": (1 << 64) - 1}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b'{"a": 1, "a": 2}', "the key 'a' occurs twice"),
        (b'{"a": [NaN]}', "NaN is not a number that JSON has"),
        (b'{"a": -Infinity}', "-Infinity is not a number"),
        (b'{"a": 1e999}', "1e999 is too large a number"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"a":' * 100_000, "nested too deeply"),
        (b'{"a": "\xff"}', "not UTF-8 text: byte 7"),
        (b'{\n"a": 01}', "line 2 column 7"),
        (b'{"a": ' + b"9" * 5000 + b"}", "too large a number"),
        (b'{"a": ' + b"1" + b"0" * 400 + b"}", "10000000000000000000 is too large a number"),
        (b'{"a": [-36893488147419103232]}', "too large a number"),
        (b'{"a": "\\ud800"}', "half of a pair of surrogates"),
        (b"", "not JSON"),
        (b"[1]", "a JSON object was expected, not list"),
        (b"\0" * 20, "not JSON"),
    ],
)
def test_what_is_wrong_is_said_with_the_file(tmp_path: Path, text: bytes, reason: str) -> None:
    path = tmp_path / "x.json"
    path.write_bytes(text)
    with pytest.raises(ValueError, match=reason) as refused:
        sealed.read_object(path)
    assert str(refused.value).startswith(str(path))
    assert "\n" not in str(refused.value)


def test_only_regular_files_of_a_bearable_size_are_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(ValueError, match="not a regular file"):
        sealed.read_json(tmp_path / "fifo")
    with pytest.raises(ValueError, match="not a regular file"):
        sealed.read_json(Path("/dev/zero"))
    with (tmp_path / "large.json").open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(ValueError, match="at most"):
        sealed.read_json(tmp_path / "large.json")
    with pytest.raises(FileNotFoundError):
        sealed.read_json(tmp_path / "absent.json")
