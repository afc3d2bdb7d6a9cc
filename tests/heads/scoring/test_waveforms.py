"""Which axis of a waveform means what is said by the caller, never guessed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from mmmos.heads.scoring.waveforms import believable, many_clips, one_clip
from mmmos.store.schema import Scale

N = 16000


@pytest.mark.parametrize("make", [np.zeros, torch.zeros])
def test_one_clip_has_one_row_or_channels_that_are_called_so(make: Any) -> None:
    assert one_clip(make(N), channels=False).shape == (N,)
    assert one_clip(make((1, N)), channels=False).shape == (1, N)
    assert one_clip(make((4, N)), channels=True).shape == (4, N)
    assert one_clip(make(N), channels=True).shape == (N,)
    with pytest.raises(
        ValueError, match=r"\[4, 16000\] may be 4 clips or 4 channels: say channels=True .*scores"
    ):
        one_clip(make((4, N)), channels=False)
    for channels in (True, False):
        with pytest.raises(ValueError, match="more channels than samples: transpose"):
            one_clip(make((N, 2)), channels=channels)


def test_a_batch_is_rows_of_clips() -> None:
    assert [list(clip.shape) for clip in many_clips(torch.zeros(4, N), channels=False)] == [[1, N]] * 4
    assert [list(clip.shape) for clip in many_clips(np.zeros((4, N)), channels=False)] == [[1, N]] * 4
    clips = many_clips([np.zeros(3, np.float32), torch.zeros(5)], channels=False)
    assert [list(clip.shape) for clip in clips] == [[1, 3], [1, 5]]
    clips = many_clips(torch.zeros(4, 2, N), channels=True)
    assert [list(clip.shape) for clip in clips] == [[2, N]] * 4
    clips = many_clips([torch.zeros(2, 5), torch.zeros(1, 7)], channels=True)
    assert [list(clip.shape) for clip in clips] == [[2, 5], [1, 7]]
    assert many_clips([], channels=False) == many_clips(torch.zeros(0, N), channels=False) == []


@pytest.mark.parametrize(
    ("waves", "channels", "said"),
    [
        (torch.zeros(N), False, r"takes \[B, n\], not the shape \[16000\]: one clip alone is wave\[None\]"),
        (torch.zeros(2, 2, N), False, r"not the shape \[2, 2, 16000\]: channels need channels=True"),
        ([torch.zeros(2, N)], False, r"waveforms \[n\] in a list, not the shape \[2, 16000\]: channels need"),
        (torch.zeros(2, N), True, r"takes \[B, channels, n\], not the shape \[2, 16000\]: one clip alone"),
        ([torch.zeros(N, 2)], True, "more channels than samples: transpose"),
        ([0.0, 0.1], False, r"not the shape \[\]: one clip alone"),
    ],
)
def test_anything_else_is_refused_with_what_to_do(waves: Any, channels: bool, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        many_clips(waves, channels=channels)


def test_scores_are_held_to_the_scale_unless_they_are_beyond_belief() -> None:
    means = torch.tensor([[5.0, 11.0], [0.5, 3.0], [20.0, 5.0], [torch.nan, 5.0], [5.0, torch.inf]]).double()
    held = believable(means, Scale(1, 10), bounded=True)
    assert held[:2].tolist() == [[5.0, 10.0], [1.0, 3.0]]
    assert held[2:].isnan().all()
    free = believable(means, Scale(1, 10), bounded=False)
    assert free[:3].tolist() == means[:3].tolist()
    assert free[3:].isnan().all()
    two = believable(torch.tensor([[-3.0, 150.0]]), Scale(-2, 100, ((-2, 2), (0, 100))), bounded=True)
    assert two.tolist() == [[-2.0, 100.0]]
