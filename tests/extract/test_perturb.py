"""Each perturbation does what its name says, and leaves the rest alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mmmos.extract.audio import write_audio
from mmmos.extract.audio_info import Samples
from mmmos.extract.perturb import LONGEST_S, PERTURBATIONS, open_perturbed

RATE_HZ = 32000


@pytest.fixture
def stereo(rng: np.random.Generator) -> Samples:
    """Four seconds of noise below 6 kHz, [n, 2]."""
    spectrum = np.fft.rfft(rng.standard_normal((4 * RATE_HZ, 2)), axis=0)
    spectrum[4 * 6000 :] = 0
    return (0.1 * np.fft.irfft(spectrum, axis=0)).astype(np.float32)


def rms(frames: Samples) -> float:
    return float(np.sqrt(np.mean(np.square(frames, dtype=np.float64))))


@pytest.mark.parametrize("name", PERTURBATIONS)
def test_every_one_gives_finite_audio_and_leaves_its_input_alone(name: str, stereo: Samples) -> None:
    before = stereo.copy()
    frames, rate_hz = PERTURBATIONS[name](stereo, RATE_HZ)
    np.testing.assert_array_equal(stereo, before)
    assert frames.ndim == 2
    assert np.isfinite(frames).all()
    silence_s = {"1 s of silence before": 1, "3 s of digital silence after": 3, "start 1 s later": -1}
    assert len(frames) / rate_hz == pytest.approx(4 + silence_s.get(name, 0), abs=0.1)


@pytest.mark.parametrize(("name", "gain"), [("6 dB louder", 1.9953), ("6 dB softer", 0.5012)])
def test_the_level_is_changed_in_decibels(name: str, gain: float, stereo: Samples) -> None:
    assert rms(PERTURBATIONS[name](stereo, RATE_HZ)[0]) == pytest.approx(gain * rms(stereo), rel=1e-3)


@pytest.mark.parametrize(("name", "rate_hz"), [("sampled at 16 kHz", 16000), ("sampled at 48 kHz", 48000)])
def test_resampling_keeps_the_level_of_what_fits(name: str, rate_hz: int, stereo: Samples) -> None:
    frames, found_hz = PERTURBATIONS[name](stereo, RATE_HZ)
    assert found_hz == rate_hz
    assert rms(frames) == pytest.approx(rms(stereo), rel=1e-2)


def test_channels_are_averaged(stereo: Samples) -> None:
    mono, _ = PERTURBATIONS["mono"](stereo, RATE_HZ)
    np.testing.assert_allclose(mono, stereo.mean(axis=1, keepdims=True), atol=1e-7)
    two, _ = PERTURBATIONS["two equal channels"](stereo, RATE_HZ)
    np.testing.assert_array_equal(two, np.repeat(mono, 2, axis=1))


def test_a_lower_bit_rate_loses_more(stereo: Samples) -> None:
    reference = PERTURBATIONS["sampled at 44.1 kHz"](stereo, RATE_HZ)[0]

    def lost(name: str) -> float:
        # The coder's delay is left in at low rates: compare where the two fit best.
        coded = PERTURBATIONS[name](stereo, RATE_HZ)[0]
        assert coded.shape[1] == 2
        spectra = [np.fft.rfft(one[:, 0], 2**19) for one in (coded, reference)]
        delay = int(np.argmax(np.fft.irfft(spectra[0] * spectra[1].conj())[:2000]))
        shared = min(len(coded) - delay, len(reference))
        return rms(coded[delay:][:shared] - reference[:shared])

    assert 0 < lost("MP3 at 128 kbit/s") < lost("MP3 at 48 kbit/s") < rms(reference)


def test_silence_is_put_where_it_is_said(stereo: Samples) -> None:
    before, _ = PERTURBATIONS["1 s of silence before"](stereo, RATE_HZ)
    assert not before[:RATE_HZ].any()
    np.testing.assert_array_equal(before[RATE_HZ:], stereo)
    after, _ = PERTURBATIONS["3 s of digital silence after"](stereo, RATE_HZ)
    assert not after[-3 * RATE_HZ :].any()
    later, _ = PERTURBATIONS["start 1 s later"](stereo, RATE_HZ)
    np.testing.assert_array_equal(later, stereo[RATE_HZ:])
    short, _ = PERTURBATIONS["start 1 s later"](stereo[: RATE_HZ + 5], RATE_HZ)
    assert len(short) == RATE_HZ + 5
    assert not PERTURBATIONS["nothing but zeros"](stereo, RATE_HZ)[0].any()


def test_only_the_start_of_a_long_file_is_used(tmp_path: Path) -> None:
    write_audio(tmp_path / "a.wav", np.full((35 * 8000, 1), 0.25), 8000)
    for name in (None, "mono"):
        sound = open_perturbed(tmp_path / "a.wav", name)
        assert sum(map(len, sound.blocks)) == LONGEST_S * 8000
