"""Files that grow: one JSON object a line, each with its own checksum (see `sealed.seal_line`)."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from mmmos.store import files, sealed

LOCK_SUFFIX = ".flock"
MAX_BYTES, MAX_LINE_BYTES = 1 << 32, 1 << 22


def append_lines(path: Path, values: Iterable[Mapping[str, Any]]) -> None:
    """Add objects to the end of a file, which is made where there is none, and sync it."""
    data = b"".join(sealed.seal_line(json.dumps(one, separators=(",", ":"))) for one in values)
    files.make_folder(path.parent)
    with files.lock(path.with_name(path.name + LOCK_SUFFIX)):
        cut_torn_tail(path)
        if not path.exists():
            files.write_atomic(path)
        files.append(path, data)


def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """The objects of a file in order, but for a last line without its end: it is being written, or was torn.

    Raises
    ------
    ValueError
        Naming file and line, for a line that is not as it was written (see `sealed.open_line`).
    """
    with os.fdopen(files.open_regular(path), "rb") as file:
        if (size := files.size_of(file.fileno())) > MAX_BYTES:
            raise ValueError(f"{path} has {size} bytes; at most {MAX_BYTES} are read")
        number = 0
        while (line := file.readline(MAX_LINE_BYTES)).endswith(b"\n"):
            number += 1
            yield sealed.open_line(line, f"{path} line {number}")
        if len(line) == MAX_LINE_BYTES:
            raise ValueError(f"{path} line {number + 1} has more than {MAX_LINE_BYTES} bytes")


def cut_torn_tail(path: Path) -> int:
    """Cut a file back to its last whole line; returns how many bytes went.  Hold its lock."""
    try:
        fd = files.open_regular(path)
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
    whole = files.read_bytes(path, MAX_BYTES)
    kept = whole[: whole.rfind(b"\n") + 1]
    files.write_atomic(path, kept)
    return len(whole) - len(kept)
