"""Tensors are cut and resampled as files are."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from mmmos.extract.audio_info import AudioError, AudioInfo
from mmmos.extract.decoding import open_wave
from mmmos.extract.stream import Window, windows
from mmmos.extract.tensors import cut

RATES_HZ = (16000, 24000)
CPU = torch.device("cpu")


def noise(seconds: float, rate_hz: int, seed: int = 0) -> np.ndarray:
    """Noise with a strong low end, peak 0.9: the spectrum of audio, and all of the band."""
    rng = np.random.default_rng(seed)
    wave = rng.normal(size=round(seconds * rate_hz))
    wave = np.cumsum(wave - wave.mean()) * 0.02 + wave
    return (0.9 * wave / np.abs(wave).max()).astype(np.float32)


def of_file(wave: np.ndarray, rate_hz: int, *, whole: bool = False) -> list[Window]:
    events = list(windows(open_wave(wave, rate_hz), RATES_HZ, whole=whole))
    return [event for event in events if not isinstance(event, AudioInfo)]


def of_tensors(waves: list[np.ndarray], rate_hz: int, batch: int = 3, *, whole: bool = False) -> list:
    tensors = [torch.from_numpy(np.atleast_2d(wave)) for wave in waves]
    found = cut(tensors, rate_hz, RATES_HZ, CPU, batch=batch, whole=whole)
    return [pair for numbers, made in found for pair in zip(numbers, made, strict=True)]


@pytest.mark.parametrize("rate_hz", [8000, 11025, 16000, 22050, 24000, 32000, 44100, 48000, 96000])
def test_windows_are_those_of_a_file_at_any_rate(rate_hz: int) -> None:
    wave = noise(13.37, rate_hz)
    expected, found = of_file(wave, rate_hz), [window for _, window in of_tensors([wave], rate_hz)]
    assert len(found) == len(expected) == 2
    for ours, theirs in zip(found, expected, strict=True):
        assert (ours.start_s, ours.valid_s, ours.grid) == (theirs.start_s, theirs.valid_s, True)
        for target_hz in RATES_HZ:
            difference = np.abs(ours.waves[target_hz].numpy() - theirs.waves[target_hz])
            first = target_hz // 1000
            assert difference[first:].max() <= (0 if target_hz == rate_hz else 5e-4)
            assert difference[:first].max() <= 0.02, "soxr's own start"


@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize("seconds", [0.01, 0.5, 9.9999, 10.0, 10.4, 11.0, 20.99, 21.0])
def test_the_grid_is_that_of_a_file(seconds: float, whole: bool) -> None:
    wave = noise(seconds, 16000)
    wave = np.concatenate((wave, np.zeros(40000, np.float32)))
    expected = [(w.start_s, w.valid_s) for w in of_file(wave, 16000, whole=whole)]
    found = [(w.start_s, w.valid_s) for _, w in of_tensors([wave], 16000, whole=whole)]
    assert found == expected


def test_clips_of_any_length_share_batches_and_keep_their_numbers() -> None:
    waves = [noise(seconds, 16000, n) for n, seconds in enumerate((25.0, 3.0, 12.0, 10.0))]
    for batch in (1, 2, 100):
        found = of_tensors(waves, 16000, batch)
        assert [number for number, _ in found] == [0, 0, 0, 1, 2, 2, 3]
        for number, window in found:
            start, count = round(window.start_s * 16000), round(window.valid_s * 16000)
            np.testing.assert_array_equal(window.waves[16000][:count], waves[number][start : start + count])


def test_channels_integers_and_silence_are_those_of_a_file() -> None:
    stereo = np.stack((noise(3, 16000, 1), noise(3, 16000, 2)))
    integers = np.round(stereo * 32767).astype(np.int16)
    for wave in (stereo, integers, integers.astype(np.int32) * 65536, np.zeros((2, 20000), np.float32)):
        (theirs,), ((_, ours),) = of_file(wave, 16000), of_tensors([wave], 16000)
        assert ours.valid_s == theirs.valid_s
        np.testing.assert_allclose(ours.waves[24000], theirs.waves[24000], atol=5e-4)


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (torch.tensor([[0.1, torch.nan]]), "clip 1: a sample that is not a number"),
        (torch.tensor([[0.1, -torch.inf]]), "clip 1: a sample that is not a number"),
        (torch.tensor([[0.1, 32000.0]]), "clip 1: samples up to 32000"),
        (torch.zeros(1, 0), "clip 1: .* holds no audio"),
        (torch.zeros(1, 9, dtype=torch.int64), "clip 1: samples are floats"),
        (torch.zeros(65, 100), "clip 1: 65 channels"),
    ],
)
def test_a_clip_that_cannot_be_used_is_named(bad: Tensor, reason: str) -> None:
    with pytest.raises(AudioError, match=reason):
        list(cut([torch.full((1, 100), 0.1), bad], 16000, RATES_HZ, CPU, batch=4))
    with pytest.raises(AudioError, match="sample rate 16 Hz"):
        list(cut([torch.full((1, 100), 0.1)], 16, RATES_HZ, CPU, batch=4))


def test_no_clips_make_no_windows() -> None:
    assert list(cut([], 16000, RATES_HZ, CPU, batch=4)) == []
