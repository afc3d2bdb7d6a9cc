"""Three computed waveforms, so that a bundle can carry the scores that they should get.

They are sums of sines, the same on every machine to the last bits: a voice-like buzz, a chord and a rumble
with clicks.  Their scores say nothing about quality; they say that an installation works as the exporter's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Wave = NDArray[np.float32]

GOLDEN = ("buzz", "chord", "rumble")
"""Their names."""

TOLERANCE = 1e-3
"""Largest difference, as a share of the scale, that other hardware or thread counts may make."""


def golden_waves() -> dict[str, tuple[Wave, int]]:
    """Name -> (waveform [n] or [2, n], rate): 3 s at 24 kHz, 12.5 s stereo at 44.1 kHz, 0.6 s at 16 kHz."""
    buzz_s, chord_s, rumble_s = _time(3.0, 24000), _time(12.5, 44100), _time(0.6, 16000)
    pitch = 2 * np.pi * 120 * buzz_s + 3 * np.sin(2 * np.pi * 3 * buzz_s)
    buzz = sum(np.sin(k * pitch) / k**1.5 for k in range(1, 30)) * np.sin(2 * np.pi * 2 * buzz_s) ** 2
    left, right = (
        sum(np.sin(2 * np.pi * f * chord_s + k) for k, f in enumerate(notes)) * np.exp(-(chord_s % 0.5) * 4)
        for notes in ((220.0, 277.18, 329.63, 1760.0), (220.0, 330.0, 440.0))
    )
    rumble = sum(np.sin(2 * np.pi * (37 + 61 * k**1.3) * rumble_s + k * k) for k in range(40)) / 8
    return {
        "buzz": (_scaled(buzz), 24000),
        "chord": (_scaled(np.stack((left, right))), 44100),
        "rumble": (_scaled(rumble), 16000),
    }


def golden_scores(
    score: Callable[[Wave, int], Mapping[str, Any]], axes: Sequence[str]
) -> dict[str, dict[str, float]]:
    """Name of a golden waveform -> axis -> score, by a scorer of (waveform, sample rate)."""
    return {
        name: {axis: value for axis, value in score(wave, rate).items() if axis in axes}
        for name, (wave, rate) in golden_waves().items()
    }


def deviations(
    expected: Mapping[str, Mapping[str, float]], found: Mapping[str, Mapping[str, float]], span: float
) -> list[str]:
    """One line per score that differs by more than TOLERANCE of the scale's span."""
    return [
        f"{name} {axis}: {found[name][axis]:.5f} here, {score:.5f} when it was exported"
        for name, scores in expected.items()
        for axis, score in scores.items()
        if abs(found[name][axis] - score) > TOLERANCE * span
    ]


def _time(seconds: float, rate_hz: int) -> NDArray[np.float64]:
    return np.arange(round(seconds * rate_hz)) / rate_hz


def _scaled(wave: Any) -> Wave:
    return (0.3 * wave / np.abs(wave).max()).astype(np.float32)
