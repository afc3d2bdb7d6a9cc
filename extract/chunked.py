"""Containers made of chunks (WAV, RF64, W64, AIFF, CAF) and AU: where the samples lie, and how many.

Every chunk is walked to the end of the file, whatever the outermost size says: the sizes of the samples' own
chunk and of what follows it have to be true.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import BinaryIO

from mmmos.extract.audio_info import AudioError
from mmmos.extract.promise import CONVERT, Promise, check_tail, read_at, size_of

MAX_CHUNKS = 100_000
UNKNOWN_SIZES = (0, 0x7FFFFFFF, 0xFFFFFFFF)
STREAMED = "as one written to a pipe has; write it again: ffmpeg -i FILE FILE.wav"
FILES = {b"RIFF", b"RIFX", b"RF64", b"FORM", b"caff"}
"""Chunks that are whole files: libsndfile hears the first one only."""
GUID_TAIL = bytes.fromhex("f3acd3118cd100c04f8edb8a")
"""The last 12 bytes of W64's names of chunks; the first four are WAV's."""
ADPCM = {2: "MS ADPCM", 17: "IMA ADPCM"}
ADPCM_SLACK = 1.1
"""Writers round the bytes a second, or leave the blocks' own headers out of them."""
PLAIN = {1: "PCM", 3: "float", 6: "A-law", 7: "mu-law"}
AU_BYTES = {1: 1, 2: 1, 3: 2, 4: 3, 5: 4, 6: 4, 7: 8, 27: 1}
AIFF_BYTES = {b"fl32": 4, b"FL32": 4, b"fl64": 8, b"FL64": 8, b"ulaw": 1, b"alaw": 1, b"ULAW": 1, b"ALAW": 1}
AIFF_PCM = {b"NONE", b"none", b"twos", b"sowt", b"raw ", b"in24", b"in32", b"42ni", b"23ni"}


@dataclass(frozen=True)
class _Layout:
    """How chunks are laid out: their header, whether its size counts itself, their alignment."""

    header: struct.Struct
    counts_itself: bool = False
    aligned: int = 2


@dataclass(frozen=True)
class Chunk:
    """Where the content of a chunk begins, and its bytes."""

    start: int
    size: int


LITTLE, BIG = _Layout(struct.Struct("<4sI")), _Layout(struct.Struct(">4sI"))
CAFF, WAVE64 = _Layout(struct.Struct(">4sq"), aligned=1), _Layout(struct.Struct("<16sQ"), True, 8)


def wav(stream: BinaryIO, start: int) -> Promise:
    """WAV of either byte order, and RF64."""
    head = read_at(stream, start, 12)
    if head[8:] != b"WAVE":
        raise AudioError(f"a RIFF file that holds {head[8:]!r}, not audio")
    layout = BIG if head[:4] == b"RIFX" else LITTLE
    large: int | None = None
    if head[:4] == b"RF64":
        sizes = read_at(stream, start + 12, 8 + 24)
        if len(sizes) < 32 or sizes[:4] != b"ds64":
            raise AudioError("RF64 without the chunk that gives its size")
        large = int.from_bytes(sizes[16:24], "little")
    chunks = _chunks(stream, start + 12, layout, b"data", large)
    return _wave("RF64" if large is not None else "WAV", stream, chunks, ">" if layout is BIG else "<")


def w64(stream: BinaryIO, start: int) -> Promise:
    """Sony Wave64."""
    return _wave("W64", stream, _chunks(stream, start + 40, WAVE64, b"data"), "<")


def aiff(stream: BinaryIO, start: int) -> Promise:
    """AIFF and AIFF-C."""
    form = read_at(stream, start + 8, 4)
    if form not in (b"AIFF", b"AIFC"):
        raise AudioError(f"an IFF file of the kind {form!r} is not read; {CONVERT}")
    chunks = _chunks(stream, start + 12, BIG, b"SSND")
    comm = _content(stream, chunks, b"COMM", 18)
    sound = _chunk(chunks, b"SSND")
    channels, frames, bits = struct.unpack_from(">hIh", comm)
    coding = comm[18:22] if form == b"AIFC" else b"NONE"
    (offset,) = struct.unpack(">I", read_at(stream, sound.start, 4))
    there = max(0, sound.size - 8 - offset)
    if coding == b"ima4":
        _compare(frames * channels * 34, there)
        return Promise("AIFF", frames * 64)
    width = (bits + 7) // 8 if coding in AIFF_PCM else AIFF_BYTES.get(coding)
    if width is None:
        raise AudioError(f"AIFF coded as {coding!r} is not read; {CONVERT}")
    _compare(frames * max(1, channels) * width, there)
    return Promise("AIFF", frames)


def caf(stream: BinaryIO, start: int) -> Promise:
    """Apple's Core Audio Format: what has packets of one size, and ALAC."""
    chunks = _chunks(stream, start + 8, CAFF, b"data")
    desc = _content(stream, chunks, b"desc", 32)
    _, coding, _, packet_bytes, packet_frames, _, _ = struct.unpack_from(">d4sIIIII", desc)
    there = _chunk(chunks, b"data").size - 4
    if packet_bytes and packet_frames:
        return Promise("CAF", _whole(there, packet_bytes) * packet_frames)
    if coding != b"alac":
        raise AudioError(f"CAF coded as {coding!r} is not read; {CONVERT}")
    packets, valid, priming, remainder = struct.unpack_from(">qqii", _content(stream, chunks, b"pakt", 24))
    if valid + priming + remainder != packets * packet_frames:
        raise AudioError(f"{packets} packets do not hold the {valid} frames that the header says")
    return Promise("CAF", valid)


