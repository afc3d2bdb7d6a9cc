"""Cut audio into windows while decoding it once, in constant memory.

A survey (`decoding.survey_file`) decodes a file to learn its length, and an extraction decodes each crop
again (`decoding.read_crop`).  A stream does both in one pass: each 10 s window is cut and resampled as soon
as it is full.  A window on the 10 s grid has exactly the samples that `read_crop` gives.
"""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from torch import Tensor

from mmmos.extract import audio
from mmmos.extract.audio_info import AudioError, AudioInfo, Samples
from mmmos.extract.decoding import Listening, Sound, audible
from mmmos.extract.loudness import LoudnessMeter
from mmmos.store.crops import is_crop
from mmmos.store.schema import CROP_SECONDS

READ_AHEAD = 4
"""Windows of each file being read that may wait for the encoders: some 7 MB at two rates."""


@dataclass(frozen=True)
class Window:
    """Up to 10 s of mono audio at every rate asked for.

    Attributes
    ----------
    start_s : float
        From the start of the opened audio.
    valid_s : float
        How much of it is audio; the rest is zeros.
    grid : bool
        It is one of the 10 s crops that make a clip's score.
    hop : bool
        It is one of the overlapping windows that were asked for beside them.
    waves : dict of int to float32 [10 * rate]
        By sample rate in Hz; tensors where the audio is on a device already (see `tensors`).
    """

    start_s: float
    valid_s: float
    grid: bool
    hop: bool
    waves: dict[int, Samples] | dict[int, Tensor]


def is_window(
    start: int, end: int, rate_hz: int, step_s: float = CROP_SECONDS, *, whole: bool = False
) -> bool:
    """Whether the samples from `start` to the audio's `end` make a window of a series (see `windows`)."""
    return start < end if whole else is_crop(start, (end - start) / rate_hz, step_s)


class _Cutter:
    """Cuts mono samples into several series of windows, each with a window every so many seconds."""

    def __init__(
        self, rate_hz: int, rates_hz: Sequence[int], steps_s: dict[str, float], whole: bool = False
    ) -> None:
        self.rate_hz, self.rates_hz, self.steps_s, self.whole = rate_hz, rates_hz, steps_s, whole
        self.size = round(CROP_SECONDS * rate_hz)
        self.done = dict.fromkeys(steps_s, 0)
        self.kept = np.empty(0, np.float32)
        self.first = 0  # the position of kept[0]

    def push(self, block: Samples) -> Iterator[Window]:
        """The windows that `block` [n] fills."""
        self.kept = np.concatenate((self.kept, block)) if len(self.kept) else block
        yield from self.windows(ended=False)
        gone = min(max(0, min(self.starts().values()) - self.first), len(self.kept))
        self.kept, self.first = self.kept[gone:].copy(), self.first + gone

    def windows(self, *, ended: bool) -> Iterator[Window]:
        """The windows that are full or, where the audio has `ended`, hold enough of it."""
        end = self.first + len(self.kept)
        while True:
            due = {
                series: start
                for series, start in self.starts().items()
                if start + self.size <= end
                or (ended and is_window(start, end, self.rate_hz, self.steps_s[series], whole=self.whole))
            }
            if not due:
                return
            start = min(due.values())
            here = {series for series in due if due[series] == start}
            for series in here:
                self.done[series] += 1
            samples = self.kept[start - self.first :][: self.size]
            waves = audio.at_rates(samples[:, None], self.rate_hz, self.rates_hz)
            start_s, valid_s = start / self.rate_hz, len(samples) / self.rate_hz
            yield Window(start_s, valid_s, "grid" in here, "hop" in here, waves)

    def starts(self) -> dict[str, int]:
        """The position of the next window of each series, in samples."""
        return {
            series: round(self.done[series] * step_s * self.rate_hz)
            for series, step_s in self.steps_s.items()
        }


