"""A crop in numbers that need no training: how the values of each feature are spread over time.

Beside the time mean of a feature these say how much it varies, how fast, and between which values: what
listeners of processed audio hear is often in the few worst moments, not in the mean.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from mmmos.heads.network.alignment import mean_and_deviation, sum_over_time

PERCENTILES = (5, 25, 50, 75, 95)
STATISTICS = ("deviation", "step", *(f"percentile {share}" for share in PERCENTILES))
"""What follows the mean, each for every feature of a frame."""

READINGS = {
    "means": ("mean",),
    "statistics": ("mean", "deviation"),
    "profile": ("mean", *STATISTICS),
}
"""What readings that are numbers of a crop hold, one after the other; each for every feature of a frame."""


def profile(frames: Tensor, valid: Tensor) -> Tensor:
    """Frames [B, T, D], valid frames [B] -> [B, len(STATISTICS) D] fp32, padding never read.

    Deviation is that of the population; step is the mean size of the change from frame to frame (0 where
    there is one frame); percentiles are interpolated linearly.
    """
    x = frames.float()
    steps = torch.arange(x.shape[1], device=x.device)
    inside = (steps < valid[:, None])[:, :, None]
    count = valid[:, None].float()
    _, deviation = mean_and_deviation(frames, valid).chunk(2, dim=-1)
    changes = torch.where(inside[:, 1:], x[:, 1:] - x[:, :-1], 0.0).abs()
    change = sum_over_time(changes.transpose(0, 1)) / (count - 1).clamp(min=1)
    ranked = torch.where(inside, x, torch.inf).sort(dim=1).values
    rows = torch.arange(len(x), device=x.device)
    parts = [deviation, change]
    for share in PERCENTILES:
        place = (valid - 1).double() * share / 100
        low = place.long()
        high = torch.minimum(low + 1, valid.long() - 1)
        part = (place - low).float()[:, None]
        parts.append(ranked[rows, low] * (1 - part) + ranked[rows, high] * part)
    return torch.cat(parts, dim=-1)


def names_of(kind: str, columns: Sequence[str]) -> tuple[str, ...]:
    """What each number of a reading is (a key of READINGS), from the names of a frame's columns."""
    return tuple(f"{statistic} of {column}" for statistic in READINGS[kind] for column in columns)
