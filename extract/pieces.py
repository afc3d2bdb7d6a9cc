"""A piece of audio, a file or a part of it or an array, opened for one pass from its start to its end.

What a survey would find (length without trailing digital silence, peak, clipping, samples that are no
numbers) is measured as the blocks pass by.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mmmos.extract import audio
from mmmos.extract.measure import AudioError, Meter, Samples, check_shape


@dataclass(frozen=True)
class Sound:
    """An open piece of audio: its rate, channels, blocks [n, channels] float32 to its end, and the length
    that it claims to have."""

    rate_hz: int
    channels: int
    blocks: Iterator[Samples]
    claimed_s: float


Listening = Callable[[], Sound]
"""Opens a piece; AudioError where it cannot be."""


def file_piece(path: Path, start_s: float | None = None, end_s: float | None = None) -> Sound:
    """A file, or the seconds from `start_s` to `end_s` of it, opened for one pass.

    AudioError where it is missing, unreadable, cut short, or does not hold that piece.
    """
    if not path.exists():
        raise AudioError("no such file")
    if not path.is_file():
        raise AudioError("not a regular file")
    if path.stat().st_size == 0:
        raise AudioError("empty file")
    file = audio.open_audio(path)
    if (lie := audio.LONG_HEADER.search(file.extra_info)) and int(lie[1]) > int(lie[2]):
        raise AudioError(f"cut short: the header says {lie[1]} bytes of samples, there are {lie[2]}")
    rate = file.samplerate
    check_shape(file.frames, rate, file.channels)
    first = round((start_s or 0.0) * rate)
    last = file.frames if end_s is None else min(file.frames, round(end_s * rate))
    if first >= file.frames or (end_s or 0.0) > file.frames / rate + audio.HEADER_TOLERANCE_S:
        raise AudioError(
            f"the piece from {start_s or 0:g} s to {end_s or file.frames / rate:g} s is not in it: "
            f"it has {file.frames / rate:.3f} s"
        )

    def blocks() -> Iterator[Samples]:
        size = max(1, audio.WINDOW_SAMPLES // file.channels)
        position = max(0, first - audio.OGG_RUNUP_FRAMES) if file.format == "OGG" else first
        with file:
            try:
                file.seek(position)
                while position < last:
                    block = file.read(min(size, last - position), dtype="float32", always_2d=True)
                    if not len(block):
                        break
                    position += len(block)
                    if position > first:
                        yield block[max(0, len(block) - (position - first)) :]
            except RuntimeError as error:  # soundfile's own errors are RuntimeErrors
                raise AudioError(f"cannot be decoded at {position / rate:.2f} s: {error}") from error
        if position < last - audio.HEADER_TOLERANCE_S * rate:
            claimed_s, found_s = file.frames / rate, position / rate
            raise AudioError(f"cut short: the header says {claimed_s:.2f} s, {found_s:.2f} s can be decoded")

    return Sound(rate, file.channels, blocks(), (last - first) / rate)


def wave_piece(wave: npt.ArrayLike, sample_rate_hz: int) -> Sound:
    """A waveform [n] or [channels, n] in memory, as a file would be."""
    frames = audio.as_frames(wave)
    check_shape(len(frames), sample_rate_hz, frames.shape[1])
    size = max(1, audio.WINDOW_SAMPLES // frames.shape[1])
    blocks = (frames[at : at + size] for at in range(0, len(frames), size))
    return Sound(sample_rate_hz, frames.shape[1], blocks, len(frames) / sample_rate_hz)


def audible(sound: Sound, meter: Meter) -> Iterator[Samples]:
    """Mono blocks [n] up to the last sound; the whole of it where all is digital silence."""
    zeros = np.zeros(audio.WINDOW_SAMPLES, np.float32)
    held = 0

    def silence(count: int) -> Iterator[Samples]:
        for at in range(0, count, len(zeros)):
            yield zeros[: count - at]

    for block in sound.blocks:
        reach = meter.take(block)
        if reach:
            yield from silence(held)
            yield np.ascontiguousarray(audio.mono(block[:reach]))
            held = 0
        held += len(block) - reach
    if not meter.audible:
        yield from silence(held)
