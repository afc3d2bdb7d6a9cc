"""A journal file that a killed worker cannot spoil, and how to tell that a worker is gone."""

from __future__ import annotations

import os
import platform
from contextlib import AbstractContextManager
from pathlib import Path

from mmmos.store import files

LOCK_SUFFIX = ".flock"
MAX_JOURNAL_BYTES = 1 << 32


class JournalLock:
    """The lock of an Optuna journal file: it dies with its process, and mends what the last holder tore.

    Optuna's own lock is a file that a killed worker leaves behind for half a minute.  A worker that
    dies while it appends leaves a line without its end; whoever appended next would make the journal
    unreadable, so every holder first cuts the file back to its last whole line.
    """

    def __init__(self, journal: Path) -> None:
        self.journal = Path(journal)
        self._held: AbstractContextManager[None] | None = None

    def acquire(self) -> bool:
        held = files.lock(self.journal.with_name(self.journal.name + LOCK_SUFFIX))
        held.__enter__()
        self._held = held
        cut_torn_tail(self.journal)
        return True

    def release(self) -> None:
        held, self._held = self._held, None
        if held is None:
            raise RuntimeError("the journal's lock was not held")
        held.__exit__(None, None, None)


def cut_torn_tail(journal: Path) -> int:
    """Cut a journal back to its last whole line; returns how many bytes went.  Hold its lock."""
    try:
        fd = files.open_regular(journal)
    except FileNotFoundError:
        return 0
    try:
        size = files.size_of(fd)
        last = bytearray(1)
        if size:
            files.read_into(fd, last, size - 1)
    finally:
        files.close(fd)
    if not size or last == b"\n":
        return 0
    whole = files.read_bytes(journal, MAX_JOURNAL_BYTES)
    kept = whole[: whole.rfind(b"\n") + 1]
    files.write_atomic(journal, kept)
    return len(whole) - len(kept)


def worker_key() -> str:
    """ "host pid start" of this process; the start is part of it because a pid may be given out again."""
    return f"{platform.node()} {os.getpid()} {_started(os.getpid())}"


def is_alive(worker: str) -> bool | None:
    """Whether a worker still runs; None for one of another machine, which cannot be told from here."""
    host, pid, started = worker.rsplit(" ", 2)
    if host != platform.node():
        return None
    return _started(int(pid)) == started != ""


def _started(pid: int) -> str:
    """A process' start in clock ticks after boot, "" if there is none (or, off Linux, just "running")."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        if Path("/proc/self/stat").exists():
            return ""
    else:
        state, *rest = stat.rpartition(")")[2].split()
        return "" if state in ("Z", "X") else rest[18]
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return ""
    except PermissionError:
        return "running"
    return "running"
