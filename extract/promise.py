"""What a container says about its audio, and how its bytes are looked at."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import BinaryIO

from mmmos.extract.audio_info import AudioError

CONVERT = "convert it first: ffmpeg -i FILE -vn FILE.wav"
"""What to do about audio that is not read."""
ZEROS_AT_A_TIME = 1 << 20
LYRICS_END = (b"LYRICS200", b"LYRICSEND")


@dataclass(frozen=True)
class Promise:
    """What a container says that it holds.

    Attributes
    ----------
    container : str
        Its name.
    frames : int
        So many have to be decoded, no more and no fewer.
    rate_hz : int, optional
        Sample rate; None where the container leaves it to libsndfile.
    md5 : str
        Of the decoded samples, hex; "" where there is none (FLAC).
    bits : int
        Of one sample of the md5.
    is_estimated : bool
        libsndfile only estimates the length of such a file (MP3 without a count).
    """

    container: str
    frames: int
    rate_hz: int | None = None
    md5: str = ""
    bits: int = 0
    is_estimated: bool = False


def read_at(stream: BinaryIO, at: int, count: int) -> bytes:
    """Up to `count` bytes from `at`; moves neither the stream's place nor its decoder's."""
    return os.pread(stream.fileno(), count, at)


def size_of(stream: BinaryIO) -> int:
    """Bytes of an open file."""
    return os.fstat(stream.fileno()).st_size


def check_tail(stream: BinaryIO, at: int, what: str) -> None:
    """AudioError unless nothing, zeros or tags (ID3, APE, Lyrics3) are all that follows from `at` on.

    Parameters
    ----------
    what : str
        Of the reason: what ends at `at`.
    """
    end = size_of(stream)
    if end - at >= 128 and read_at(stream, end - 128, 3) == b"TAG":
        end -= 128
    while at < end and (length := tag_length(read_at(stream, at, 32))):
        at += length
    if at < end and read_at(stream, at, 11) == b"LYRICSBEGIN" and read_at(stream, end - 9, 9) in LYRICS_END:
        return
    while at < end:
        part = read_at(stream, at, min(ZEROS_AT_A_TIME, end - at))
        if part.strip(b"\0"):
            raise AudioError(
                f"{end - at} bytes follow {what}, neither audio of it nor tags: damaged, or files put "
                f"together; {CONVERT}"
            )
        at += len(part) or end - at


def id3_length(head: bytes) -> int:
    """Bytes of the ID3v2 tag that begins with these 10 bytes; 0 where none does."""
    if len(head) < 10 or head[:3] != b"ID3" or any(byte & 0x80 for byte in head[6:10]):
        return 0
    size = head[6] << 21 | head[7] << 14 | head[8] << 7 | head[9]
    return 10 + size + (10 if head[5] & 0x10 else 0)


def tag_length(head: bytes) -> int:
    """Bytes of the ID3v2 or APE tag that begins with these 32 bytes; 0 where none does."""
    if head[:8] == b"APETAGEX" and len(head) == 32:
        return int.from_bytes(head[12:16], "little") + (32 if head[23] & 0x80 else 0) or 32
    return id3_length(head)


def after_id3(stream: BinaryIO) -> int:
    """Where the audio begins behind ID3v2 tags at the start of the file."""
    at, size = 0, size_of(stream)
    while at < size and (length := id3_length(read_at(stream, at, 10))):
        at += length
    return at
