"""The weightless encoder of the whole audible band."""

from __future__ import annotations

import math

import torch

from mmmos.extract.encoders.fullband import COLUMNS, FRAMES, FullBand

TIME_S = torch.arange(441000) / 44100


def state(wave: torch.Tensor, frames: int = FRAMES) -> torch.Tensor:
    return FullBand()(wave[None], torch.tensor([frames]))[0][0]


def column(name: str) -> int:
    return COLUMNS.index(name)


def noise(seed: int = 0) -> torch.Tensor:
    return 0.1 * torch.randn(441000, generator=torch.Generator().manual_seed(seed))


def test_every_column_has_a_name_of_its_own() -> None:
    assert state(noise()).shape == (FRAMES, len(COLUMNS))
    assert len(set(COLUMNS)) == len(COLUMNS)


def test_it_hears_what_lies_above_twelve_kilohertz() -> None:
    quiet, high = state(0 * TIME_S), state(torch.sin(2 * math.pi * 15000 * TIME_S))
    loudest = COLUMNS[int((high - quiet)[10:240, :80].mean(0).argmax())]
    assert 14000 < float(loudest.split()[2]) < 16000
    assert (high - quiet)[10:240, column(loudest)].min() > 4  # 80 dB
    assert torch.isfinite(quiet).all()


def test_a_fluctuation_shows_in_its_own_octave() -> None:
    wave = noise() * (1 + 0.9 * torch.sin(2 * math.pi * 3 * TIME_S))
    means = state(wave).mean(0)
    octaves = [n for n in range(len(COLUMNS)) if COLUMNS[n].startswith("modulation")]
    loudest = COLUMNS[octaves[int(means[octaves].argmax())]]
    assert loudest.startswith("modulation 2-4 Hz")


def test_bands_that_rise_together_are_correlated() -> None:
    pairs = [n for n, name in enumerate(COLUMNS) if name.startswith("correlation")]
    together = state(noise() * (1 + 0.9 * torch.sin(2 * math.pi * 3 * TIME_S))).mean(0)[pairs]
    apart = state(noise()).mean(0)[pairs]
    assert together.min() > 0.8
    assert apart.abs().mean() < 0.1


def test_padding_behind_the_audio_is_not_heard() -> None:
    wave, other = noise(), noise(1)
    cut = 100 * 1764
    wave[cut:], other[:cut] = 0, wave[:cut]
    # The very last spectrum reaches 2 ms beyond it, as those of `logmel` do.
    torch.testing.assert_close(state(wave, 100)[:99], state(other, 100)[:99], atol=1e-3, rtol=0)
