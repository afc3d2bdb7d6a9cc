"""From an aggregator's vector to one score (or distribution) for each axis."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from mmmos.heads.config import HeadConfig
from mmmos.heads.network.aggregators import Aggregator
from mmmos.heads.network.closed_form import GaussianKernel
from mmmos.heads.network.products import by_axis, linear

FAR = 3e38
"""A limit that no feature reaches; infinity would not be a finite tensor."""


class Towers(nn.Module):
    """Independent MLPs dim -> hidden -> outputs, one per axis, the first layer as one product."""

    def __init__(self, dim: int, hidden: int, axes: int, outputs: int, dropout: float) -> None:
        super().__init__()
        self.axes, self.dropout = axes, nn.Dropout(dropout)
        self.inner = nn.Linear(dim, axes * hidden)
        bound = 1 / math.sqrt(hidden)
        self.weight = nn.Parameter(torch.empty(axes, outputs, hidden).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(axes, outputs).uniform_(-bound, bound))

    def forward(self, x: Tensor) -> Tensor:
        """[B, dim], or [B, A, dim] with a vector for each axis -> [B, A, outputs]."""
        if x.dim() == 3:
            weight = self.inner.weight.unflatten(0, (self.axes, -1))
            hidden = by_axis(x, weight) + self.inner.bias.unflatten(0, (self.axes, -1))
        else:
            hidden = linear(x, self.inner.weight, self.inner.bias).unflatten(-1, (self.axes, -1))
        hidden = self.dropout(torch.relu(hidden))
        return by_axis(hidden, self.weight) + self.bias


class LinearTowers(nn.Module):
    """One linear map dim -> outputs per axis."""

    def __init__(self, dim: int, axes: int, outputs: int, dropout: float) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        bound = 1 / math.sqrt(dim)
        self.weight = nn.Parameter(torch.empty(axes, outputs, dim).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.zeros(axes, outputs))

    def forward(self, x: Tensor) -> Tensor:
        """[B, dim], or [B, A, dim] with a vector for each axis -> [B, A, outputs]."""
        return by_axis(self.dropout(x), self.weight) + self.bias


class BoundedLinear(LinearTowers):
    """One linear map per axis that does not go on beyond what training saw.

    Its features stay between `lowest` and `highest` [dim], its scores between `low` and `high` [A].
    """

    lowest: Tensor
    highest: Tensor
    low: Tensor
    high: Tensor

    def __init__(self, dim: int, axes: int) -> None:
        super().__init__(dim, axes, 1, 0.0)
        self.register_buffer("lowest", torch.full((dim,), -FAR))
        self.register_buffer("highest", torch.full((dim,), FAR))
        self.register_buffer("low", torch.full((axes,), -FAR))
        self.register_buffer("high", torch.full((axes,), FAR))

    def forward(self, x: Tensor) -> Tensor:
        """[B, dim] -> [B, A, 1]."""
        scores = super().forward(torch.clamp(x, self.lowest, self.highest))
        return torch.clamp(scores, self.low[:, None], self.high[:, None])


def towers_of(aggregator: Aggregator, config: HeadConfig, axes: int, outputs: int, support: int) -> nn.Module:
    """What turns an aggregator's vector into scores."""
    if aggregator.tower == "kernel":
        return GaussianKernel(aggregator.dim, axes, support)
    if aggregator.tower == "bounded":
        return BoundedLinear(aggregator.dim, axes)
    if aggregator.tower == "linear":
        return LinearTowers(aggregator.dim, axes, outputs, config.dropout)
    return Towers(aggregator.dim, config.hidden, axes, outputs, config.dropout)