def windows(
    sound: Sound, rates_hz: Sequence[int], hop_s: float | None = None, *, whole: bool = False
) -> Iterator[Window | AudioInfo]:
    """Every window of a sound in order of its start, then what the sound held.

    Parameters
    ----------
    sound : Sound
        Freshly opened; see `decoding`.
    rates_hz : sequence of int
        Sample rates of the windows.
    hop_s : float, optional
        1 to 10: beside the crops of `store.crops.crop_grid`, a window begins every `hop_s` seconds.  One
        that falls on the grid is cut once.
    whole : bool
        Leave nothing out: neither a short last piece nor trailing silence (see `audio.WHOLE_RECIPE`).

    Raises
    ------
    AudioError
        At the place where the audio is unusable.
    """
    if hop_s is not None and not 1.0 <= hop_s <= CROP_SECONDS:
        raise ValueError(f"windows begin every 1 to {CROP_SECONDS:g} s, not every {hop_s:g} s")
    meter = LoudnessMeter(sound.rate_hz, sound.channels)
    steps_s = {"grid": CROP_SECONDS} | ({} if hop_s is None else {"hop": hop_s})
    cutter = _Cutter(sound.rate_hz, rates_hz, steps_s, whole)
    gain = None if sound.gain_db is None else np.float32(10 ** (sound.gain_db / 20))
    for block in audible(sound, meter, whole=whole):
        yield from cutter.push(block if gain is None else block * gain)
    info = replace(meter.info(), gain_db=sound.gain_db)
    yield from cutter.windows(ended=True)
    yield info


Event = Window | AudioInfo | AudioError


def listen(
    sounds: Sequence[Listening],
    rates_hz: Sequence[int],
    hop_s: float | None = None,
    workers: int = 2,
    *,
    whole: bool = False,
    at_once: int = 1,
    stage: Callable[[Any], Any] = lambda wave: wave,
) -> Iterator[tuple[int, Event]]:
    """The windows of many sounds, decoded ahead in threads.

    A sound is decoded by one thread.  So that a fast device gets windows from several of them, the first
    `at_once` sounds that have not ended give one event each in turn; the order of all events depends on the
    sounds alone.

    Parameters
    ----------
    sounds : sequence of Listening
        Each is opened when its turn comes.
    rates_hz, hop_s, whole
        See `windows`.
    workers : int
        Sounds that are decoded at the same time, each no further ahead than READ_AHEAD windows.
    at_once : int
        From 1, one sound after the other, to `workers`.
    stage : callable
        What the threads do to each wave of a window last.

    Yields
    ------
    (int, Event)
        The number of the sound and one event: in order its windows, then its AudioInfo or the AudioError
        that ended it.
    """
    stop, workers = threading.Event(), max(1, workers)
    pool = ThreadPoolExecutor(workers)
    running: deque[tuple[int, queue.Queue[Event | BaseException]]] = deque()
    # Where sounds take turns, as many again are opened before theirs comes: short ones end soon.
    opened = workers if at_once == 1 else 2 * workers
    try:
        todo = iter(enumerate(sounds))
        turn = 0
        while True:
            while len(running) < opened and (following := next(todo, None)):
                number, opener = following
                events: queue.Queue[Event | BaseException] = queue.Queue(READ_AHEAD)
                pool.submit(_feed, opener, rates_hz, hop_s, whole, events, stop, stage)
                running.append((number, events))
            if not running:
                return
            # The first `workers` have a thread, or all of their events are there: no wait here is for ever.
            turn %= min(len(running), max(1, min(at_once, workers)))
            number, events = running[turn]
            event = events.get()
            if not isinstance(event, Window | AudioInfo | AudioError):
                raise event
            yield number, event
            if isinstance(event, Window):
                turn += 1
            else:
                del running[turn]
    finally:
        stop.set()
        pool.shutdown(cancel_futures=True)


def _feed(
    opener: Listening,
    rates_hz: Sequence[int],
    hop_s: float | None,
    whole: bool,
    events: queue.Queue[Event | BaseException],
    stop: threading.Event,
    stage: Callable[[Any], Any],
) -> None:
    """Put the events of a sound, or what went wrong, into its queue, until `stop` is set."""

    def put(event: Event | BaseException) -> bool:
        while not stop.is_set():
            try:
                events.put(event, timeout=0.1)
            except queue.Full:
                continue
            return True
        return False

    try:
        for event in windows(opener(), rates_hz, hop_s, whole=whole):
            if isinstance(event, Window):
                event = replace(event, waves={rate_hz: stage(wave) for rate_hz, wave in event.waves.items()})
            if not put(event):
                return
    except AudioError as error:
        put(error)
    except OSError as error:
        put(AudioError(f"cannot be read: {error.strerror or error}"))
    except BaseException as error:
        put(error)
