"""Frames at a common rate: hand-worked averages, and padding that never enters."""

from __future__ import annotations

import pytest
import torch

from mmmos.heads.network.alignment import (
    average_down,
    mean_and_deviation,
    sum_over_time,
    to_common,
    valid_steps,
)
from tests.heads.small import M2D, MUQ, WAVLM, spec


def test_valid_steps_agrees_with_the_spec() -> None:
    seconds = [0.01, 0.16, 0.3199, 0.32, 3.0, 9.999, 10.0]
    for one in (M2D, MUQ):
        expected = [one.valid_frames(s) for s in seconds]
        assert valid_steps(torch.tensor(seconds), one.frame_rate_hz).tolist() == expected


def test_average_down_hand_worked() -> None:
    frames = torch.arange(16.0).view(1, 16, 1)
    frames[0, 11:] = 1e4
    down = average_down(frames, WAVLM, torch.tensor([11]), 12.5)
    # 4 frames of 50 Hz in one of 12.5 Hz: 0-3, 4-7, the valid ones of 8-11; then nothing is valid.
    assert down.dtype == torch.float16
    assert down[0, :, 0].tolist() == [1.5, 5.5, 9.0, 0.0]


def test_a_whole_crop_has_the_same_bits_alone_as_beside_a_short_one() -> None:
    frames = torch.randn(2, WAVLM.frames, 3).half()
    both = average_down(frames, WAVLM, torch.tensor([WAVLM.frames, 30]), 6.25)
    assert torch.equal(average_down(frames[:1], WAVLM, torch.tensor([WAVLM.frames]), 6.25), both[:1])
    assert not both[1, 4:].any()


@pytest.mark.parametrize(("rate_hz", "steps"), [(6.25, 62), (12.5, 125), (25.0, 250)])
def test_every_encoder_reaches_every_common_rate(rate_hz: float, steps: int) -> None:
    valid_s = torch.tensor([10.0, 4.0])
    for one in (WAVLM, MUQ, M2D):
        valid = torch.tensor([one.valid_frames(s) for s in valid_s.tolist()])
        held = average_down(torch.randn(2, one.frames, 3), one, valid, rate_hz).float()
        assert to_common(held, one, rate_hz, valid_s).shape == (2, steps, 3)


def test_a_slow_encoder_is_held_and_never_reads_padding() -> None:
    held = torch.arange(62.0).view(1, 62, 1)
    common = to_common(held, M2D, 25.0, torch.tensor([0.5]))
    # 0.5 s: 12 common frames; 3 whole M2D frames of 160 ms, the third held to the end.
    assert common[0, :, 0].tolist() == [0.0] * 4 + [1.0] * 4 + [2.0] * 4
    assert to_common(held, M2D, 25.0, torch.tensor([10.0]))[0, -3:, 0].tolist() == [61.0] * 3


def test_the_common_length_is_that_of_the_longest_crop() -> None:
    assert to_common(torch.zeros(2, 62, 1), M2D, 6.25, torch.tensor([2.0, 4.0])).shape == (2, 25, 1)


def test_rates_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="neither a whole multiple"):
        average_down(torch.zeros(1, 100, 1), spec("odd", 10.0), torch.tensor([100]), 6.25)


def test_mean_and_deviation_over_valid_frames() -> None:
    frames = torch.randn(3, 20, 4).half()
    valid = torch.tensor([20, 7, 1])
    loud = frames.clone()
    loud[1, 7:], loud[2, 1:] = 6e4, 6e4
    result = mean_and_deviation(loud, valid)
    for row, count in enumerate(valid.tolist()):
        part = frames[row, :count].double()
        expected = torch.cat((part.mean(0), part.std(0, correction=0)))
        torch.testing.assert_close(result[row].double(), expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize("steps", [0, 1, 2, 15, 16, 17, 62, 250, 256, 257, 499])
def test_a_sum_over_time_depends_neither_on_padding_nor_on_neighbours(steps: int) -> None:
    x = torch.randn(steps, 7, 5)
    found = sum_over_time(x)
    torch.testing.assert_close(found.double(), x.double().sum(0), atol=1e-4, rtol=0)
    longer = torch.cat((x, torch.zeros(13, 7, 5)))
    assert torch.equal(sum_over_time(longer), found)
    assert torch.equal(sum_over_time(x[:, 2:3, 4:]), found[2:3, 4:])
