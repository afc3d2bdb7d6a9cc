"""Which container a file is, and how long the container itself says that the audio is.

libsndfile reads many containers, and often goes by the size of the file where the header says something else.
So each container that is read is walked here first, and what is decoded is counted against it.  A container
whose length nobody can check is refused by its name.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import BinaryIO

from mmmos.extract import chunked, flac, mpeg, ogg
from mmmos.extract.audio_info import AudioError
from mmmos.extract.promise import CONVERT, Promise, after_id3, read_at

READ = "WAV, RF64, W64, AIFF, CAF, AU, FLAC, Ogg (Vorbis, Opus, FLAC) and MP3"


@dataclass(frozen=True)
class _Kind:
    """How a container begins: `magic` at `offset`, and what reads its promise."""

    magic: bytes
    promise: Callable[[BinaryIO, int], Promise]
    offset: int = 0


KINDS = (
    _Kind(b"RIFF", chunked.wav),
    _Kind(b"RIFX", chunked.wav),
    _Kind(b"RF64", chunked.wav),
    _Kind(b"riff\x2e\x91\xcf\x11", chunked.w64),
    _Kind(b"FORM", chunked.aiff),
    _Kind(b"caff", chunked.caf),
    _Kind(b".snd", chunked.au),
    _Kind(b"dns.", chunked.au),
    _Kind(b"fLaC", flac.promise),
    _Kind(b"OggS", ogg.promise),
)

REFUSED = (
    (4, b"ftyp", "MPEG-4 (m4a, mp4, mov)"),
    (0, b"\x1aE\xdf\xa3", "WebM or Matroska"),
    (0, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "WMA or another ASF file"),
    (0, b"ADIF", "AAC"),
    (0, b"#!AMR", "AMR"),
    (0, b"wvpk", "WavPack"),
    (0, b"MAC ", "Monkey's Audio"),
    (0, b"TTA1", "True Audio"),
    (0, b"MPCK", "Musepack"),
    (0, b"DSD ", "DSD"),
    (0, b"FRM8", "DSD"),
    (0, b"FLV\x01", "Flash video"),
    (0, b"MThd", "MIDI"),
    (0, b"Creative Voice File", "VOC"),
    (0, b"NIST_1A", "NIST Sphere"),
    (0, b"PVF1\n", "PVF"),
    (0, b"MATLAB", "MATLAB"),
    (0, b"2BIT", "AVR"),
    (0, b" paf", "PAF"),
    (0, b"fap ", "PAF"),
    (0, b"ALawSoundFile**", "WVE"),
    (0, b"Extended Instrument", "XI"),
    (0, b"\x64\xa3\x01\x00", "IRCAM"),
    (0, b"\x64\xa3\x02\x00", "IRCAM"),
    (0, b"\x64\xa3\x03\x00", "IRCAM"),
    (0, b"\x64\xa3\x04\x00", "IRCAM"),
    (0, b"\x00\x01\xa3\x64", "IRCAM"),
    (0, b"\x00\x02\xa3\x64", "IRCAM"),
    (0, b"\x00\x04\xa3\x64", "IRCAM"),
)
"""(offset, bytes, name) of audio that is known and not read."""


def promise_of(stream: BinaryIO) -> Promise:
    """What the container of an open file promises.

    Raises
    ------
    AudioError
        It is none of those that are read, it is cut short or damaged, it says nothing about its length, or
        more follows it than is heard.
    """
    start = after_id3(stream)
    head = read_at(stream, start, 64)
    for kind in KINDS:
        if head.startswith(kind.magic):
            return kind.promise(stream, start)
    for offset, magic, name in REFUSED:
        if head[offset:].startswith(magic):
            raise AudioError(f"{name} is not read; {CONVERT}")
    if mpeg.is_adts(head):
        raise AudioError(f"AAC is not read; {CONVERT}")
    if (first := mpeg.find_first(stream, start)) is not None:
        return mpeg.promise(stream, first)
    raise AudioError(f"not audio in a container that is read ({READ})")
