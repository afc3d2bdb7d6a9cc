"""What audio holds (length, level, clipping), and the limits beyond which it is refused."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

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


@dataclass(frozen=True, slots=True)
class AudioInfo:
    """What a whole file, or another stretch of audio, holds.

    Attributes
    ----------
    audio : str
        Content id of the file's bytes, see `content`; "" for audio that was not read by
        `decoding.survey_file`.
    duration_s : float
        Length without trailing digital silence; the whole length where all of it is silence.
    sample_rate_hz, channels : int
        As stored.
    peak, rms : float
        Over all channels and the samples within `duration_s`; full scale is 1.
    clipped : float
        Fraction of those samples at or beyond full scale.
    lufs : float or None
        Loudness, where it was measured and there is one (see `loudness`).
    gain_db : float or None
        With which it was heard, where it was brought to a loudness; all else is about the audio as it is.
    old_id : str
        The content id that earlier versions gave the file.
    """

    audio: str
    duration_s: float
    sample_rate_hz: int
    channels: int
    peak: float
    rms: float
    clipped: float
    lufs: float | None = None
    gain_db: float | None = None
    old_id: str = field(default="", compare=False)


def check_shape(frames: int, rate_hz: int, channels: int) -> None:
    """AudioError for a rate, a number of channels or a length (in frames) that is not read."""
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
    """Accumulates AudioInfo block by block.

    `frames` counts all frames so far; `audible` is the index of the last non-zero frame + 1.
    """

    rate_hz: int
    channels: int
    frames: int = 0
    audible: int = 0
    clipped: int = 0
    peak: float = 0.0
    energy: float = 0.0

    def take(self, block: Samples) -> int:
        """Add a block [n, channels]; returns the index of its last non-zero frame + 1, 0 for silence.

        AudioError for samples that are not finite or far beyond full scale.
        """
        peak = max(float(block.max()), -float(block.min()))
        if not math.isfinite(peak):
            bad = self.frames + int(np.argmin(np.isfinite(block).all(axis=1)))
            raise AudioError(f"a sample that is not a number, at {bad / self.rate_hz:.3f} s")
        if peak > MAX_PEAK:
            raise AudioError(f"samples up to {peak:g} where full scale is 1: integers stored as floats?")
        reach = 0
        if peak:
            reach = len(block)
            if not block[-1].any():
                reach -= int(np.argmax(block[::-1].any(axis=1)))
            self.audible = self.frames + reach
            exact = block.astype(np.float64).ravel()
            # Not by BLAS: its threads would compete with the encoders, and the bits depend on their number.
            self.energy += float(np.einsum("i,i->", exact, exact))
            if peak >= FULL_SCALE:
                self.clipped += int(np.count_nonzero(np.abs(block) >= FULL_SCALE))
            self.peak = max(self.peak, peak)
        self.frames += len(block)
        return reach

    def info(self, audio: str = "") -> AudioInfo:
        """What was taken so far, under the content hash `audio`; AudioError where it is nothing."""
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
