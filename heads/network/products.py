"""Wide matrix products of heads, and of their gradients, by the faster library of a CPU.

torch's own product of float32 is MKL's, which on an AMD runs at half speed: 106 of oneDNN's 230 GFLOP/s on
a Zen 5.  oneDNN comes with torch, too.  Its operator is private (torch 2.13), so only this file names it;
where it is missing, and on a card, everything runs on F.linear.

A score must not depend on what it is computed beside.  oneDNN's product of a row has the same bits whatever
the other rows are (AMD EPYC, torch 2.13, every shape tried, from LEAST rows on), MKL's has not where a
weight has few rows.  So all products of scoring but that of the recurrence are made here.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

LEAST = 4
"""Rows from which on the bits of a row's product do not depend on how many others are beside it."""


def at_least(x: Tensor) -> Tensor:
    """x [N, ...], on a CPU with rows of zeros behind it up to LEAST."""
    short = LEAST - len(x)
    return F.pad(x, (0, 0) * (x.dim() - 1) + (0, short)) if short > 0 and x.device.type == "cpu" else x


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x [..., D] times weight [G, D], plus bias [G]: [..., G], as F.linear to rounding."""
    if x.device.type != "cpu" or x.dtype != torch.float32 or not _has_onednn():
        return F.linear(x, weight, bias)
    rows = x.flatten(0, -2)
    product: Tensor = Product.apply(at_least(rows), weight)
    product = product[: len(rows)].unflatten(0, x.shape[:-1])
    return product if bias is None else product.add_(bias)


def is_scoring(x: Tensor) -> bool:
    """Whether the bits of a row must not depend on what stands beside it: without gradients, on a CPU."""
    return x.device.type == "cpu" and not torch.is_grad_enabled()


def by_axis(x: Tensor, weight: Tensor) -> Tensor:
    """x [B, A, D], or [B, D] for all axes alike, times each axis' own weight [A, G, D]: [B, A, G].

    One product wherever it is not scoring, which is MKL's on a CPU.
    """
    if not is_scoring(x):
        return torch.einsum("bad,agd->bag" if x.dim() == 3 else "bd,agd->bag", x, weight)
    if x.dim() == 2:
        return linear(x, weight.flatten(0, 1)).unflatten(-1, weight.shape[:2])
    return torch.stack([linear(x[:, axis], of_axis) for axis, of_axis in enumerate(weight)], dim=1)


class Product(torch.autograd.Function):
    """x [N, D], weight [G, D] -> [N, G]."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        return _times(x, weight)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor | None]:
        (x, weight), (grad,) = ctx.saved_tensors, grads
        needs_x, needs_weight = ctx.needs_input_grad
        return (
            _times(grad, weight.T) if needs_x else None,
            _times(grad.T, x.T) if needs_weight else None,
        )


def _times(x: Tensor, weight: Tensor) -> Tensor:
    product: Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, None, "none", [], "")
    return product


def _has_onednn() -> bool:
    return torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")
