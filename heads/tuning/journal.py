"""A journal file that a killed worker cannot spoil, and how to tell that a worker is gone.

Every line carries its own checksum, so that a changed bit is found and named instead of tried as another
value.  Lines without one are those of earlier versions.
"""

from __future__ import annotations

import json
import os
import platform
import re
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

from optuna.storages.journal import BaseJournalBackend

from mmmos.store import files, sealed
from mmmos.store.lines import cut_torn_tail

LOCK_SUFFIX = ".flock"
MAX_JOURNAL_BYTES, MAX_LINE_BYTES = 1 << 32, 1 << 22
WORKER = re.compile(r"(.*) ([0-9]{1,9}) ([^ ]*)")


class JournalLock:
    """The lock of an Optuna journal file: it dies with its process, and mends what the last holder tore.

    Optuna's own lock is a file that a killed worker leaves behind for half a minute.  A worker that
    dies while it appends leaves a line without its end; whoever appended next would make the journal
    unreadable, so every holder first cuts the file back to its last whole line.
    """

    def __init__(self, journal: Path) -> None:
        self.journal = Path(journal)
        self._held: AbstractContextManager[int] | None = None

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


class SealedJournal(BaseJournalBackend):
    """Optuna's journal in a file, one JSON object a line, each with its checksum.

    Raises
    ------
    ValueError
        Naming file and line, for a line that is not as it was written, and for what is no file.
    """

    def __init__(self, journal: Path) -> None:
        self.journal, self._lock = Path(journal), JournalLock(journal)
        self._ends = [0]  # byte at which the n-th line begins
        files.make_folder(self.journal.parent)
        with self._locked():
            if not self.journal.exists():
                files.write_atomic(self.journal)
        files.close(files.open_regular(self.journal))

    def read_logs(self, log_number_from: int) -> Iterator[dict[str, Any]]:
        start = self._ends[min(log_number_from, len(self._ends) - 1)]
        fd = files.open_regular(self.journal)
        with os.fdopen(fd, "rb") as file:
            if (size := files.size_of(fd)) > MAX_JOURNAL_BYTES:
                raise ValueError(f"{self.journal} has {size} bytes; at most {MAX_JOURNAL_BYTES} are read")
            file.seek(start)
            number = min(log_number_from, len(self._ends) - 1)
            while (line := file.readline(MAX_LINE_BYTES)).endswith(b"\n"):
                start += len(line)
                number += 1
                if number == len(self._ends):
                    self._ends.append(start)
                if number > log_number_from:
                    yield sealed.open_line(line, f"{self.journal} line {number}")
            if len(line) == MAX_LINE_BYTES:
                raise ValueError(f"{self.journal} line {number + 1} has more than {MAX_LINE_BYTES} bytes")
            # Else another process is writing the last line, or died over it (see `cut_torn_tail`).

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        data = b"".join(sealed.seal_line(json.dumps(log, separators=(",", ":"))) for log in logs)
        with self._locked():
            files.append(self.journal, data)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        self._lock.acquire()
        try:
            yield
        finally:
            self._lock.release()


def worker_key() -> str:
    """ "host pid start" of this process; the start is part of it because a pid may be given out again."""
    return f"{platform.node()} {os.getpid()} {_started(os.getpid())}"


def is_alive(worker: str) -> bool | None:
    """Whether a worker still runs; None for one of another machine, which cannot be told from here."""
    match = WORKER.fullmatch(str(worker))
    if match is None:
        return False
    host, pid, started = match.groups()
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
