"""The content id of a file, and whether an open file is still the one that was looked at.

The id is a BLAKE2b of the file's bytes, 24 bytes or 48 hex digits: nobody can make two files with one id.
Earlier versions took xxh3-128 (32 hex digits), which protects against accidents only; features that were
stored under such an id are still found by it.
"""

from __future__ import annotations

import hashlib
import os
import stat
import threading
import time
from collections import OrderedDict
from pathlib import Path
from typing import BinaryIO

import xxhash

from mmmos.extract.audio_info import AudioError

MAX_BYTES = 16 * 2**30
ID_BYTES = 24
OLD_DIGITS = 32
"""Hex digits of the ids of earlier versions."""
CHANGED = "it changed since it was surveyed; survey it again"
CHANGING = "it changed while it was read"
BLOCK_BYTES = 1 << 20
MAX_KNOWN = 4096
UNSETTLED_S = 2.0
"""How long after a change two different contents may still have one time: the coarsest clock of a disk."""

Stamp = tuple[int, int, int, int, int]
"""Device, inode, bytes, times of change of the content and of the inode in ns."""


def open_regular(path: Path) -> BinaryIO:
    """A regular file that is neither empty nor beyond MAX_BYTES, open for reading."""
    try:
        stream = open(path, "rb", opener=_opener)  # noqa: SIM115 - the caller closes it
    except FileNotFoundError:
        raise AudioError("no such file") from None
    except IsADirectoryError:
        raise AudioError("not a regular file") from None
    except OSError as error:
        raise AudioError(f"cannot be read: {error.strerror or error}") from None
    except ValueError as error:  # a NUL, or what no file's name can hold
        raise AudioError(f"no file can have this name: {error}") from None
    status = os.fstat(stream.fileno())
    reason = ""
    if not stat.S_ISREG(status.st_mode):
        reason = "not a regular file"
    elif not status.st_size:
        reason = "empty file"
    elif status.st_size > MAX_BYTES:
        reason = f"{status.st_size / 2**30:.1f} GiB; at most {MAX_BYTES / 2**30:.0f} GiB are read"
    if reason:
        stream.close()
        raise AudioError(reason)
    return stream


def _opener(path: str, flags: int) -> int:
    """Does not wait for the other end of a pipe."""
    return os.open(path, flags | os.O_NONBLOCK)


def stamp_of(stream: BinaryIO) -> Stamp:
    """What tells the state of an open file."""
    status = os.fstat(stream.fileno())
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def is_settled(changed_ns: int) -> bool:
    """Whether a later change of a file that last changed then must give it another time of change."""
    return abs(time.time() - changed_ns / 1e9) > UNSETTLED_S


def content_ids(stream: BinaryIO) -> tuple[str, str]:
    """(content id, the id that earlier versions gave), from one reading of all bytes."""
    new, old = hashlib.blake2b(digest_size=ID_BYTES), xxhash.xxh3_128()
    stream.seek(0)
    while block := stream.read(BLOCK_BYTES):
        new.update(block)
        old.update(block)
    return new.hexdigest(), old.hexdigest()


_known: OrderedDict[Stamp, tuple[str, str]] = OrderedDict()
_guard = threading.Lock()
_hashing = [threading.Lock() for _ in range(16)]


def check_content(stream: BinaryIO, content_id: str) -> None:
    """AudioError unless an open file holds the bytes of a content id, new or old; "" is not compared.

    The bytes are hashed once for each state of a file and process.
    """
    if not content_id:
        return
    stamp = stamp_of(stream)
    with _hashing[stamp[1] % len(_hashing)]:  # threads that read crops of one file hash it once
        with _guard:
            ids = _known.get(stamp)
        if ids is None:
            ids = content_ids(stream)
            if is_settled(stamp[-1]):
                with _guard:
                    _known[stamp] = ids
                    while len(_known) > MAX_KNOWN:
                        _known.popitem(last=False)
    if content_id not in ids:
        raise AudioError(CHANGED)


def check_unchanged(stream: BinaryIO, stamp: Stamp) -> None:
    """AudioError where an open file was written to since its stamp was taken."""
    if stamp_of(stream) != stamp:
        raise AudioError(CHANGING)
