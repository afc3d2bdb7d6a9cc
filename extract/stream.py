"""Audio as it passes by: every window that is to be scored, from one decode and in constant memory.

Where `audio.survey_file` looks at a file first and `audio.read_crop` comes back for each crop, a stream does
both at once: blocks go through a meter, trailing digital silence is held back until it is known whether sound
follows, and each 10 s window is cut and resampled the moment it is full.  A window on the 10 s grid has the
very samples that `read_crop` gives.
"""

from __future__ import annotations

import math
import queue
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from extract import audio
from extract.measure import FULL_SCALE, MAX_PEAK, AudioError, AudioInfo, Samples, check_shape
from store.crops import MIN_TAIL_S
from store.requests import Request
from store.schema import CROP_SECONDS

READ_AHEAD = 4
"""Windows that may wait for the encoders per file being read: some 7 MB at two rates."""


@dataclass(frozen=True)
class Window:
    """Up to 10 s of mono audio at every rate asked for.

    start_s: from the start of the piece; valid_s: how much of it is audio, the rest is zeros.
    grid:    it is one of the 10 s crops that make a clip's score.
    hop:     it is one of the overlapping windows that were asked for beside them.
    waves:   {rate: float32 [10 * rate]}.
    """

    start_s: float
    valid_s: float
    grid: bool
    hop: bool
    waves: dict[int, Samples]


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


@dataclass
class _Meter:
    """What `AudioInfo` tells, added up block by block; `audible` counts up to the last sound."""

    rate_hz: int
    channels: int
    frames: int = 0
    audible: int = 0
    clipped: int = 0
    peak: float = 0.0
    energy: float = 0.0

    def take(self, block: Samples) -> int:
        """Add a block [n, channels]; returns how many of its frames reach to its last sound."""
        loud = np.abs(block)
        peak = float(loud.max())
        if not math.isfinite(peak):
            bad = self.frames + int(np.argmin(np.isfinite(block).all(axis=1)))
            raise AudioError(f"a sample that is not a number, at {bad / self.rate_hz:.3f} s")
        if peak > MAX_PEAK:
            raise AudioError(f"samples up to {peak:g} where full scale is 1: integers stored as floats?")
        reach = 0
        if peak:
            reach = len(block) - int(np.argmax(loud[::-1].any(axis=1)))
            self.audible = self.frames + reach
            self.energy += float(np.square(block, dtype=np.float64).sum())
            self.clipped += int(np.count_nonzero(loud >= FULL_SCALE))
            self.peak = max(self.peak, peak)
        self.frames += len(block)
        return reach

    def info(self) -> AudioInfo:
        counted = self.audible or self.frames
        if not counted:
            raise AudioError("holds no audio that can be decoded")
        samples = counted * self.channels
        return AudioInfo(
            audio="",
            duration_s=counted / self.rate_hz,
            sample_rate_hz=self.rate_hz,
            channels=self.channels,
            peak=self.peak,
            rms=math.sqrt(self.energy / samples),
            clipped=self.clipped / samples,
        )


def audible(sound: Sound, meter: _Meter) -> Iterator[Samples]:
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


