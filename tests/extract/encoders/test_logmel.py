from __future__ import annotations

import math

import pytest
import torch

from mmmos.extract.encoders.logmel import BANDS, COLUMNS, LogMel

TIME_S = torch.arange(240000) / 24000


def state(wave: torch.Tensor) -> torch.Tensor:
    return LogMel()(wave[None])[0][0]


def test_a_full_scale_sine_stands_at_its_level():
    frames = state(torch.sin(2 * math.pi * 984.375 * TIME_S))  # the centre of bin 42
    loudest = frames[10:240, :BANDS].max()
    assert loudest == pytest.approx(3.0, abs=0.05)  # 0 dB, in units of 20 dB from -60 dB
    quieter = state(0.01 * torch.sin(2 * math.pi * 984.375 * TIME_S))[10:240, :BANDS].max()
    assert loudest - quieter == pytest.approx(2.0, abs=1e-3)  # 40 dB


def test_a_column_is_called_by_what_it_hears():
    frames = state(torch.sin(2 * math.pi * 5000 * TIME_S))
    what, _, hz, unit = COLUMNS[int(frames[10:240].mean(dim=0).argmax())].split()
    assert (what, unit) == ("level", "Hz")
    assert 4700 < float(hz) < 5300
    assert len(set(COLUMNS)) == frames.shape[1]
    assert COLUMNS[BANDS].replace("change", "level") == COLUMNS[0]


def test_silence_lies_on_the_floor_and_does_not_change():
    frames = state(torch.zeros(240000))
    assert torch.all(frames[:, :BANDS] == -3.0)
    assert torch.all(frames[:, BANDS:] == 0.0)


def test_a_drop_out_shows_as_change():
    wave = 0.1 * torch.sin(2 * math.pi * 984.375 * TIME_S)
    wave[120000:] = 0.0
    change = state(wave)[:, BANDS:].mean(dim=1)
    assert change[120:130].argmax() in (4, 5, 6)
    assert change[125 - 1 : 125 + 2].max() > 10 * change[20:100].max()


def test_a_frame_does_not_look_ahead():
    wave = 0.1 * torch.randn(240000, generator=torch.Generator().manual_seed(0))
    cut = wave.clone()
    cut[125 * 960 + 512 :] = 0.0  # half a window beyond the last spectrum of frame 124
    assert torch.equal(state(wave)[:125], state(cut)[:125])
