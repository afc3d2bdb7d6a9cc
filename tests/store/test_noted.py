"""Checksums beside files that have no place for one."""

from __future__ import annotations

from pathlib import Path

import pytest

from mmmos.store import files, noted
from mmmos.store.sealed import DamagedFileError


def write(folder: Path, text: str) -> Path:
    with noted.noting(folder, "a.csv"):
        files.write_text(folder / "a.csv", text)
    return folder / "a.csv"


def test_a_changed_byte_is_found_and_a_new_writing_is_not(tmp_path: Path) -> None:
    path = write(tmp_path / "new", "id,value\n1,2\n")
    assert noted.check(path)
    path.write_text("id,value\n1,3\n")
    with pytest.raises(DamagedFileError, match=r"a\.csv is damaged or changed by hand"):
        noted.check(path)
    assert noted.check(write(tmp_path / "new", "id,value\n1,4\n"))


def test_a_writer_that_is_stopped_leaves_no_checksum_and_no_false_alarm(tmp_path: Path) -> None:
    path = write(tmp_path, "old")
    writing = noted.noting(tmp_path, "a.csv")
    writing.__enter__()
    files.write_text(path, "new")
    assert not writing.__exit__(KeyboardInterrupt, KeyboardInterrupt(), None)
    assert not noted.check(path)


def test_other_files_keep_theirs(tmp_path: Path) -> None:
    path = write(tmp_path, "old")
    with noted.noting(tmp_path, "b.csv"):
        files.write_text(tmp_path / "b.csv", "b")
    assert noted.noted(tmp_path).keys() == {"a.csv", "b.csv"}
    files.remove(path)
    with noted.noting(tmp_path, "a.csv"):
        pass
    assert noted.noted(tmp_path).keys() == {"b.csv"}


def test_a_damaged_note_is_named_and_made_anew(tmp_path: Path) -> None:
    path = write(tmp_path, "old")
    note = tmp_path / noted.FILE
    note.write_text(note.read_text().replace('"a', '"b'))
    with pytest.raises(DamagedFileError, match=noted.FILE):
        noted.check(path)
    assert noted.check(write(tmp_path, "new"))
