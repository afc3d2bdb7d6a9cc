"""MPEG audio (MP3): its frames are walked and counted, and compared with the count that it states.

libsndfile takes the length of an MP3 from a Xing, Info or VBRI frame, and estimates it from the size of the
file where there is none.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from functools import lru_cache
from typing import BinaryIO

from mmmos.extract.audio_info import AudioError
from mmmos.extract.promise import Promise, check_tail, read_at, size_of

RATES_HZ = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}
"""By the header's version bits: MPEG-1, MPEG-2, MPEG-2.5."""
KBITS = {
    (True, 1): (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (True, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (True, 3): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (False, 1): (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (False, 2): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (False, 3): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
"""By (MPEG-1 or not, layer), for bit rate indices from 1 to 14."""
MAX_JUNK = 1 << 16
"""Zeros that may stand before the first frame."""
DECODER_DELAY = 529
"""Samples by which a Layer III decoder lags; taken off the start where a LAME tag is there."""


@dataclass(frozen=True)
class Header:
    """One frame's header: bytes and samples of the frame, and what has to be the same in all frames."""

    length: int
    samples: int
    rate_hz: int
    version: int
    layer: int
    is_mono: bool

    @property
    def kind(self) -> tuple[int, int, int, bool]:
        return self.rate_hz, self.version, self.layer, self.is_mono

    @property
    def side_bytes(self) -> int:
        """Of the side information that follows a Layer III header."""
        return (17, 32)[not self.is_mono] if self.version == 3 else (9, 17)[not self.is_mono]


@dataclass(frozen=True)
class _Info:
    """What a frame without audio says: frames, and samples that are left out at both ends."""

    tag: bytes
    frames: int | None
    left_out: int = 0


@lru_cache(maxsize=4096)
def parse(head: bytes) -> Header | None:
    """The header in 4 bytes; None for anything else, and for free format, which cannot be counted."""
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE0 != 0xE0:
        return None
    version, layer = head[1] >> 3 & 3, 4 - (head[1] >> 1 & 3)
    rate, kbit, padding = head[2] >> 2 & 3, head[2] >> 4, head[2] >> 1 & 1
    if version == 1 or layer == 4 or rate == 3 or not 1 <= kbit <= 14:
        return None
    is_first, rate_hz = version == 3, RATES_HZ[version][rate]
    bits = KBITS[is_first, layer][kbit - 1] * 1000
    samples = 384 if layer == 1 else 1152 if layer == 2 or is_first else 576
    slot = 4 if layer == 1 else 1
    length = (samples // 8 // slot * bits // rate_hz + padding) * slot
    return Header(length, samples, rate_hz, version, layer, head[3] >> 6 == 3)


def is_adts(head: bytes) -> bool:
    """Whether it is AAC as it is broadcast: the same sync word, layer bits of zero."""
    return len(head) > 1 and head[0] == 0xFF and head[1] & 0xF6 == 0xF0


def find_first(stream: BinaryIO, at: int) -> int | None:
    """Where the first frame begins, zeros before it passed over; None where none does."""
    head = read_at(stream, at, MAX_JUNK)
    first = at + len(head) - len(head.lstrip(b"\0"))
    return first if parse(read_at(stream, first, 4)) else None


def promise(stream: BinaryIO, first: int) -> Promise:
    """Every frame counted from the one at `first`."""
    head = parse(read_at(stream, first, 4))
    assert head is not None
    info = _count_frame(read_at(stream, first, head.length), head)
    begin = first + head.length if info else first
    count, end = _walk(stream, begin, head)
    stated = info.frames if info else None
    if not count:
        raise AudioError("MP3 without a single whole frame")
    if stated is not None and stated != count:
        length_s, there_s = (n * head.samples / head.rate_hz for n in (stated, count))
        what = "cut short" if stated > count else "its header lies, or files were put together"
        raise AudioError(
            f"{what}: the header says {stated} frames ({length_s:.2f} s), there are {count} ({there_s:.2f} s)"
        )
    if stated is None and parse(read_at(stream, end, 4)):
        raise AudioError(f"cut short within a frame, after {count * head.samples / head.rate_hz:.2f} s")
    check_tail(stream, end, "the last whole MPEG frame")
    samples = count * head.samples
    if info and info.tag != b"VBRI" and stated is not None:
        samples -= info.left_out
        return Promise("MP3", samples, head.rate_hz)
    # libmpg123 decodes a VBRI frame as if it were audio.
    more = head.samples if info and info.tag == b"VBRI" else 0
    return Promise("MP3", samples + more, head.rate_hz, is_estimated=True)


def _walk(stream: BinaryIO, at: int, first: Header) -> tuple[int, int]:
    """The number of whole frames of one kind from `at` on, and where the last of them ends."""
    size, count, kind = size_of(stream), 0, first.kind
    stream.seek(at)
    while at < size:
        header = parse(start := stream.read(4))
        if header is None or header.kind != kind or at + header.length > size:
            break
        body = stream.read(header.length - 4)
        if count and _count_frame(start + body, header):
            raise AudioError(f"a second MP3 begins after {count * header.samples / header.rate_hz:.2f} s")
        count, at = count + 1, at + header.length
    return count, at


def _count_frame(frame: bytes, header: Header) -> _Info | None:
    """What a Xing, Info or VBRI frame says; None for a frame of audio."""
    if header.layer != 3:
        return None
    if frame[36:40] == b"VBRI" and len(frame) >= 54:
        return _Info(b"VBRI", struct.unpack_from(">I", frame, 50)[0])
    at = 4 + header.side_bytes
    tag = frame[at : at + 4]
    if tag not in (b"Xing", b"Info") or len(frame) < at + 12:
        return None
    (flags,) = struct.unpack_from(">I", frame, at + 4)
    frames = struct.unpack_from(">I", frame, at + 8)[0] if flags & 1 else None
    lame = at + 8 + sum(size for bit, size in ((1, 4), (2, 4), (4, 100), (8, 4)) if flags & bit)
    delays = frame[lame + 21 : lame + 24]
    if len(delays) < 3:
        return _Info(tag, frames)
    delay, padding = delays[0] << 4 | delays[1] >> 4, (delays[1] & 15) << 8 | delays[2]
    return _Info(tag, frames, delay + DECODER_DELAY + max(0, padding - DECODER_DELAY))


class Longer:
    """A file that says that it is longer than it is.

    libsndfile decodes no more of an MP3 than it estimates from the first frame and the size of the file; this
    way it estimates too much, and stops where the file really ends.
    """

    def __init__(self, stream: BinaryIO) -> None:
        self.stream, self.at = stream, 0
        self.end = 64 * size_of(stream) + 4096

    def seek(self, at: int, whence: int = 0) -> int:
        self.at = at + (0, self.at, self.end)[whence]
        return self.at

    def tell(self) -> int:
        return self.at

    def read(self, count: int) -> bytes:
        if self.at >= self.end - 128:  # where libmpg123 looks for a tag, and insists on finding 128 bytes
            data = bytes(min(count, self.end - self.at))
        else:
            data = read_at(self.stream, self.at, count)
        self.at += len(data)
        return data
