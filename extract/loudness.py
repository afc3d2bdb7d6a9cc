"""Loudness in LUFS (ITU-R BS.1770-4), measured while audio is decoded, and gains that bring it to a level.

The filters are pyloudnorm's.  That package wants all samples at once; here only the energy of each 0.1 s is
kept, so an hour takes 0.3 MB.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmmos.extract.audio_info import AudioError, AudioInfo, Meter, Samples
from mmmos.extract.content import CHANGING
from mmmos.extract.decoding import Listening, Sound

BLOCK_S, STEPS = 0.4, 4
"""A gating block, and how many steps it has: one begins with each step."""
ABSOLUTE_GATE_LUFS, RELATIVE_GATE_LU = -70.0, -10.0
OFFSET_LUFS = -0.691
CHANNEL_WEIGHTS = (1.0, 1.0, 1.0, 1.41, 1.41)
"""Left, right, centre and both surrounds; there is no measure for more channels."""
SILENCE_FRAMES = 1 << 16
"""Measured at a time, where silence turns out to lie between sounds."""
MIN_RATE_HZ = 8000
"""The weighting has its shelf at 1.5 kHz, which audio of lower rates hardly holds."""


class Loudness:
    """Integrated loudness of blocks that are taken one after the other."""

    def __init__(self, rate_hz: int, channels: int) -> None:
        self.rate_hz = rate_hz
        self.known = rate_hz >= MIN_RATE_HZ and channels <= len(CHANNEL_WEIGHTS)
        self.weights = np.array(CHANNEL_WEIGHTS[:channels])
        self.frames = 0
        self.steps: list[float] = []  # weighted energy of each step; the last one is incomplete
        if self.known:
            self.filters = _k_weighting(rate_hz)
            self.state = np.zeros((len(self.filters), 2, channels))

    def take(self, block: Samples) -> None:
        """Add a block [n, channels]."""
        if not self.known or not len(block):
            return
        from scipy.signal import sosfilt

        filtered, self.state = sosfilt(self.filters, block, axis=0, zi=self.state)
        energy = np.zeros(len(block))
        for channel, weight in enumerate(self.weights):  # not by BLAS, as in `audio_info`
            energy += weight * np.square(filtered[:, channel])
        start, end = self.frames, self.frames + len(block)
        if self._edge(len(self.steps)) == start:
            self.steps.append(0.0)
        edges: list[int] = []
        while (edge := self._edge(len(self.steps) + len(edges))) < end:
            edges.append(edge - start)
        first, *others = np.add.reduceat(energy, [0, *edges])
        self.steps[-1] += float(first)
        self.steps += map(float, others)
        self.frames = end

    def lufs(self) -> float | None:
        """Of all that was taken; None where it is shorter than a gating block, silent, or not measured."""
        blocks = round((self.frames / self.rate_hz - BLOCK_S) / (BLOCK_S / STEPS)) + 1
        if not self.known or self.frames < BLOCK_S * self.rate_hz:
            return None
        padded = np.pad(np.array(self.steps), (0, STEPS))
        sums = np.lib.stride_tricks.sliding_window_view(padded, STEPS)[:blocks].sum(axis=1)
        powers = sums / (BLOCK_S * self.rate_hz)
        loud = powers[powers >= _power(ABSOLUTE_GATE_LUFS)]
        if not len(loud):
            return None
        gate = loud.mean() * 10 ** (RELATIVE_GATE_LU / 10)
        return float(OFFSET_LUFS + 10 * np.log10(loud[loud > gate].mean()))

    def _edge(self, step: int) -> int:
        """The sample at which a step begins."""
        return int(BLOCK_S * (step / STEPS) * self.rate_hz)


def _k_weighting(rate_hz: int) -> NDArray[Any]:
    """[2, 6] the shelf and the high-pass as second-order sections."""
    from pyloudnorm.iirfilter import IIRfilter

    sections = []
    for gain_db, quality, hz, kind in ((4.0, 0.5**0.5, 1500.0, "high_shelf"), (0.0, 0.5, 38.0, "high_pass")):
        section = IIRfilter(gain_db, quality, hz, rate_hz, kind)
        sections.append([*section.b, *section.a])
    return np.array(sections, dtype=np.float64)


def _power(lufs: float) -> float:
    return float(10 ** ((lufs - OFFSET_LUFS) / 10))


@dataclass
class LoudnessMeter(Meter):
    """Accumulates AudioInfo with its loudness, for which silence at the end does not count either."""

    loudness: Loudness = field(init=False)
    held: int = 0

    def __post_init__(self) -> None:
        self.loudness = Loudness(self.rate_hz, self.channels)

    def take(self, block: Samples) -> int:
        reach = super().take(block)
        if reach:
            while self.held:
                zeros = np.zeros((min(self.held, SILENCE_FRAMES), self.channels), np.float32)
                self.loudness.take(zeros)
                self.held -= len(zeros)
            self.loudness.take(block[:reach])
        self.held += len(block) - reach
        return reach

    def info(self, audio: str = "") -> AudioInfo:
        return replace(super().info(audio), lufs=self.loudness.lufs())


def normalised(opener: Listening, target_lufs: float) -> Sound:
    """A sound that is heard with the gain that brings it to a loudness; it is decoded twice for that.

    Where its loudness is unknown (see `Loudness.lufs`) the gain is 0 dB.  AudioError where another file has
    taken its place in between.
    """
    sound = opener()
    meter = LoudnessMeter(sound.rate_hz, sound.channels)
    for block in sound.blocks:
        meter.take(block)
    lufs = meter.info().lufs
    again = opener()
    if again.stamp != sound.stamp:
        raise AudioError(CHANGING)
    return replace(again, gain_db=0.0 if lufs is None else target_lufs - lufs)
