"""Perturbations that should hardly change a score: level, rate, channels, coding, silence, a later start.

Each takes decoded audio float32 [n, channels] (full scale is 1, but samples may exceed it) and its rate in
Hz, and returns such a pair.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from mmmos.extract import audio
from mmmos.extract.audio_info import Samples
from mmmos.extract.decoding import Sound, open_file, open_wave

Audio = tuple[Samples, int]
Perturbation = Callable[[Samples, int], Audio]

LONGEST_S = 30.0
"""How much of each file is perturbed and compared."""
MP3_RATE_HZ = 44100
SHIFT_S = 1.0


def level(gain_db: float, frames: Samples, rate_hz: int) -> Audio:
    """Louder or softer; nothing is clipped, as floats have room above full scale."""
    return (frames * 10 ** (gain_db / 20)).astype(np.float32), rate_hz


def sampled_at(target_hz: int, frames: Samples, rate_hz: int) -> Audio:
    """Resampled by the recipe's own resampler; what lies above half the new rate is gone."""
    return audio.resample(frames, rate_hz, target_hz), target_hz


def to_mono(frames: Samples, rate_hz: int) -> Audio:
    return audio.mono(frames)[:, None], rate_hz


def to_stereo(frames: Samples, rate_hz: int) -> Audio:
    """Two equal channels."""
    return np.repeat(audio.mono(frames)[:, None], 2, axis=1), rate_hz


def through_mp3(kbit_s: int, frames: Samples, rate_hz: int) -> Audio:
    """Coded as MP3 at a constant bit rate and back, at 44.1 kHz, where MP3 has rates of 32 to 320 kbit/s."""
    resampled, _ = sampled_at(MP3_RATE_HZ, frames[:, :2], rate_hz)
    # libsndfile: 320 kbit/s at level 0, 32 at level 1, linear between.
    compression = (320 - kbit_s) / (320 - 32)
    decoded = audio.through_codec(
        np.clip(resampled, -1.0, 1.0),
        MP3_RATE_HZ,
        format="MP3",
        subtype="MPEG_LAYER_III",
        compression_level=compression,
        bitrate_mode="CONSTANT",
    )
    return decoded, MP3_RATE_HZ


def silence_before(seconds: float, frames: Samples, rate_hz: int) -> Audio:
    return np.concatenate((_zeros(seconds, frames, rate_hz), frames)), rate_hz


def silence_after(seconds: float, frames: Samples, rate_hz: int) -> Audio:
    return np.concatenate((frames, _zeros(seconds, frames, rate_hz))), rate_hz


def start_later(seconds: float, frames: Samples, rate_hz: int) -> Audio:
    """The first `seconds` cut off, where at least as much is left: all windows move."""
    cut = round(seconds * rate_hz)
    return frames[cut if len(frames) >= 2 * cut else 0 :], rate_hz


def nothing(frames: Samples, rate_hz: int) -> Audio:
    return np.zeros_like(frames), rate_hz


PERTURBATIONS: dict[str, Perturbation] = {
    "6 dB louder": partial(level, 6.0),
    "6 dB softer": partial(level, -6.0),
    "sampled at 16 kHz": partial(sampled_at, 16000),
    "sampled at 24 kHz": partial(sampled_at, 24000),
    "sampled at 44.1 kHz": partial(sampled_at, 44100),
    "sampled at 48 kHz": partial(sampled_at, 48000),
    "mono": to_mono,
    "two equal channels": to_stereo,
    "MP3 at 128 kbit/s": partial(through_mp3, 128),
    "MP3 at 48 kbit/s": partial(through_mp3, 48),
    "1 s of silence before": partial(silence_before, 1.0),
    "3 s of digital silence after": partial(silence_after, 3.0),
    "start 1 s later": partial(start_later, SHIFT_S),
    "nothing but zeros": nothing,
}


def open_perturbed(path: Path, perturbation: str | None = None) -> Sound:
    """The first LONGEST_S of a file, opened for one pass.

    Parameters
    ----------
    perturbation : str, optional
        A name in PERTURBATIONS; None leaves the audio as it is.

    Raises
    ------
    AudioError
        See `decoding.open_file`.
    """
    sound = open_file(path)
    rate_hz, enough = sound.rate_hz, round(LONGEST_S * sound.rate_hz)
    blocks: list[Samples] = []
    while sum(map(len, blocks)) < enough and (block := next(sound.blocks, None)) is not None:
        blocks.append(block)
    frames = np.concatenate(blocks)[:enough]
    if perturbation is not None:
        frames, rate_hz = PERTURBATIONS[perturbation](frames, rate_hz)
    return open_wave(frames.T, rate_hz)


def _zeros(seconds: float, frames: Samples, rate_hz: int) -> Samples:
    return np.zeros((round(seconds * rate_hz), frames.shape[1]), np.float32)
