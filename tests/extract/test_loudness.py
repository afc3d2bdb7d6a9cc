"""Loudness is pyloudnorm's, in constant memory; gains bring windows, and nothing else, to a level."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pyloudnorm
import pytest

from mmmos.extract.audio import write_audio
from mmmos.extract.audio_info import AudioError, AudioInfo
from mmmos.extract.decoding import Sound, open_file, open_wave
from mmmos.extract.loudness import Loudness, LoudnessMeter, normalised
from mmmos.extract.stream import Window, windows


def noise(seconds: float, rate_hz: int, channels: int = 1, level: float = 0.1) -> np.ndarray:
    """[n, channels] with a loud and a soft half, so that the gates matter."""
    wave = np.random.default_rng(0).normal(0, level, (round(seconds * rate_hz), channels))
    wave[len(wave) // 2 :] *= 0.03
    return wave.astype(np.float32)


def lufs_of(frames: np.ndarray, rate_hz: int, block: int = 1 << 20) -> float | None:
    loudness = Loudness(rate_hz, frames.shape[1])
    for start in range(0, len(frames), block):
        loudness.take(frames[start : start + block])
    return loudness.lufs()


@pytest.mark.parametrize("rate_hz", [8000, 11025, 16000, 44100, 48000])
@pytest.mark.parametrize(("seconds", "channels"), [(0.4, 1), (0.47, 2), (3.0, 2), (12.34, 1), (5.06, 5)])
def test_it_is_pyloudnorm_s_whatever_the_blocks(rate_hz: int, seconds: float, channels: int) -> None:
    frames = noise(seconds, rate_hz, channels)
    expected = pyloudnorm.Meter(rate_hz).integrated_loudness(frames.astype(np.float64))
    for block in (1 << 20, 1000, rate_hz // 10, 4410):
        assert lufs_of(frames, rate_hz, block) == pytest.approx(expected, abs=1e-6)


def test_a_full_scale_tone_has_the_loudness_of_the_standard() -> None:
    """BS.1770: a sine of 997 Hz at full scale in one channel measures -3.01 LUFS."""
    tone = np.sin(2 * np.pi * 997 * np.arange(48000 * 5) / 48000).astype(np.float32)[:, None]
    assert lufs_of(tone, 48000) == pytest.approx(-3.01, abs=0.1)


def test_what_is_too_short_silent_or_not_measurable_has_none() -> None:
    assert lufs_of(noise(0.39, 16000), 16000) is None
    assert lufs_of(np.zeros((16000, 1), np.float32), 16000) is None
    assert lufs_of(1e-5 * noise(2, 16000), 16000) is None
    assert lufs_of(noise(2, 16000, 6), 16000) is None
    assert lufs_of(noise(2, 4000), 4000) is None
    assert Loudness(16000, 1).lufs() is None


def test_silence_at_the_end_does_not_count() -> None:
    frames, silence = noise(6.05, 16000), np.zeros((160000, 1), np.float32)
    meters = [LoudnessMeter(16000, 1) for _ in range(3)]
    for meter, blocks in zip(
        meters, ([frames], [frames, silence], [np.concatenate((frames, silence))]), strict=True
    ):
        for block in blocks:
            meter.take(block)
    assert len({meter.info().lufs for meter in meters}) == 1
    meters[1].take(frames)
    between = np.concatenate((frames, silence, frames))
    assert meters[1].info().lufs == pytest.approx(lufs_of(between, 16000))


def test_an_hour_keeps_a_number_for_each_tenth_of_a_second() -> None:
    meter = LoudnessMeter(8000, 1)
    for _ in range(60):
        meter.take(np.full((8000 * 60, 1), 0.1, np.float32))
    assert len(meter.loudness.steps) == 36000


@pytest.mark.parametrize("target_lufs", [-23.0, -40.0, 0.0])
def test_windows_are_heard_at_the_loudness_and_the_rest_is_told_as_it_is(
    target_lufs: float,
) -> None:
    frames = noise(13.0, 16000)
    plain = partial(open_wave, frames.T, 16000)
    *_, info = windows(plain(), [16000])
    *found, told = windows(normalised(plain, target_lufs), [16000])
    assert isinstance(info, AudioInfo)
    assert isinstance(told, AudioInfo)
    assert info.gain_db is None
    assert told.gain_db == pytest.approx(target_lufs - info.lufs)
    assert (told.lufs, told.peak, told.rms, told.clipped) == (info.lufs, info.peak, info.rms, info.clipped)
    heard = np.concatenate(
        [w.waves[16000][: round(w.valid_s * 16000)] for w in found if isinstance(w, Window)]
    )
    assert lufs_of(heard[:, None], 16000) == pytest.approx(target_lufs, abs=0.05)


def test_what_has_no_loudness_keeps_its_level_and_what_is_no_audio_its_error() -> None:
    *found, told = windows(normalised(partial(open_wave, noise(0.2, 16000).T, 16000), -23.0), [16000])
    assert isinstance(told, AudioInfo)
    assert (told.lufs, told.gain_db) == (None, 0.0)
    np.testing.assert_array_equal(found[0].waves[16000][:3200], noise(0.2, 16000)[:, 0])
    with pytest.raises(AudioError, match="not a number"):
        normalised(partial(open_wave, np.array([np.nan]), 16000), -23.0)


def test_a_file_that_another_replaces_between_its_two_passes_is_refused(tmp_path: Path) -> None:
    """Otherwise one file would be heard with the gain of another."""
    path, other = tmp_path / "a.wav", tmp_path / "b.wav"
    write_audio(path, noise(3, 16000), 16000)
    write_audio(other, 0.1 * noise(3, 16000), 16000)
    assert normalised(partial(open_file, path), -23.0).gain_db is not None
    opened = iter([path, other])

    def opener() -> Sound:
        return open_file(next(opened))

    with pytest.raises(AudioError, match="changed while it was read"):
        normalised(opener, -23.0)
