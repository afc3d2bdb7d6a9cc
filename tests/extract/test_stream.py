"""A stream must hear exactly what a survey and the crop reader hear, in one pass."""

from __future__ import annotations

import dataclasses
import threading
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import soundfile

from mmmos.extract.audio_info import AudioError, AudioInfo
from mmmos.extract.decoding import open_file, open_wave, read_crop, survey_file
from mmmos.extract.stream import Window, listen, windows
from mmmos.store.crops import crop_grid

RATES_HZ = (16000, 24000)


def noise(seconds: float, rate_hz: int, channels: int = 1, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return 0.1 * rng.standard_normal((round(seconds * rate_hz), channels)).astype(np.float32)


def written(folder: Path, frames: np.ndarray, rate_hz: int, name: str = "a.wav") -> Path:
    path = folder / name
    soundfile.write(path, frames, rate_hz)
    return path


def heard(path: Path, hop_s: float | None = None) -> tuple[list[Window], AudioInfo]:
    *found, info = windows(open_file(path), RATES_HZ, hop_s)
    assert isinstance(info, AudioInfo)
    assert all(isinstance(window, Window) for window in found)
    return found, info  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("seconds", "rate_hz", "channels", "name"),
    [
        (0.4, 16000, 1, "a.wav"),
        (10.0, 44100, 2, "a.flac"),
        (10.9, 44100, 1, "a.wav"),
        (11.0, 48000, 2, "a.wav"),
        (37.3, 22050, 1, "a.flac"),
        (25.0, 44100, 2, "a.ogg"),
    ],
)
def test_grid_windows_are_the_crops_that_were_extracted(
    tmp_path: Path, seconds: float, rate_hz: int, channels: int, name: str
) -> None:
    path = written(tmp_path, noise(seconds, rate_hz, channels), rate_hz, name)
    found, info = heard(path)
    survey = survey_file(path)
    told = dataclasses.replace(info, audio=survey.audio, rms=survey.rms, lufs=None)
    assert told == survey, "a survey does not measure the loudness"
    assert info.rms == pytest.approx(survey.rms, rel=1e-9)
    crops = crop_grid("", survey.duration_s)
    assert [(w.start_s, w.valid_s) for w in found] == [(c.start_s, pytest.approx(c.valid_s)) for c in crops]
    for window, crop in zip(found, crops, strict=True):
        expected = read_crop(path, crop, RATES_HZ)
        for rate in RATES_HZ:
            np.testing.assert_array_equal(window.waves[rate], expected[rate])


@pytest.mark.parametrize("silence_s", [0.5, 9.0, 70.0])
def test_trailing_digital_silence_is_not_heard(tmp_path: Path, silence_s: float) -> None:
    sound = noise(12.5, 16000)
    padded = np.concatenate((sound, np.zeros((round(silence_s * 16000), 1), np.float32)))
    bare, bare_info = heard(written(tmp_path, sound, 16000))
    found, info = heard(written(tmp_path, padded, 16000, "b.wav"))
    assert info == bare_info
    assert [(w.start_s, w.valid_s) for w in found] == [(w.start_s, w.valid_s) for w in bare]
    for one, other in zip(found, bare, strict=True):
        np.testing.assert_array_equal(one.waves[24000], other.waves[24000])


def test_silence_between_sounds_is_heard(tmp_path: Path) -> None:
    gap = np.zeros((16000 * 75, 1), np.float32)
    path = written(tmp_path, np.concatenate((noise(3, 16000), gap, noise(2, 16000))), 16000)
    found, info = heard(path)
    assert info.duration_s == 80.0
    assert [w.start_s for w in found] == [10.0 * k for k in range(8)]
    assert not found[4].waves[16000].any()
    assert found[7].waves[16000][-16000:].any()


def test_a_file_of_nothing_but_silence_is_heard_whole(tmp_path: Path) -> None:
    found, info = heard(written(tmp_path, np.zeros((16000 * 12, 1), np.float32), 16000))
    assert (info.duration_s, info.peak) == (12.0, 0.0)
    assert [w.valid_s for w in found] == [10.0, 2.0]


@pytest.mark.parametrize(
    ("seconds", "hop_s", "starts"),
    [
        (4.0, 1.0, [0]),
        (10.5, 1.0, [0]),
        (12.0, 1.0, [0, 1, 2]),
        (22.0, 4.0, [0, 4, 8, 12]),
        (21.5, 10.0, [0, 10, 20]),
        (14.6, 2.5, [0, 2.5, 5]),
    ],
)
def test_overlapping_windows_each_add_a_second_of_their_own(
    tmp_path: Path, seconds: float, hop_s: float, starts: list[float]
) -> None:
    path = written(tmp_path, noise(seconds, 16000), 16000)
    found, _ = heard(path, hop_s)
    grid, _ = heard(path)
    assert [w.start_s for w in found if w.hop] == starts
    assert [w.start_s for w in found] == sorted({w.start_s for w in found})
    kept = [w for w in found if w.grid]
    assert [(w.start_s, w.valid_s) for w in kept] == [(w.start_s, w.valid_s) for w in grid]
    for one, other in zip(kept, grid, strict=True):
        np.testing.assert_array_equal(one.waves[16000], other.waves[16000])


