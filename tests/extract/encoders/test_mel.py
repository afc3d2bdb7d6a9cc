from __future__ import annotations

import numpy as np
import pytest
import torch

from mmmos.extract.encoders.mel import MelPower, filterbank, hz_to_mel, mel_to_hz


@pytest.mark.parametrize(
    ("scale", "hz", "mel"),
    [
        ("htk", 700.0, 2595.0 * np.log10(2.0)),
        ("htk", 6300.0, 2595.0),
        ("slaney", 500.0, 7.5),
        ("slaney", 1000.0, 15.0),
        ("slaney", 6400.0, 42.0),
    ],
)
def test_scales_at_their_landmarks(scale, hz, mel):
    assert hz_to_mel(np.array([hz]), scale)[0] == pytest.approx(mel, rel=1e-12)
    assert mel_to_hz(np.array([mel]), scale)[0] == pytest.approx(hz, rel=1e-12)


@pytest.mark.parametrize("scale", ["htk", "slaney"])
def test_scales_invert_each_other(scale):
    hz = np.linspace(0.0, 12000.0, 101)
    assert np.allclose(mel_to_hz(hz_to_mel(hz, scale), scale), hz, rtol=1e-12, atol=1e-9)


def test_a_filter_by_hand():
    # 4 bands from 0 to 1000 Hz on Slaney's linear part: corners every 200 Hz, bins every 100 Hz.
    bank = filterbank(16000, 160, 4, 0.0, 1000.0, scale="slaney")
    assert bank[1, :7].tolist() == pytest.approx([0, 0, 0, 0.5, 1, 0.5, 0], abs=1e-6)
    unit = filterbank(16000, 160, 4, 0.0, 1000.0, scale="slaney", unit_area=True)
    assert torch.allclose(unit, bank / 200.0)


def test_power_against_a_plain_fourier_sum(rng):
    n_fft, hop = 16, 4
    wave = rng.standard_normal(40)
    bank = torch.eye(n_fft // 2 + 1)
    power = MelPower(bank, n_fft, hop)(torch.from_numpy(wave.astype(np.float32))[None])[0]
    padded = np.pad(wave, n_fft // 2, mode="reflect")
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n_fft) / n_fft)
    assert power.shape == (9, 11)
    for frame in range(11):
        piece = padded[frame * hop : frame * hop + n_fft] * window
        for k in range(9):
            expected = abs(np.sum(piece * np.exp(-2j * np.pi * k * np.arange(n_fft) / n_fft))) ** 2
            assert power[k, frame].item() == pytest.approx(expected, rel=1e-4, abs=1e-4)


def test_autocast_leaves_the_power_alone():
    mel = MelPower(filterbank(16000, 400, 80, 0.0, 8000.0, scale="htk"), 400, 160)
    wave = torch.sin(torch.arange(4000) * 0.3)[None]
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(mel(wave), mel(wave.clone()))
        rounded = mel(wave)
    assert rounded.dtype == torch.float32
    assert torch.equal(rounded, mel(wave))
