"""Waveforms are resampled cleanly, and anything else is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from mmmos.extract.audio import AUDIO_RECIPE, as_frames, at_rates, mono, write_audio
from mmmos.extract.audio_info import AudioError


@pytest.mark.parametrize("channels", range(1, 12))
def test_mono_has_the_bits_of_the_mean_over_rows(rng, channels):
    frames = (rng.standard_normal((5000, channels)) * 10.0 ** rng.uniform(-9, 1, (5000, 1))).astype(
        np.float32
    )
    frames[::7, 0] = -0.0
    np.testing.assert_array_equal(mono(frames), frames.mean(axis=1, dtype=np.float32))


def test_resampling_keeps_what_fits_under_the_new_rate_and_removes_the_rest() -> None:
    time_s = np.arange(441000) / 44100
    low, high = np.sin(2 * np.pi * 1000 * time_s), np.sin(2 * np.pi * 9500 * time_s)
    crops = at_rates(as_frames(0.5 * (low + high)), 44100, (16000, 24000))
    assert {rate: len(crop) for rate, crop in crops.items()} == {16000: 160000, 24000: 240000}
    inside = slice(1600, -1600)
    expected = 0.5 * np.sin(2 * np.pi * 1000 * np.arange(160000) / 16000)
    np.testing.assert_allclose(crops[16000][inside], expected[inside], atol=1e-4)
    at_24k = np.arange(240000) / 24000
    expected = 0.5 * (np.sin(2 * np.pi * 1000 * at_24k) + np.sin(2 * np.pi * 9500 * at_24k))
    np.testing.assert_allclose(crops[24000][inside], expected[inside], atol=1e-4)


@pytest.mark.parametrize("wave", [np.zeros((2, 2, 2)), np.zeros(0), np.zeros(8, bool), np.zeros(8, np.uint8)])
def test_arrays_that_are_no_waveform_are_refused(wave: np.ndarray) -> None:
    with pytest.raises(AudioError):
        as_frames(wave)


def test_written_audio_reads_back(tmp_path: Path, rng: np.random.Generator) -> None:
    frames = 0.1 * rng.standard_normal((6400, 2))
    for name in ("a.wav", "a.flac"):
        write_audio(tmp_path / name, frames, 32000)
        read, rate_hz = soundfile.read(tmp_path / name)
        assert rate_hz == 32000
        np.testing.assert_allclose(read, frames, atol=1 / 2**15)


def test_the_recipe_names_every_rule() -> None:
    for rule in (
        "libsndfile",
        "mean of the channels",
        "10 s grid",
        "under 1 s",
        "digital silence",
        "soxr HQ",
        "zeros",
    ):
        assert rule in AUDIO_RECIPE
