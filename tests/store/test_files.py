"""Effects on disk: whole or absent, and nothing left behind by a failure."""

from __future__ import annotations

import errno
import multiprocessing
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from mmmos.store import files
from mmmos.store.leftovers import leftovers_in, locked


def test_write_atomic_replaces_the_whole(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "down" / "x.bin"
    files.write_atomic(path, b"one", b"two")
    assert files.read_bytes(path) == b"onetwo"
    files.write_atomic(path, b"three")
    assert files.read_bytes(path) == b"three"
    assert [entry.name for entry in path.parent.iterdir()] == ["x.bin"]


@pytest.mark.parametrize("call", ["write", "fsync", "rename"])
def test_a_failing_disk_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, call: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x.bin"
    files.write_atomic(path, b"old")

    def fail(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(files.os, call, fail)
        with pytest.raises(OSError, match="No space left"):
            files.write_atomic(path, b"new")
        with pytest.raises(OSError, match="No space left"), files.writing(path) as temporary:
            temporary.write(b"new")
    assert [entry.name for entry in tmp_path.iterdir()] == ["x.bin"]
    assert files.read_bytes(path) == b"old"


def test_contents_reach_the_disk_before_the_name_and_the_name_before_the_return(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []
    for name in ("write", "fsync", "rename"):
        real = getattr(os, name)
        monkeypatch.setattr(files.os, name, lambda *a, n=name, r=real: (calls.append(n), r(*a))[1])
    files.write_atomic(tmp_path / "x.bin", b"new")
    with files.writing(tmp_path / "y.bin") as temporary:
        temporary.write(b"new")
    assert calls == ["write", "fsync", "rename", "fsync"] * 2


def test_a_block_that_fails_writes_nothing(tmp_path: Path) -> None:
    def interrupted() -> None:
        with files.writing(tmp_path / "x.bin") as temporary:
            temporary.write(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert list(tmp_path.iterdir()) == []


def test_short_writes_and_reads_are_carried_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write, preadv = os.write, os.preadv
    monkeypatch.setattr(files.os, "write", lambda fd, data: write(fd, data[:3]))
    monkeypatch.setattr(files.os, "preadv", lambda fd, views, at: preadv(fd, [views[0][:2]], at))
    files.write_atomic(tmp_path / "x.bin", b"0123456789")
    assert files.read_bytes(tmp_path / "x.bin") == b"0123456789"
    fd = files.open_regular(tmp_path / "x.bin")
    with pytest.raises(EOFError, match="ends at byte 10, 2 bytes too early"):
        files.read_into(fd, bytearray(4), 8)
    files.close(fd)


def test_only_regular_files_of_a_bounded_size_are_read(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"12345")
    (tmp_path / "link").symlink_to(tmp_path / "x")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ValueError, match="at most 4 are read"):
        files.read_bytes(tmp_path / "x", 4)
    for name in ("link", "pipe", "."):
        with pytest.raises(ValueError, match="not a regular file"):
            files.read_bytes(tmp_path / name)
    with pytest.raises(FileNotFoundError):
        files.read_bytes(tmp_path / "absent")


def test_listing(tmp_path: Path) -> None:
    assert files.listing(tmp_path / "absent") == {}
    (tmp_path / "x").write_bytes(b"12345")
    assert files.listing(tmp_path) == {"x": 5}


def test_a_file_that_vanishes_while_listed_hides_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "b", "c"):
        (tmp_path / name).write_bytes(b"1")
    scandir = os.scandir

    @contextmanager
    def renamed_meanwhile(folder: Path) -> Iterator[Iterator[os.DirEntry[str]]]:
        with scandir(folder) as entries:
            listed = list(entries)
        (tmp_path / "b").unlink()
        yield iter(listed)

    monkeypatch.setattr(files.os, "scandir", renamed_meanwhile)
    assert files.listing(tmp_path) == {"a": 1, "c": 1}


def _hold(path: Path, held: object, release: object) -> None:
    with files.lock(path):
        held.set()  # type: ignore[attr-defined]
        release.wait(20)  # type: ignore[attr-defined]


def test_a_lock_dies_with_its_process(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    held, release = context.Event(), context.Event()
    process = context.Process(target=_hold, args=(tmp_path / "lock", held, release))
    process.start()
    assert held.wait(20)
    assert locked(tmp_path / "lock")
    process.kill()
    process.join()
    assert not locked(tmp_path / "lock")
    with files.lock(tmp_path / "lock"):
        assert locked(tmp_path / "lock")


def test_a_file_system_without_locks_is_written_to_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(fd: int, how: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(files.fcntl, "flock", refuse)
    files.write_atomic(tmp_path / "x.bin", b"new")
    with files.lock(tmp_path / "lock"):
        (tmp_path / "tmp-dead").write_bytes(b"123")
    assert [(one.path.name, one.in_use) for one in leftovers_in(tmp_path)] == [("tmp-dead", False)]
