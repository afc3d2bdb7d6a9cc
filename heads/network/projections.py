"""The towers of audiobox-aesthetics (Tjandra et al. 2025, arXiv 2502.05139), for heads made from its file.

Together with the aggregator `layermix`, the mix of layers that it learnt for each axis, they are the whole
of its heads.  They are read, not trained: a head that is trained here has `model.Towers`.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mmmos.heads.network.products import linear

MAX_PROJECTIONS = 64


@dataclass(frozen=True)
class Layout:
    """What cannot be read from the tensors' shapes.

    projections: linear layers of each axis; layer_norm: whether each but the last is followed by one (and by
    GELU in either case); unit_length: whether each vector is divided by its length first.
    """

    projections: int
    layer_norm: bool
    unit_length: bool

    def __post_init__(self) -> None:
        if not 1 <= self.projections <= MAX_PROJECTIONS:
            raise ValueError(f"{self.projections} projections; 1 to {MAX_PROJECTIONS} are read")


class Linear(nn.Linear):
    """As nn.Linear, by the product of all heads."""

    def forward(self, x: Tensor) -> Tensor:
        return linear(x, self.weight, self.bias)


class Projections(nn.Module):
    """For each axis linear layers dim -> dim ... -> 1; `axes` are numbered as those of the head."""

    def __init__(self, dim: int, axes: int, layout: Layout) -> None:
        super().__init__()
        self.unit_length = layout.unit_length
        self.axes = nn.ModuleList(nn.Sequential(*_layers(dim, layout)) for _ in range(axes))

    def forward(self, x: Tensor) -> Tensor:
        """[B, A, dim], a vector for each axis -> [B, A, 1]."""
        if self.unit_length:
            x = nn.functional.normalize(x, dim=-1)
        return torch.stack([layers(x[:, axis]) for axis, layers in enumerate(self.axes)], dim=1)


def _layers(dim: int, layout: Layout) -> list[nn.Module]:
    inner = [Linear, nn.LayerNorm, nn.GELU] if layout.layer_norm else [Linear, nn.GELU]
    shapes = {Linear: (dim, dim), nn.LayerNorm: (dim,), nn.GELU: ()}
    layers = [kind(*shapes[kind]) for _ in range(layout.projections - 1) for kind in inner]
    return [*layers, Linear(dim, 1)]
