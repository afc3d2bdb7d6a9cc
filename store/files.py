"""Every write, rename and removal on disk goes through this file, so that tests can make each one fail.

A file under its final name is whole and never opened for writing: contents go to a temporary name
that nobody else has (exclusive create), are synced, and are renamed; then the folder is synced.  A
temporary is locked while it is being written, and the lock dies with its process, so what a crash
left behind can be told from what is in use.
"""

# Plain os calls, so that a test can count and fail each one.
# ruff: noqa: PTH102, PTH104, PTH108

from __future__ import annotations

import errno
import fcntl
import json
import os
import stat
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

from mmmos.store.escape import csv_row

Buffer = bytes | bytearray | memoryview
TEMPORARY = "tmp-"
"""How every temporary file's name begins."""
NO_LOCKS = (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS)
"""How a file system says that it has no locks."""


def make_folder(path: Path) -> None:
    """Create a folder and its parents, each synced into the one above it."""
    path = Path(path)
    if path.is_dir():
        return
    make_folder(path.parent)
    try:
        os.mkdir(path)
    except FileExistsError:
        return
    sync_folder(path.parent)


def write_atomic(path: Path, *parts: Buffer) -> None:
    """Replace `path` by the parts one after the other, or leave it as it was."""
    with writing(path) as temporary:
        for part in parts:
            temporary.write(part)


def write_text(path: Path, text: str) -> None:
    """`write_atomic` of UTF-8 text."""
    write_atomic(path, text.encode())


def write_json(path: Path, value: Any, indent: int | None = 1) -> None:
    """`write_atomic` of a value as JSON with a final newline; NaN and infinity are refused."""
    write_text(path, json.dumps(value, indent=indent, ensure_ascii=False, allow_nan=False) + "\n")


def write_csv(path: Path, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """`write_atomic` of a CSV with a header; None becomes an empty cell, text nothing that could run."""
    write_text(path, "".join(map(csv_row, (columns, *rows))))


@contextmanager
def writing(path: Path) -> Iterator[Temporary]:
    """A temporary to `write` to piece by piece; it becomes `path` if the block ends well."""
    make_folder(Path(path).parent)
    with filling(Path(path).parent) as temporary:
        yield temporary
    commit(temporary, Path(path))


class Temporary:
    """A written, synced file that has no name yet; held under a lock until committed or discarded."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / f"{TEMPORARY}{os.getpid()}-{uuid.uuid4().hex}"
        self.fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        try:
            flock(self.fd)
        except BaseException:
            self.discard()
            raise

    def write(self, data: Buffer) -> int:
        _write_all(self.fd, data)
        return memoryview(data).nbytes

    def flush(self) -> None:
        """Nothing is held back; file-like objects are asked for this."""

    def discard(self) -> None:
        """Remove it; harmless when it is already gone."""
        self.close()
        try:
            os.unlink(self.path)
        except FileNotFoundError:
            return

    def close(self) -> None:
        if self.fd >= 0:
            fd, self.fd = self.fd, -1
            os.close(fd)


@contextmanager
def filling(folder: Path) -> Iterator[Temporary]:
    """A new temporary to `write` to, synced when the block ends well, discarded when not."""
    temporary = Temporary(folder)
    try:
        yield temporary
        os.fsync(temporary.fd)
    except BaseException:
        temporary.discard()
        raise


def commit(temporary: Temporary, path: Path) -> None:
    """Give a temporary its final name; after this call it survives a power cut."""
    try:
        os.rename(temporary.path, path)
    except BaseException:
        temporary.discard()
        raise
    temporary.close()
    sync_folder(path.parent)


def append(path: Path, data: Buffer) -> None:
    """Add to a file that grows; a kill may leave a part of it.  Hold its lock."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC), "ab", buffering=0) as file:
        _write_all(file.fileno(), data)
        os.fsync(file.fileno())


@contextmanager
def growing(path: Path, keep_bytes: int) -> Iterator[Callable[[Buffer], None]]:
    """Go on writing a file after its first `keep_bytes`; what there is when it breaks off stays."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC
    fd = os.open(path, flags if keep_bytes else flags | os.O_TRUNC, 0o666)
    try:
        os.lseek(fd, keep_bytes, os.SEEK_SET)
        yield partial(_write_all, fd)
        os.fsync(fd)
    finally:
        os.close(fd)


def remove(path: Path) -> None:
    os.unlink(path)
    sync_folder(Path(path).parent)


def read_bytes(path: Path, limit_bytes: int = 1 << 30) -> bytes:
    """The whole of a regular file; OSError if there is none, ValueError if it is over the limit."""
    with os.fdopen(open_regular(path), "rb", buffering=0) as file:
        if (size := size_of(file.fileno())) > limit_bytes:
            raise ValueError(f"{path} has {size} bytes; at most {limit_bytes} are read")
        data = bytearray(size)
        read_into(file.fileno(), data, 0)
    return bytes(data)


def ends(path: Path, count: int) -> bytes:
    """The first and the last `count` bytes of a regular file, one after the other."""
    fd = open_regular(path)
    try:
        size = size_of(fd)
        return os.pread(fd, count, 0) + os.pread(fd, count, max(0, size - count))
    finally:
        os.close(fd)


def open_regular(path: Path) -> int:
    """A descriptor for reading; ValueError for links, folders, pipes and devices."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as refused:
        if refused.errno == errno.ELOOP:
            raise ValueError(f"{path} is a symbolic link, not a regular file") from None
        raise
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise ValueError(f"{path} is not a regular file")
    return fd


def close(fd: int) -> None:
    os.close(fd)


def size_of(fd: int) -> int:
    return os.fstat(fd).st_size


def read_into(fd: int, buffer: Buffer, offset: int) -> None:
    """Fill the buffer from `offset` of the file; EOFError where the file ends before it is full."""
    view = memoryview(buffer).cast("B")
    while view.nbytes:
        count = os.preadv(fd, [view], offset)
        if count == 0:
            raise EOFError(f"the file ends at byte {offset}, {view.nbytes} bytes too early")
        view, offset = view[count:], offset + count


def listing(folder: Path) -> dict[str, int]:
    """Names and sizes in bytes of what lies in a folder, {} if there is none."""
    sizes: dict[str, int] = {}
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                # A temporary may get its final name between the two calls.
                with suppress(FileNotFoundError):
                    sizes[entry.name] = entry.stat(follow_symlinks=False).st_size
    except FileNotFoundError:
        return {}
    return sizes


@contextmanager
def lock(path: Path) -> Iterator[int]:
    """Hold a file's or folder's lock, yields its descriptor; waits for its holder, and the dead hold none."""
    if path.is_dir():
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    else:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    try:
        flock(fd)
        yield fd
    finally:
        os.close(fd)


def flock(fd: int) -> None:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
    except OSError as refused:
        # Not fatal: some network file systems have no locks.  There gc goes by age alone, and two writers
        # may at worst store the same crop twice.
        if refused.errno not in NO_LOCKS:
            raise


def _write_all(fd: int, part: Buffer) -> None:
    view = memoryview(part).cast("B")
    while view.nbytes:
        view = view[os.write(fd, view) :]


def sync_folder(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