def test_a_piece_is_what_a_file_of_it_would_be(tmp_path: Path) -> None:
    frames = noise(30, 16000, 2)
    whole = written(tmp_path, frames, 16000)
    part = written(tmp_path, frames[round(7.25 * 16000) : round(19.5 * 16000)], 16000, "part.wav")
    *found, info = windows(open_file(whole, 7.25, 19.5), RATES_HZ)
    *expected, expected_info = windows(open_file(part), RATES_HZ)
    assert info == expected_info
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one.waves[24000], other.waves[24000])


def test_a_wave_in_memory_is_what_its_file_would_be(tmp_path: Path) -> None:
    frames = np.round(noise(13, 16000, 2) * 2**15) / 2**15
    *found, info = windows(open_wave(frames.T, 16000), RATES_HZ)
    expected, expected_info = heard(written(tmp_path, frames, 16000))
    assert info == expected_info
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one.waves[24000], other.waves[24000])


@pytest.mark.parametrize(("workers", "at_once"), [(1, 1), (3, 1), (2, 2), (3, 3), (2, 5)])
def test_sounds_take_turns_in_an_order_that_depends_on_them_alone(workers: int, at_once: int) -> None:
    """Longer than any queue, and more of them than threads: nobody may wait for ever."""
    lengths = [7, 1, 6, 2, 1, 9]
    sounds = [partial(open_wave, noise(10.0 * n, 8000, seed=n)[:, 0], 8000) for n in lengths]
    found = list(listen(sounds, [8000], workers=workers, at_once=at_once))
    again = list(listen(sounds, [8000], workers=workers, at_once=at_once))
    assert (
        [number for number, _ in found]
        == [number for number, _ in again]
        == turns(lengths, min(workers, at_once))
    )
    for number, length in enumerate(lengths):
        events = [event for of, event in found if of == number]
        assert [e.start_s for e in events[:-1]] == [10.0 * k for k in range(length)]
        assert isinstance(events[-1], AudioInfo)


def turns(lengths: list[int], at_once: int) -> list[int]:
    """Who gives the next event: one window each among the first `at_once` that have not ended."""
    left, order, turn = {n: length + 1 for n, length in enumerate(lengths)}, [], 0
    while left:
        turn %= min(at_once, len(left))
        number = list(left)[turn]
        order.append(number)
        left[number] -= 1
        if left[number]:
            turn += 1
        else:
            del left[number]
    return order


def test_the_threads_stage_every_wave() -> None:
    sound = partial(open_wave, noise(12.0, 8000)[:, 0], 8000)
    events = list(listen([sound], [8000, 16000], stage=lambda wave: wave + 5))
    for _, window in events[:-1]:
        assert all(wave.min() > 1 for wave in window.waves.values())


def test_what_cannot_be_heard_says_why(tmp_path: Path) -> None:
    broken = tmp_path / "broken.wav"
    broken.write_bytes(b"RIFF nothing")
    empty = tmp_path / "empty.wav"
    empty.touch()
    good = written(tmp_path, noise(5, 16000), 16000)
    for piece, reason in [
        (lambda: open_file(tmp_path / "none.wav"), "no such file"),
        (lambda: open_file(tmp_path), "not a regular file"),
        (lambda: open_file(empty), "empty file"),
        (lambda: open_file(broken), "a RIFF file that holds"),
        (lambda: open_file(good, 6.0), "is not in it: it has 5.000 s"),
        (lambda: open_file(good, 1.0, 9.0), "is not in it: it has 5.000 s"),
        (lambda: open_wave(np.array([0.0, np.nan]), 16000), "not a number"),
    ]:
        ((number, event),) = listen([piece], RATES_HZ)
        assert number == 0
        assert isinstance(event, AudioError)
        assert reason in str(event)


@pytest.mark.parametrize("workers", [1, 3])
def test_listening_keeps_the_order_and_outlives_bad_files(tmp_path: Path, workers: int) -> None:
    paths = [written(tmp_path, noise(3 + 11 * (k % 3), 16000, seed=k), 16000, f"{k}.wav") for k in range(6)]
    paths[2] = tmp_path / "none.wav"
    events = list(listen([lambda p=p: open_file(p) for p in paths], RATES_HZ, workers=workers))  # type: ignore[misc]
    assert [number for number, _ in events] == sorted(number for number, _ in events)
    ends = {number: event for number, event in events if not isinstance(event, Window)}
    assert sorted(ends) == list(range(6))
    assert [number for number, end in ends.items() if isinstance(end, AudioError)] == [2]


def test_an_abandoned_stream_leaves_no_thread_behind(tmp_path: Path) -> None:
    before = threading.active_count()
    path = written(tmp_path, noise(100, 16000), 16000)
    stream = listen([lambda: open_file(path)] * 4, RATES_HZ, hop_s=1.0, workers=3)
    next(stream)
    stream.close()  # type: ignore[attr-defined]
    assert threading.active_count() == before
