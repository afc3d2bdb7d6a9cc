"""From the features of one crop to one vector (paper III-B), and a few ways that the paper lacks.

Conventions
    specs    the encoders' specs, in the config's order.
    features one tensor per encoder, standardised:
             reads "means"       [B, D]      time mean under the spec's layer rule
             reads "layers"      [B, L, D]   time mean of every stored layer
             reads "statistics"  [B, 2 D]    mean and deviation over the valid frames
             reads "frames"      [B, T_e, D] frames at the lower of the encoder's and the common rate
    valid_s  [B] seconds of audio in each crop; frames beyond are padding and never count.
    returns  [B, dim] for all axes alike, or [B, A, dim] with a vector for each axis.

The fields of the config that an aggregator depends on are named in `config.AGGREGATOR_FIELDS`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from mmmos.heads.config import HeadConfig
from mmmos.heads.network.alignment import to_common, valid_steps
from mmmos.heads.network.recurrence import GATES, bidirectional, single_step
from mmmos.store.schema import EncoderSpec


def project(x: Tensor, weight: Tensor, precision: str) -> Tensor:
    """x [..., D] times weight [G, D], in bf16 where asked (the sum is fp32 inside either way)."""
    if precision == "bf16":
        return nn.functional.linear(x.bfloat16(), weight.bfloat16()).float()
    return nn.functional.linear(x, weight)


def _uniform(bound: float, *shape: int) -> nn.Parameter:
    return nn.Parameter(torch.empty(*shape).uniform_(-bound, bound))


class Aggregator(nn.Module):
    """What every entry of AGGREGATORS is; its __init__ sets `dim`, the width of what it returns."""

    reads: ClassVar[str] = "means"
    dim: int

    def __init__(self, specs: Sequence[EncoderSpec], config: HeadConfig, axes: int) -> None:
        super().__init__()


class SideBySide(Aggregator):
    """`mlp`: the encoders' time means, concatenated; without parameters of its own."""

    def __init__(self, specs: Sequence[EncoderSpec], config: HeadConfig, axes: int) -> None:
        super().__init__(specs, config, axes)
        self.dim = sum(spec.frame_dim for spec in specs)

    def forward(self, features: Sequence[Tensor], valid_s: Tensor) -> Tensor:
        return torch.cat(tuple(features), dim=-1)


class MeanAndDeviation(SideBySide):
    """`statistics`: mean and standard deviation over time of each encoder's own frames."""

    reads = "statistics"

    def __init__(self, specs: Sequence[EncoderSpec], config: HeadConfig, axes: int) -> None:
        super().__init__(specs, config, axes)
        self.dim *= 2


class LayerMix(Aggregator):
    """`layermix`: for each axis and encoder a softmax over the stored layers, uniform at the start.

    The released code's idea with its two faults mended: every axis mixes with its own weights, and
    padding is not pooled.  Mix and time mean commute, so the stored layer means are exact.
    """

    reads = "layers"

    def __init__(self, specs: Sequence[EncoderSpec], config: HeadConfig, axes: int) -> None:
        super().__init__(specs, config, axes)
        self.logits = nn.ParameterList([nn.Parameter(torch.zeros(axes, spec.layers)) for spec in specs])
        self.dim = sum(spec.dim for spec in specs)

    def forward(self, features: Sequence[Tensor], valid_s: Tensor) -> Tensor:
        mixed = [
            torch.einsum("al,bld->bad", logits.softmax(-1), x)
            for logits, x in zip(self.logits, features, strict=True)
        ]
        return torch.cat(mixed, dim=-1)


class BlstmHidden(Aggregator):
    """`blstm_h`: the final hidden states [B, 2 width] of a BLSTM over the time mean, a sequence of one."""

    def __init__(self, specs: Sequence[EncoderSpec], config: HeadConfig, axes: int) -> None:
        super().__init__(specs, config, axes)
        width, bound = config.width, 1 / math.sqrt(config.width)
        self.weight = _uniform(bound, 2 * 3 * width, sum(spec.frame_dim for spec in specs))
        self.bias = _uniform(bound, 2 * 3 * width)
        self.dim = 2 * width

    def forward(self, features: Sequence[Tensor], valid_s: Tensor) -> Tensor:
        projected = nn.functional.linear(torch.cat(tuple(features), dim=-1), self.weight, self.bias)
        return single_step(projected.unflatten(-1, (2, -1)))


class BlstmTime(Aggregator):
    """`blstm_t`: BLSTM over the concatenated frames at a common rate, mean of its states over time.

    W [a; b; c] = Wa a + Wb b + Wc c, so each encoder is projected at its own (lower) rate and the
    sum is taken at the common one: bringing frames to a rate is linear in time and commutes.
    """

    reads = "frames"

    def __init__(self, specs: Sequence[EncoderSpec], config: HeadConfig, axes: int) -> None:
        super().__init__(specs, config, axes)
        width, bound = config.width, 1 / math.sqrt(config.width)
        self.precision, self.rate_hz = config.precision, config.frame_rate_hz
        self.specs = tuple(specs)
        self.weights = nn.ParameterList(
            [_uniform(bound, 2 * GATES * width, spec.frame_dim) for spec in specs]
        )
        self.bias = _uniform(bound, 2 * GATES * width)
        self.recurrent = _uniform(bound, 2, GATES * width, width)
        self.dim = 2 * width

    def forward(self, features: Sequence[Tensor], valid_s: Tensor) -> Tensor:
        parts = (
            to_common(project(x, weight, self.precision), spec, self.rate_hz, valid_s)
            for x, weight, spec in zip(features, self.weights, self.specs, strict=True)
        )
        projected = next(parts) + self.bias
        for part in parts:
            projected += part
        valid = valid_steps(valid_s, self.rate_hz)
        hidden = bidirectional(projected.unflatten(-1, (2, -1)), self.recurrent, valid)
        return (hidden.sum(0) / valid[:, None]).transpose(0, 1).flatten(1)


class Attention(Aggregator):
    """`attention`: for each axis a softmax over the valid frames, from one learned query.

    It starts uniform, as mean pooling; what training adds is the weighting of moments
    (self-attentive pooling with one head an axis, Safari et al. 2020).
    """

    reads = "frames"

    def __init__(self, specs: Sequence[EncoderSpec], config: HeadConfig, axes: int) -> None:
        super().__init__(specs, config, axes)
        self.rate_hz, self.specs = config.frame_rate_hz, tuple(specs)
        self.queries = nn.ParameterList([nn.Parameter(torch.zeros(axes, spec.frame_dim)) for spec in specs])
        self.dim = sum(spec.frame_dim for spec in specs)
        self.temperature = math.sqrt(self.dim)

    def forward(self, features: Sequence[Tensor], valid_s: Tensor) -> Tensor:
        frames = torch.cat(
            [to_common(x, spec, self.rate_hz, valid_s) for x, spec in zip(features, self.specs, strict=True)],
            dim=-1,
        )
        scores = frames @ torch.cat(tuple(self.queries), dim=-1).T / self.temperature
        steps = torch.arange(frames.shape[1], device=frames.device)
        beyond = steps >= valid_steps(valid_s, self.rate_hz)[:, None]
        weights = scores.masked_fill(beyond[:, :, None], -math.inf).softmax(dim=1)
        return weights.transpose(1, 2) @ frames


AGGREGATORS: dict[str, type[Aggregator]] = {
    "mlp": SideBySide,
    "blstm_h": BlstmHidden,
    "blstm_t": BlstmTime,
    "attention": Attention,
    "statistics": MeanAndDeviation,
    "layermix": LayerMix,
}
