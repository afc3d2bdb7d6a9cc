"""A file that grows line by line loses no whole line to a kill, and shows every line that changed."""

from __future__ import annotations

from pathlib import Path

import pytest

from mmmos.store.lines import append_lines, read_lines

VALUES = [{"a": 1}, {"b": "x\ny"}, {"c": [1.5, None]}]


def test_what_was_added_is_read_in_order(tmp_path: Path) -> None:
    path = tmp_path / "new" / "grows.jsonl"
    append_lines(path, VALUES[:1])
    append_lines(path, VALUES[1:])
    assert list(read_lines(path)) == VALUES
    assert all(b"mmmos-seal" in line for line in path.read_bytes().splitlines())


def test_a_torn_line_is_cut_by_the_next_writer(tmp_path: Path) -> None:
    path = tmp_path / "grows.jsonl"
    append_lines(path, VALUES)
    whole = path.read_bytes()
    for cut in range(len(whole) - 1, whole.rstrip().rfind(b"\n") + 1, -7):
        path.write_bytes(whole[:cut])
        assert list(read_lines(path)) == VALUES[:2]
        append_lines(path, VALUES[2:])
        assert path.read_bytes() == whole


def test_a_changed_line_is_named(tmp_path: Path) -> None:
    path = tmp_path / "grows.jsonl"
    append_lines(path, VALUES)
    path.write_bytes(path.read_bytes().replace(b"1.5", b"2.5"))
    lines = read_lines(path)
    assert [next(lines), next(lines)] == VALUES[:2]
    with pytest.raises(ValueError, match=r"grows\.jsonl line 3 is damaged"):
        next(lines)


def test_what_somebody_else_wrote_is_not_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "grows.jsonl"
    path.write_text("mine, and there is no other copy")
    with pytest.raises(ValueError, match=r"grows\.jsonl holds something else"):
        append_lines(path, VALUES)
    assert path.read_text() == "mine, and there is no other copy"
    with path.open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(ValueError, match=r"grows\.jsonl ends in a line of more than"):
        append_lines(path, VALUES)
