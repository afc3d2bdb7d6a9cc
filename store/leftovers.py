"""What a writer that was killed leaves in a folder, told from what a living one is writing."""

from __future__ import annotations

import fcntl
import os
import time
from dataclasses import dataclass
from pathlib import Path

from mmmos.store.files import NO_LOCKS, TEMPORARY, listing, open_regular


@dataclass(frozen=True)
class Leftover:
    """A temporary file, how long ago it was last written, and whether a process still holds its lock."""

    path: Path
    bytes: int
    age_s: float
    in_use: bool


def leftovers_in(folder: Path) -> list[Leftover]:
    """The temporary files in a folder, by name."""
    found = []
    for name, size in sorted(listing(folder).items()):
        if name.startswith(TEMPORARY):
            path = Path(folder) / name
            try:
                age_s = max(0.0, time.time() - path.lstat().st_mtime)
                found.append(Leftover(path, size, age_s, locked(path)))
            except FileNotFoundError:
                continue
    return found


def locked(path: Path) -> bool:
    """Whether a process holds a file's lock."""
    try:
        fd = open_regular(path)
    except ValueError:
        return True  # a link or the like: not ours to judge
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as refused:
        return refused.errno not in NO_LOCKS
    finally:
        os.close(fd)
    return False