def au(stream: BinaryIO, start: int) -> Promise:
    """Sun's and NeXT's .au of either byte order."""
    head = read_at(stream, start, 24)
    if len(head) < 24:
        raise AudioError("cut short within its header")
    order = ">" if head[:4] == b".snd" else "<"
    offset, size, coding, rate_hz, channels = struct.unpack_from(f"{order}5I", head, 4)
    if size in UNKNOWN_SIZES[1:]:
        raise AudioError(f"AU whose header gives no length, {STREAMED}")
    if coding not in AU_BYTES:
        raise AudioError(f"AU with the encoding {coding} is not read; {CONVERT}")
    _within(size, size_of(stream) - start - offset)
    check_tail(stream, start + offset + size, "its samples")
    return Promise("AU", _whole(size, AU_BYTES[coding] * max(1, channels)), rate_hz=rate_hz)


def _wave(name: str, stream: BinaryIO, chunks: dict[bytes, Chunk], order: str) -> Promise:
    """The promise of a `fmt ` and a `data` chunk."""
    form = _content(stream, chunks, b"fmt ", 16)
    tag, channels, rate_hz, byte_rate, block, bits = struct.unpack_from(f"{order}HHIIHH", form)
    if tag == 0xFFFE and len(form) >= 26:
        (tag,) = struct.unpack_from(f"{order}H", form, 24)
    size = _chunk(chunks, b"data").size
    if tag in ADPCM and block and len(form) >= 20:
        (samples,) = struct.unpack_from(f"{order}H", form, 18)
        pace = byte_rate * samples / (rate_hz * block or 1)
        if pace and not 1 / ADPCM_SLACK < pace < ADPCM_SLACK:
            raise AudioError(f"its header contradicts itself: {rate_hz} Hz, {byte_rate} bytes a second")
        return Promise(name, _whole(size, block) * samples, rate_hz=rate_hz)
    if tag not in PLAIN:
        raise AudioError(f"{name} with the encoding 0x{tag:04x} is not read; {CONVERT}")
    if block != channels * ((bits + 7) // 8) or not block:
        raise AudioError(
            f"its header contradicts itself: {channels} channels of {bits} bits are not {block} bytes"
        )
    if byte_rate not in (0, rate_hz * block):
        raise AudioError(
            f"its header contradicts itself: {rate_hz} Hz, {block} bytes a frame, {byte_rate} bytes a second"
        )
    # Some writers count the byte that makes a chunk's size even.
    padded = size % block == 1 and size % 2 == 0
    return Promise(name, _whole(size - padded, block), rate_hz=rate_hz)


def _whole(size: int, block: int) -> int:
    """The number of blocks (frames, packets) in the bytes of samples; AudioError where the last is cut."""
    count, rest = divmod(size, block)
    if rest:
        raise AudioError(f"cut short: {size} bytes of samples are no whole number of blocks of {block}")
    return count


def _chunks(
    stream: BinaryIO, at: int, layout: _Layout, samples: bytes, large: int | None = None
) -> dict[bytes, Chunk]:
    """All chunks from `at` to the end of the file by name, the first of each.

    Parameters
    ----------
    samples : bytes
        The name of the chunk with the samples, of which there has to be one.
    large : int, optional
        Its size where its header says that it is elsewhere (RF64).
    """
    end, found = size_of(stream), dict[bytes, Chunk]()
    for _ in range(MAX_CHUNKS):
        head = read_at(stream, at, layout.header.size)
        if len(head) < layout.header.size or not head.strip(b"\0"):
            break
        name, size = layout.header.unpack(head)
        name = name[:4] if name[4:] in (b"", GUID_TAIL) else name
        start = at + len(head)
        size -= len(head) if layout.counts_itself else 0
        if name == samples:
            size = large if large is not None and size == 0xFFFFFFFF else size
            _check_samples(found, name, size, end - start)
        elif name in FILES or (layout.counts_itself and name.startswith(b"riff")):
            raise AudioError(f"a second file begins at byte {at}: only the first would be heard")
        elif size < 0 or start + size > end:
            break
        found.setdefault(name, Chunk(start, size))
        at = start + size + -size % layout.aligned
    else:
        raise AudioError(f"more than {MAX_CHUNKS} chunks")
    if samples in found:
        check_tail(stream, at, "its last chunk")
    return found


def _check_samples(found: dict[bytes, Chunk], name: bytes, size: int, left: int) -> None:
    if name in found:
        raise AudioError(f"two chunks of samples ({name.decode()}): only one would be heard")
    if size < 0 or (size in UNKNOWN_SIZES and left > 0 and size != left):
        raise AudioError(f"cut short, or its header gives no length, {STREAMED}")
    _within(size, left)


def _within(size: int, left: int) -> None:
    if size > left:
        raise AudioError(f"cut short: the header says {size} bytes of samples, there are {max(0, left)}")


def _compare(said: int, there: int) -> None:
    """AudioError where a count of frames does not fit the bytes of their chunk, but for one of padding."""
    if not said <= there <= said + 1:
        what = "cut short" if said > there else "its header lies"
        raise AudioError(f"{what}: the header says {said} bytes of samples, there are {there}")


def _chunk(chunks: dict[bytes, Chunk], name: bytes) -> Chunk:
    if name not in chunks:
        raise AudioError(f"it has no {name.decode().strip()} chunk that is whole: cut short, or damaged")
    return chunks[name]


def _content(stream: BinaryIO, chunks: dict[bytes, Chunk], name: bytes, least: int) -> bytes:
    """The first 64 bytes of a chunk that has to have `least`."""
    chunk = _chunk(chunks, name)
    content = read_at(stream, chunk.start, min(chunk.size, 64))
    if len(content) < least:
        raise AudioError(
            f"its {name.decode().strip()} chunk has {len(content)} bytes, at least {least} are needed"
        )
    return content
