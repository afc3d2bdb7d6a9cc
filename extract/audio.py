"""Waveforms: to mono, to the encoders' sample rates, to a file (paper III-A).

A waveform in memory has the layout that files decode to, float32 [n, channels] with full scale = 1;
see `decoding` for how files are read.  soxr resamples, libsndfile codes.
"""

from __future__ import annotations

import io
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import soundfile
import soxr

from mmmos.extract.audio_info import AudioError, Samples
from mmmos.store.crops import MIN_TAIL_S
from mmmos.store.files import write_atomic
from mmmos.store.schema import CROP_SECONDS

RESAMPLER_QUALITY = "HQ"
"""soxr's 20-bit setting: its images lie below the noise of 16-bit audio."""

AUDIO_RECIPE = (
    "1: libsndfile to float32; mean of the channels; "
    f"{CROP_SECONDS:g} s grid from the start, a last piece under {MIN_TAIL_S:g} s dropped unless alone; "
    "trailing digital silence is not audio, except in a file of nothing else; "
    f"each crop by itself through soxr {RESAMPLER_QUALITY} to the encoder's rate; zeros to {CROP_SECONDS:g} s"
)
"""All that a crop's samples depend on beside the file's bytes; part of every feature signature."""

WHOLE_RECIPE = (
    "1: libsndfile to float32; mean of the channels; "
    f"{CROP_SECONDS:g} s grid from the start, the last piece whatever its length; "
    "trailing digital silence is audio; "
    f"each crop by itself through soxr {RESAMPLER_QUALITY} to the encoder's rate; zeros to {CROP_SECONDS:g} s"
)
"""The same, with the windows of audiobox-aesthetics: nothing of the audio is left out."""

COLUMN_BY_COLUMN = 6
"""Up to so many channels are added one by one: the bits of NumPy's mean over rows, in a tenth of its time."""


def as_frames(wave: npt.ArrayLike) -> Samples:
    """A waveform as contiguous float32 [n, channels].

    Parameters
    ----------
    wave : array_like
        [n] or [channels, n], n > 0: floats of full scale 1, or int16 or int32, which are scaled to full
        scale = 1 as libsndfile does.

    Raises
    ------
    AudioError
        For another shape or another type.
    """
    array = np.asarray(wave)
    if array.ndim not in (1, 2) or array.size == 0:
        raise AudioError(f"a waveform has the shape [n] or [channels, n], n > 0, not {list(array.shape)}")
    if array.dtype in (np.int16, np.int32):
        array = array / np.float64(2 ** (8 * array.dtype.itemsize - 1))
    elif not np.issubdtype(array.dtype, np.floating):
        raise AudioError(f"samples are floats (full scale 1.0), int16 or int32, not {array.dtype}")
    return np.ascontiguousarray(np.atleast_2d(array).T, dtype=np.float32)


def mono(frames: Samples) -> Samples:
    """[n, channels] to [n]: the mean of the channels."""
    channels = frames.shape[1]
    if channels == 1:
        return frames[:, 0]
    if channels > COLUMN_BY_COLUMN:
        return frames.mean(axis=1, dtype=np.float32)
    total = frames[:, 0] + frames[:, 1]
    for channel in range(2, channels):
        total += frames[:, channel]
    total /= np.float32(channels)
    return total


def resample(samples: Samples, rate_hz: int, target_hz: int) -> Samples:
    """[n] or [n, channels] at another rate, by the recipe's resampler; unchanged at its own rate."""
    if target_hz == rate_hz:
        return samples
    resampled: Samples = soxr.resample(samples, rate_hz, target_hz, RESAMPLER_QUALITY)
    return resampled


def at_rates(frames: Samples, rate_hz: int, sample_rates_hz: Iterable[int]) -> dict[int, Samples]:
    """At most 10 s, [n, channels], as one crop at each rate.

    Returns
    -------
    dict of int to array
        {rate: mono float32 [10 * rate]}, zeros at the end.
    """
    wave = np.ascontiguousarray(mono(frames))
    crops = {}
    for target_hz in set(sample_rates_hz):
        samples = resample(wave, rate_hz, target_hz)
        crop = np.zeros(round(CROP_SECONDS * target_hz), np.float32)
        crop[: len(samples)] = samples[: len(crop)]
        crops[target_hz] = crop
    return crops


def write_audio(path: Path, frames: npt.ArrayLike, sample_rate_hz: int) -> None:
    """Write [n, channels] (full scale = 1) as 16-bit audio, in the format that the path's suffix names."""
    stream = io.BytesIO()
    soundfile.write(stream, frames, sample_rate_hz, "PCM_16", format=path.suffix[1:].upper())
    write_atomic(path, stream.getbuffer())


def through_codec(frames: Samples, rate_hz: int, **settings: Any) -> Samples:
    """[n, channels] coded in memory and decoded again; `settings` are soundfile.write's."""
    coded = io.BytesIO()
    soundfile.write(coded, frames, rate_hz, **settings)
    coded.seek(0)
    decoded: Samples = soundfile.read(coded, dtype="float32", always_2d=True)[0]
    return decoded
