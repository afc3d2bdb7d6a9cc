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
BLOCK_BYTES = 1 << 16
"""So many are looked at at a time for the end of the last line."""


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
    """Cut a file back to its last whole line; returns how many bytes went.  Hold its lock.

    ValueError where it has no whole line and begins as none of ours does.
    """
    try:
        kept, size = whole_lines(path)
    except FileNotFoundError:
        return 0
    if kept < size:
        if not kept and files.ends(path, 1)[:1] != b"{":
            raise ValueError(f"{path} holds something else than lines of JSON: move it away")
        os.truncate(path, kept)
    return size - kept


def whole_lines(path: Path) -> tuple[int, int]:
    """How many bytes of a file are whole lines, and how many it has; only its end is read.

    ValueError where it ends in what is too long for a line: no file of ours was torn so.
    """
    fd = files.open_regular(path)
    try:
        size = start = files.size_of(fd)
        while start > max(0, size - MAX_LINE_BYTES):
            end, start = start, max(0, start - BLOCK_BYTES)
            block = bytearray(end - start)
            files.read_into(fd, block, start)
            if (last := block.rfind(b"\n")) >= 0:
                return start + last + 1, size
    finally:
        files.close(fd)
    if start:
        raise ValueError(f"{path} ends in a line of more than {MAX_LINE_BYTES} bytes")
    return 0, size
