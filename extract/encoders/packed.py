"""Linear layers whose weights are packed for oneDNN once, with activation and residual fused.

On a CPU, F.linear packs the weight at every call, or not at all.  torch's compiler uses the
operators below instead.  They are private (torch 2.13), so only this file names them.  Where they
are missing everything runs on F.linear, with the same results to rounding.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {"none": lambda x: x, "gelu": F.gelu, "swish": F.silu}

TYPICAL_ROWS = 512
"""Number of rows (frames) that the packed layout is optimised for; any number works."""


def can_pack() -> bool:
    """Whether this torch build has the private operators."""
    return torch.backends.mkldnn.is_available() and all(
        hasattr(torch.ops.mkldnn, name) for name in ("_linear_pointwise", "_reorder_linear_weight")
    )


def gelu_(x: Tensor) -> Tensor:
    """GELU in place; the public F.gelu allocates its result."""
    return torch.ops.aten.gelu_(x)


@dataclass(frozen=True)
class Arithmetic:
    """Number type of the matrix products in our own forward passes, and whether they run on a CPU.

    Only on a CPU are weights packed.
    """

    dtype: torch.dtype = torch.float32
    on_cpu: bool = True


FLOAT32 = Arithmetic()


class PackedLinear(nn.Module):
    """activation(x W^T + b) + residual, for x [..., in].

    weight [out, in], bias [out] or None.  In 16 bits the input is rounded first and the result
    has 16 bits; a residual keeps its own type.
    """

    weight: Tensor
    bias: Tensor | None

    def __init__(
        self,
        weight: Tensor,
        bias: Tensor | None,
        activation: str = "none",
        arithmetic: Arithmetic = FLOAT32,
    ) -> None:
        super().__init__()
        self.activation = activation
        self.dtype = arithmetic.dtype
        self.packs = arithmetic.on_cpu and can_pack()
        weight = weight.detach().to(self.dtype).contiguous()
        if self.packs:
            # Not a buffer: a packed weight can be neither saved nor moved.
            self.weight = torch.ops.mkldnn._reorder_linear_weight(weight, TYPICAL_ROWS)
        else:
            self.register_buffer("weight", weight, persistent=False)
        bias = None if bias is None else bias.detach().to(self.dtype).clone()
        self.register_buffer("bias", bias, persistent=False)

    @classmethod
    def of(cls, *linears: Any, activation: str = "none", arithmetic: Arithmetic) -> PackedLinear:
        """One layer in place of several with the same input; their outputs are concatenated."""
        weight = torch.cat([linear.weight.flatten(1) for linear in linears])
        biases = [linear.bias for linear in linears]
        bias = None if biases[0] is None else torch.cat(biases)
        return cls(weight, bias, activation, arithmetic)

    def forward(self, x: Tensor, residual: Tensor | None = None) -> Tensor:
        x = x.to(self.dtype)
        if not self.packs:
            y = ACTIVATIONS[self.activation](F.linear(x, self.weight, self.bias))
        elif residual is not None and residual.dtype == self.dtype and self.activation == "none":
            return torch.ops.mkldnn._linear_pointwise.binary(x, residual, self.weight, self.bias, "add")
        else:
            y = torch.ops.mkldnn._linear_pointwise(x, self.weight, self.bias, self.activation, [], "none")
        return y if residual is None else residual + y
