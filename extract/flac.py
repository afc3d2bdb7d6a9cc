"""FLAC: its STREAMINFO, and the rate that its first frame says."""

from __future__ import annotations

import hashlib
from typing import BinaryIO

import numpy as np

from mmmos.extract.audio_info import AudioError, Samples
from mmmos.extract.promise import Promise, after_id3, check_tail, read_at, size_of

RATES_HZ = (0, 88200, 176400, 192000, 8000, 16000, 22050, 24000, 32000, 44100, 48000, 96000)
"""By the code in a frame's header; 0 leaves it to STREAMINFO."""
MAX_BLOCKS = 100_000
READ_AHEAD = 1 << 16
SECOND = b"fLaC\0\0\0\x22"
"""How every FLAC begins."""
MAX_MD5_BITS = 24
"""What float32 holds exactly: the decoded samples of wider ones cannot be compared with their MD5."""


def promise(stream: BinaryIO, start: int) -> Promise:
    """What STREAMINFO says; AudioError where it says no length, or another rate than the frames."""
    head = read_at(stream, start, 4 + 4 + 34)
    if len(head) < 42 or head[4] & 0x7F:
        raise AudioError("FLAC without its STREAMINFO")
    packed = int.from_bytes(head[18:26], "big")
    rate_hz, bits, total = packed >> 44, (packed >> 36 & 31) + 1, packed & (1 << 36) - 1
    if not total:
        raise AudioError(
            "FLAC whose header gives no length, as one written to a pipe has; write it again: "
            "ffmpeg -i FILE FILE.flac"
        )
    stated_hz = _rate_of(read_at(stream, _frames_at(stream, start), 16))
    if stated_hz and stated_hz != rate_hz:
        raise AudioError(f"the header says {rate_hz} Hz, the first frame {stated_hz} Hz")
    md5 = head[26:42].hex() if any(head[26:42]) and bits <= MAX_MD5_BITS else ""
    return Promise("FLAC", total, rate_hz=rate_hz, md5=md5, bits=bits)


def _frames_at(stream: BinaryIO, start: int) -> int:
    """Where the first frame begins, behind all metadata."""
    at = start + 4
    for _ in range(MAX_BLOCKS):
        head = read_at(stream, at, 4)
        if len(head) < 4:
            raise AudioError("cut short within its metadata")
        at += 4 + int.from_bytes(head[1:], "big")
        if head[0] & 0x80:
            return at
    raise AudioError(f"more than {MAX_BLOCKS} blocks of metadata")


def _rate_of(frame: bytes) -> int | None:
    """The rate in a frame's header, None where it leaves it to STREAMINFO."""
    if len(frame) < 16 or frame[0] != 0xFF or frame[1] & 0xFE != 0xF8:
        raise AudioError("no frame follows its metadata: cut short, or damaged")
    code, size = frame[2] & 15, frame[2] >> 4
    if code < len(RATES_HZ):
        return RATES_HZ[code] or None
    number = frame[4]  # coded as in UTF-8: leading ones say how many bytes
    at = 4 + max(1, 8 - (number ^ 0xFF).bit_length()) + {6: 1, 7: 2}.get(size, 0)
    if code == 12:
        return frame[at] * 1000
    value = int.from_bytes(frame[at : at + 2], "big")
    return {13: value, 14: value * 10}.get(code)


def check_end(stream: BinaryIO, read_to: int) -> None:
    """AudioError where more than tags follows the audio, or another FLAC does.

    Parameters
    ----------
    read_to : int
        How far libFLAC has read when it has decoded all: up to READ_AHEAD bytes beyond the last frame.
    """
    check_tail(stream, read_to, "its last frame")
    begin = max(after_id3(stream) + 4, read_to - READ_AHEAD)
    if SECOND in read_at(stream, begin, min(size_of(stream) - begin, 2 * READ_AHEAD)):
        raise AudioError("a second FLAC follows the first: only the first would be heard")


class Md5:
    """The MD5 over decoded samples, which FLAC keeps of the coded ones; libsndfile does not compare it."""

    def __init__(self, promise: Promise) -> None:
        self.expected, self.bits = promise.md5, promise.bits
        self.state = hashlib.md5(usedforsecurity=False)

    def take(self, block: Samples) -> None:
        """Add float32 [n, channels]: integers of `bits` bits over 2 ** (bits - 1), exactly."""
        scaled = block * np.float32(2.0 ** (self.bits - 1))
        if self.bits <= 8:
            self.state.update(scaled.astype(np.int8).data)
        elif self.bits <= 16:
            self.state.update(scaled.astype("<i2").data)
        else:
            wide = np.ascontiguousarray(scaled.astype("<i4"))
            self.state.update(np.ascontiguousarray(wide.view(np.uint8).reshape(-1, 4)[:, :3]).data)

    def check(self) -> None:
        if self.state.hexdigest() != self.expected:
            raise AudioError("damaged: what it decodes to does not have the MD5 in its header")