@dataclass
class _Cutter:
    """Mono samples in, windows out: those on the 10 s grid, and those every `hop_s` where one is given."""

    rate_hz: int
    rates_hz: Sequence[int]
    hop_s: float | None
    kept: Samples = field(default_factory=lambda: np.empty(0, np.float32))
    base: int = 0
    done: dict[str, int] = field(default_factory=lambda: {"grid": 0, "hop": 0})

    @property
    def size(self) -> int:
        return round(CROP_SECONDS * self.rate_hz)

    def starts(self) -> dict[str, int]:
        """First samples of the next window of each series."""
        starts = {"grid": round(self.done["grid"] * CROP_SECONDS * self.rate_hz)}
        if self.hop_s is not None:
            starts["hop"] = round(self.done["hop"] * self.hop_s * self.rate_hz)
        return starts

    def push(self, block: Samples) -> Iterator[Window]:
        self.kept = np.concatenate((self.kept, block)) if len(self.kept) else block
        while (start := min(self.starts().values())) + self.size <= self.base + len(self.kept):
            yield self._cut(start, self.size)
        self._forget(start)

    def finish(self) -> Iterator[Window]:
        """The windows that the audio's end leaves unfilled, where they hold enough that is new."""
        end = self.base + len(self.kept)
        needed_s = {"grid": MIN_TAIL_S, "hop": CROP_SECONDS - (self.hop_s or 0.0) + MIN_TAIL_S}
        while True:
            starts = {
                series: start
                for series, start in self.starts().items()
                # The tail rule of the crop grid; an overlapping window is to add a second of its own.
                if start < end and (start == 0 or (end - start) / self.rate_hz >= needed_s[series])
            }
            if not starts:
                return
            start = min(starts.values())
            yield self._cut(start, min(self.size, end - start), only=set(starts))

    def _cut(self, start: int, count: int, only: set[str] | None = None) -> Window:
        here = {s for s, at in self.starts().items() if at == start and (only is None or s in only)}
        for series in here:
            self.done[series] += 1
        samples = self.kept[start - self.base : start - self.base + count]
        waves = audio.at_rates(samples[:, None], self.rate_hz, self.rates_hz)
        return Window(start / self.rate_hz, count / self.rate_hz, "grid" in here, "hop" in here, waves)

    def _forget(self, before: int) -> None:
        gone = min(max(0, before - self.base), len(self.kept))
        self.kept, self.base = self.kept[gone:].copy(), self.base + gone


def windows(
    sound: Sound, rates_hz: Sequence[int], hop_s: float | None = None
) -> Iterator[Window | AudioInfo]:
    """Every window of a piece in order of its start, then what the piece was.

    The 10 s grid is `store.crops.crop_grid`'s; with `hop_s` (1 to 10 s) windows begin every hop_s seconds
    too, and one that falls on the grid is cut once.  AudioError, at any point, where the audio is unusable.
    """
    if hop_s is not None and not 1.0 <= hop_s <= CROP_SECONDS:
        raise ValueError(f"windows begin every 1 to {CROP_SECONDS:g} s, not every {hop_s:g} s")
    meter = _Meter(sound.rate_hz, sound.channels)
    cutter = _Cutter(sound.rate_hz, rates_hz, hop_s)
    for block in audible(sound, meter):
        yield from cutter.push(block)
    info = meter.info()
    yield from cutter.finish()
    yield info


Event = Window | AudioInfo | AudioError


def listen(
    pieces: Sequence[Listening], rates_hz: Sequence[int], hop_s: float | None = None, workers: int = 2
) -> Iterator[tuple[int, Event]]:
    """(number of the piece, event) in order: its windows, then its AudioInfo or the AudioError that ended it.

    Up to `workers` pieces are decoded ahead in threads, each no further than READ_AHEAD windows.
    """
    stop = threading.Event()
    pool = ThreadPoolExecutor(max(1, workers))
    running: deque[tuple[int, queue.Queue[Event | BaseException], Future[None]]] = deque()
    try:
        todo = iter(enumerate(pieces))
        while True:
            while len(running) < max(1, workers) and (following := next(todo, None)):
                number, piece = following
                line: queue.Queue[Event | BaseException] = queue.Queue(READ_AHEAD)
                running.append((number, line, pool.submit(_feed, piece, rates_hz, hop_s, line, stop)))
            if not running:
                return
            number, line, _ = running.popleft()
            while True:
                event = line.get()
                if not isinstance(event, Window | AudioInfo | AudioError):
                    raise event
                yield number, event
                if not isinstance(event, Window):
                    break
    finally:
        stop.set()
        pool.shutdown(cancel_futures=True)


def _feed(
    piece: Listening,
    rates_hz: Sequence[int],
    hop_s: float | None,
    line: queue.Queue[Event | BaseException],
    stop: threading.Event,
) -> None:
    def put(event: Event | BaseException) -> bool:
        while not stop.is_set():
            try:
                line.put(event, timeout=0.1)
            except queue.Full:
                continue
            return True
        return False

    try:
        for event in windows(piece(), rates_hz, hop_s):
            if not put(event):
                return
    except AudioError as error:
        put(error)
    except OSError as error:
        put(AudioError(f"cannot be read: {error.strerror or error}"))
    except BaseException as error:
        put(error)


def pieces_of(requests: Sequence[Request]) -> list[Listening]:
    """How each request's piece is opened."""
    return [lambda r=request: file_piece(r.file, r.start_s, r.end_s) for request in requests]  # type: ignore[misc]
