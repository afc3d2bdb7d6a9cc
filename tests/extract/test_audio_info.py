"""Length, level and clipping are counted over what is audio, in whatever blocks it comes."""

from __future__ import annotations

import numpy as np
import pytest

from mmmos.extract.audio_info import AudioError, Meter


def test_level_and_clipping_are_counted_by_hand() -> None:
    frames = np.array([[0.6, 0.0], [0.0, 0.0], [-1.0, 1.0], [0.8, 0.0], [0.0, 0.0]], np.float32)
    meter = Meter(8000, 2)
    assert [meter.take(frames[:2]), meter.take(frames[2:])] == [1, 2]
    info = meter.info()
    assert info.channels == 2
    assert info.duration_s == 4 / 8000
    assert info.peak == 1.0
    assert info.rms == pytest.approx(np.sqrt((0.36 + 1 + 0.64 + 1) / 8))
    assert info.clipped == 2 / 8


def test_silence_counts_where_nothing_else_is_there() -> None:
    meter = Meter(8000, 1)
    meter.take(np.zeros((80, 1), np.float32))
    assert (meter.info().duration_s, meter.info().peak) == (0.01, 0.0)


def test_nothing_at_all_is_no_audio() -> None:
    with pytest.raises(AudioError, match="holds no audio"):
        Meter(8000, 1).info()
