"""A card that takes its time and computes nothing, and decoding that takes its time and reads nothing.

The work of a card is queued and not awaited, as on a real one: `Card.busy_s` adds up, and only a fence waits.
The interpreter, the threads, the queues, the store and the heads are the real ones.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mmmos.extract import encoders, extraction, request, stream
from mmmos.extract.audio_info import AudioInfo, Samples
from mmmos.extract.encoders import Encoder
from mmmos.extract.stream import Window
from mmmos.store.schema import Crop, EncoderSpec

CROP_S = 0.0023
"""One crop through all three encoders in bf16 on an H100, estimated from FLOPs and bandwidth."""
DECODING_S = {"wav": 0.0134, "flac": 0.0189}
"""Decoding, mono and resampling of one 10 s stereo crop on one core, measured before mono became cheap."""
LOG = "MMMOS_SIMULATED_LOG"
"""A worker process of a cluster writes the busy seconds of its card into this folder."""


class Card:
    """When the work queued so far ends, and how many seconds of work there were."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.until_s = self.busy_s = 0.0
        self.first_s = 0.0

    def queue(self, seconds: float) -> None:
        with self.lock:
            now = time.monotonic()
            self.first_s = self.first_s or now
            self.until_s = max(now, self.until_s) + seconds
            self.busy_s += seconds
        if folder := os.environ.get(LOG):
            Path(folder, f"{os.getpid()}").write_text(f"{self.busy_s} {self.first_s} {self.until_s}")

    @property
    def busy(self) -> float:
        """The part of the time, from its first work to the end of its last, in which it had any."""
        return self.busy_s / (self.until_s - self.first_s)


CARD = Card()


class Fence:
    def __init__(self, until_s: float) -> None:
        self.until_s = until_s

    def synchronize(self) -> None:
        time.sleep(max(0.0, self.until_s - time.monotonic()))


class SimulatedEncoder(Encoder):
    """Zeros of the spec's shape, CROP_S a crop after they were asked for."""

    def __init__(self, spec: EncoderSpec, *_: Any) -> None:
        self.spec, self.device = spec, torch.device("cuda:0")
        self.card = CARD

    def encode(self, waves: Sequence[Samples], valid_s: Sequence[float]) -> tuple[Tensor, Tensor]:
        self.card.queue(CROP_S * len(waves))
        spec, count = self.spec, len(waves)
        frames = torch.zeros((), dtype=torch.float16).expand(count, spec.frames, spec.frame_dim)
        return frames, torch.zeros(count, spec.layers, spec.dim)

    def upload(self, rows: Sequence[np.ndarray]) -> Tensor:
        return torch.stack([torch.from_numpy(row) for row in rows])

    def fence(self) -> Fence:
        return Fence(self.card.until_s)


def waves_at(rates_hz: Iterable[int]) -> dict[int, Samples]:
    return {rate_hz: np.zeros(10 * rate_hz, np.float32) for rate_hz in rates_hz}


def simulated_crop(path: Path, crop: Crop, rates_hz: Iterable[int]) -> dict[int, Samples]:
    """In place of decoding.read_crop: the path's suffix says how long it takes."""
    time.sleep(DECODING_S[path.suffix[1:]])
    return waves_at(rates_hz)


def simulated_windows(
    sound: Any, rates_hz: Sequence[int], hop_s: float | None, *, whole: bool = False
) -> Iterator[Any]:
    """In place of stream.windows: a "sound" is its number of windows, of FLAC."""
    for number in range(sound):
        time.sleep(DECODING_S["flac"])
        yield Window(10.0 * number, 10.0, grid=True, hop=False, waves=waves_at(rates_hz))
    yield AudioInfo("", 10.0 * sound, 44100, 2, peak=0.5, rms=0.1, clipped=0.0)


def install() -> None:
    """From now on this process has the card and the decoding of this file."""
    encoders.Encoder = SimulatedEncoder  # type: ignore[misc]
    extraction.read_crop = simulated_crop
    stream.windows = simulated_windows
    request.choose_device = lambda name="auto": torch.device("cpu")


def simulated_encoder() -> SimulatedEncoder:
    """One with the rates of the three real ones: two windows of waves a crop, small features."""
    spec = encoders.load_encoder("logmel", audio_recipe="simulated").spec
    return SimulatedEncoder(replace(spec, name="simulated"))


def dask_setup(worker: Any) -> None:
    """Called in each process of a cluster that has this file preloaded."""
    install()
