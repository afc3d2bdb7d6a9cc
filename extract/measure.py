"""What a stretch of audio holds: its length, level and clipping, and the limits of what is believed."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

MIN_RATE_HZ, MAX_RATE_HZ = 2_000, 768_000
MAX_CHANNELS = 64
MAX_DURATION_S = 12 * 3600.0
MAX_PEAK = 100.0
"""40 dB above full scale: beyond it a float file holds integers, or rubbish."""
FULL_SCALE = 1.0 - 2.0**-15
"""From here on a sample counts as clipped: the largest value that 16-bit audio can hold."""

Samples = npt.NDArray[np.float32]


class AudioError(ValueError):
    """Audio that cannot be used; the message is the reason, in one line."""


@dataclass(frozen=True)
class AudioInfo:
    """What a whole file (or waveform) holds.

    audio:       xxh3-128 of the file's bytes, hex; of an array: of its mono samples and rate.
    duration_s:  length without trailing digital silence; the whole length where all is silence.
    peak, rms:   over all channels and the samples that count as audio, full scale = 1.
    clipped:     fraction of those samples at or beyond full scale.
    """

    audio: str
    duration_s: float
    sample_rate_hz: int
    channels: int
    peak: float
    rms: float
    clipped: float

    @property
    def silent(self) -> bool:
        return self.peak == 0.0


def check_shape(frames: int, rate_hz: int, channels: int) -> None:
    if not MIN_RATE_HZ <= rate_hz <= MAX_RATE_HZ:
        raise AudioError(f"sample rate {rate_hz} Hz; {MIN_RATE_HZ} to {MAX_RATE_HZ} Hz are read")
    if not 1 <= channels <= MAX_CHANNELS:
        raise AudioError(f"{channels} channels; 1 to {MAX_CHANNELS} are read")
    if frames <= 0:
        raise AudioError("a header without a single sample")
    if frames > MAX_DURATION_S * rate_hz:
        raise AudioError(
            f"the header says {frames} frames at {rate_hz} Hz; at most {MAX_DURATION_S / 3600:g} hours are "
            "read (a file streamed without its length has to be written again)"
        )


@dataclass
class Meter:
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

    def info(self, audio: str = "") -> AudioInfo:
        counted = self.audible or self.frames
        if not counted:
            raise AudioError("holds no audio that can be decoded")
        samples = counted * self.channels
        return AudioInfo(
            audio=audio,
            duration_s=counted / self.rate_hz,
            sample_rate_hz=self.rate_hz,
            channels=self.channels,
            peak=self.peak,
            rms=math.sqrt(self.energy / samples),
            clipped=self.clipped / samples,
        )


def measure(audio: str, rate_hz: int, windows: Iterable[Samples]) -> tuple[AudioInfo, int]:
    """The info of audio that passes by in windows, under its content hash, and the number of its frames."""
    meter: Meter | None = None
    for block in windows:
        meter = meter or Meter(rate_hz, block.shape[1])
        meter.take(block)
        if meter.frames > MAX_DURATION_S * rate_hz:
            raise AudioError(f"longer than {MAX_DURATION_S / 3600:g} hours")
    if meter is None:
        raise AudioError("holds no audio that can be decoded")
    return meter.info(audio), meter.frames
