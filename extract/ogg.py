"""Ogg: every page is walked: its checksum, its number, its granule position and the end of the stream."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from typing import BinaryIO

from mmmos.extract.audio_info import AudioError
from mmmos.extract.promise import CONVERT, Promise, check_tail, size_of

PAGE = struct.Struct("<4sBBqIIIB")
BEGINS, ENDS = 2, 4
CODECS = {b"\x01vorbis": "Ogg Vorbis", b"OpusHead": "Ogg Opus", b"\x7fFLAC": "Ogg FLAC"}
REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))
"""Each byte with its bits in the other order: Ogg's checksum is zlib's CRC-32 mirrored."""


@dataclass
class _Stream:
    """What the pages so far said; `granule` is the highest position."""

    serial: int
    number: int = 0
    granule: int = 0
    ended: bool = False


def promise(stream: BinaryIO, start: int) -> Promise:
    """Every page from `start` on checked."""
    first = _page(stream, start)
    if first is None or not first[1] & BEGINS:
        raise AudioError("its first page does not begin a stream: cut at the start")
    head, seen = first[6], _Stream(first[3])
    codec = next((name for magic, name in CODECS.items() if head.startswith(magic)), None)
    if codec is None:
        raise AudioError(f"Ogg with neither Vorbis nor Opus nor FLAC is not read; {CONVERT}")
    size, at = size_of(stream), start
    while at < size:
        page = _page(stream, at)
        if page is None:
            if seen.ended:
                check_tail(stream, at, "its last page")
            break
        _take(page, seen)
        at += page[0]
    if not seen.ended:
        raise AudioError(f"cut short: no last page of the stream in its {seen.number} pages")
    return _length(codec, head, seen.granule)


Page = tuple[int, int, int, int, int, int, bytes]
"""Bytes, flags, granule position, serial number, page number, checksum, content."""


def _page(stream: BinaryIO, at: int) -> Page | None:
    """The page at `at`; None where none begins there.  AudioError for one that is damaged or cut."""
    stream.seek(at)
    head = stream.read(PAGE.size)
    if len(head) < PAGE.size or head[:5] != b"OggS\0":
        return None
    _, _, flags, granule, serial, number, checksum, segments = PAGE.unpack(head)
    lengths = stream.read(segments)
    body = stream.read(sum(lengths))
    if len(lengths) < segments or len(body) < sum(lengths):
        raise AudioError(f"cut short: page {number} is not whole")
    if crc(head[:22] + bytes(4) + head[26:] + lengths + body) != checksum:
        raise AudioError(f"damaged: page {number} does not fit its checksum")
    return PAGE.size + segments + len(body), flags, granule, serial, number, checksum, body


def _take(page: Page, seen: _Stream) -> None:
    _, flags, granule, serial, number, _, _ = page
    if seen.ended and flags & BEGINS:
        raise AudioError(f"several streams one after another: only the first would be heard; {CONVERT}")
    if serial != seen.serial:
        raise AudioError(f"several streams side by side in one file; {CONVERT}")
    if seen.ended:
        raise AudioError(f"page {number} follows the page that ends the stream")
    if number != seen.number:
        raise AudioError(f"page {seen.number} is lost: page {number} stands in its place")
    if granule >= 0:
        if granule < seen.granule:
            raise AudioError(f"page {number} goes back from position {seen.granule} to {granule}")
        seen.granule = granule
    elif flags & ENDS:
        raise AudioError(f"page {number} ends the stream without saying where: damaged")
    seen.number, seen.ended = number + 1, bool(flags & ENDS)


def _length(codec: str, head: bytes, granule: int) -> Promise:
    if codec == "Ogg Opus" and len(head) >= 19:
        preskip, rate_hz = struct.unpack_from("<HI", head, 10)
        rate_hz = rate_hz if rate_hz in (8000, 12000, 16000, 24000) else 48000
        return Promise(codec, max(0, granule - preskip) * rate_hz // 48000)
    return Promise(codec, granule)


def crc(data: bytes) -> int:
    """Ogg's CRC-32: polynomial 0x04c11db7, most significant bit first, from zero."""
    mirrored = zlib.crc32(data.translate(REVERSED), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int(f"{mirrored:032b}"[::-1], 2)
