"""Audio as it passes by: every window that is to be scored, from one decode and in constant memory.

Where `audio.survey_file` looks at a file first and `audio.read_crop` comes back for each crop, a stream does
both at once: blocks go through a meter, trailing digital silence is held back until it is known whether sound
follows, and each 10 s window is cut and resampled the moment it is full.  A window on the 10 s grid has the
very samples that `read_crop` gives.
"""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np

from mmmos.extract import audio
from mmmos.extract.measure import AudioError, AudioInfo, Meter, Samples
from mmmos.extract.pieces import Listening, Sound, audible
from mmmos.store.crops import MIN_TAIL_S
from mmmos.store.schema import CROP_SECONDS

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
    meter = Meter(sound.rate_hz, sound.channels)
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
