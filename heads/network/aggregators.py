"""From the features of one crop to one vector (paper III-B), and a few ways that the paper lacks.

Conventions
    specs    the encoders' specs, in the config's order.
    features one tensor per encoder, standardised:
             reads "means"       [B, D]      time mean under the head's or the spec's layer rule
             reads "layers"      [B, L, D]   time mean of every stored layer; L is 1 where a rule picks one
             reads "statistics"  [B, 2 D]    mean and deviation over the valid frames
             reads "profile"     [B, 8 D]    time mean and all that `profile` says of the valid frames
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

from mmmos.heads.config import BUNDLE, HeadConfig
from mmmos.heads.network.alignment import sum_over_time, to_common, valid_steps
from mmmos.heads.network.products import is_scoring, linear
from mmmos.heads.network.reading import Reading
from mmmos.heads.network.recurrence import GATES, bidirectional, single_step
from mmmos.store.names import choose
from mmmos.store.schema import EncoderSpec


def project(x: Tensor, weight: Tensor, precision: str) -> Tensor:
    """x [..., D] times weight [G, D], in bf16 where asked (the sum is fp32 inside either way)."""
    if precision == "bf16":
        return nn.functional.linear(x.bfloat16(), weight.bfloat16()).float()
    return linear(x, weight)


def _uniform(bound: float, *shape: int) -> nn.Parameter:
    return nn.Parameter(torch.empty(*shape).uniform_(-bound, bound))


class Aggregator(nn.Module):
    """What every entry of AGGREGATORS is; its __init__ sets `dim`, the width of what it returns.

    reads: what it reads unless the config says otherwise; reading: what this one reads; tower: what turns
    its vector into scores, see `model`.
    """

    reads: ClassVar[str] = "means"
    tower: ClassVar[str] = "mlp"
    dim: int

    def __init__(self, specs: Sequence[EncoderSpec], config: HeadConfig, axes: int) -> None:
        super().__init__()
        self.reading = Reading(config.reads or self.reads, config.frame_rate_hz, config.layer)
        self.widths = [math.prod(self.reading.shape(spec)) for spec in specs]


class SideBySide(Aggregator):
    """`mlp`: the encoders' time means, concatenated; without parameters of its own."""

    def __init__(self, specs: Sequence[EncoderSpec], config: HeadConfig, axes: int) -> None:
        super().__init__(specs, config, axes)
        self.dim = sum(self.widths)

    def forward(self, features: Sequence[Tensor], valid_s: Tensor) -> Tensor:
        return torch.cat(tuple(features), dim=-1)


class MeanAndDeviation(SideBySide):
    """`statistics`: mean and standard deviation over time of each encoder's own frames."""

    reads = "statistics"


class Linear(SideBySide):
    """`linear`: as `mlp`, without a hidden layer (paper V-B and the paper's release)."""

    tower = "linear"


class LayerMix(Aggregator):
    """`layermix`: for each axis and encoder a softmax over the stored layers, uniform at the start.

    The released code's idea with its two faults mended: every axis mixes with its own weights, and
    padding is not pooled.  Mix and time mean commute, so the stored layer means are exact.
    """

    reads = "layers"

    def __init__(self, specs: Sequence[EncoderSpec], config: HeadConfig, axes: int) -> None:
        super().__init__(specs, config, axes)
        layers = [self.reading.shape(spec)[0] for spec in specs]
        self.logits = nn.ParameterList([nn.Parameter(torch.zeros(axes, count)) for count in layers])
        self.dim = sum(spec.dim for spec in specs)

    def forward(self, features: Sequence[Tensor], valid_s: Tensor) -> Tensor:
        mixed = []
        for logits, x in zip(self.logits, features, strict=True):
            shares = logits.softmax(-1)
            if is_scoring(x):
                mixed.append(linear(x.transpose(1, 2), shares).transpose(1, 2))
            else:
                mixed.append(torch.einsum("al,bld->bad", shares, x))
        return torch.cat(mixed, dim=-1)


class LinearLayerMix(LayerMix):
    """`linear` where it mixes layers."""

    tower = "linear"


class Solved(SideBySide):
    """`ridge`: mean and profile side by side, for a head that is solved in one step (see `closed_form`).

    Under the layer rule "best" only one layer of each encoder goes on, `picked` says which.  A bundle's
    scores beside encoders weigh as much as all of these: a few numbers would drown among thousands.
    """

    reads = "profile"
    tower = "bounded"
    picked: Tensor

    def __init__(self, specs: Sequence[EncoderSpec], config: HeadConfig, axes: int) -> None:
        super().__init__(specs, config, axes)
        best = [self.reading.kind != "statistics" and self.reading.rule(spec) == "best" for spec in specs]
        self.layers = [
            (spec.layers, spec.dim) if one else (1, 0) for spec, one in zip(specs, best, strict=True)
        ]
        of_encoder = zip(self.widths, self.layers, strict=True)
        kept = [width - (count - 1) * dim for width, (count, dim) in of_encoder]
        self.dim = sum(kept)
        self.gains = [
            math.sqrt((self.dim - width) / width) if spec.name == BUNDLE and width < self.dim else 1.0
            for spec, width in zip(specs, kept, strict=True)
        ]
        self.register_buffer("picked", torch.zeros(len(specs), dtype=torch.int64))

    def forward(self, features: Sequence[Tensor], valid_s: Tensor) -> Tensor:
        kept = []
        of_encoder = zip(features, self.layers, self.picked, self.gains, strict=True)
        for x, (count, width), layer, gain in of_encoder:
            ends = [x[:, int(layer) * width : (int(layer) + 1) * width], x[:, count * width :]]
            kept += ends if width else [x * gain if gain != 1.0 else x]
        return torch.cat(kept, dim=-1)


class SolvedKernel(Solved):
    """`kernel_ridge` and `svr`: as `ridge`, compared with the training clips by a Gaussian kernel."""

    tower = "kernel"


class BlstmHidden(Aggregator):
    """`blstm_h`: the final hidden states [B, 2 width] of a BLSTM over the time mean, a sequence of one."""

    def __init__(self, specs: Sequence[EncoderSpec], config: HeadConfig, axes: int) -> None:
        super().__init__(specs, config, axes)
        width, bound = config.width, 1 / math.sqrt(config.width)
        self.weight = _uniform(bound, 2 * 3 * width, sum(self.widths))
        self.bias = _uniform(bound, 2 * 3 * width)
        self.dim = 2 * width

    def forward(self, features: Sequence[Tensor], valid_s: Tensor) -> Tensor:
        projected = linear(torch.cat(tuple(features), dim=-1), self.weight, self.bias)
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
        total = sum_over_time(hidden) if is_scoring(hidden) else hidden.sum(0)
        return (total / valid[:, None]).transpose(0, 1).flatten(1)


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
        queries = torch.cat(tuple(self.queries), dim=-1)
        scores = linear(frames, queries) if is_scoring(frames) else frames @ queries.T
        steps = torch.arange(frames.shape[1], device=frames.device)
        valid = valid_steps(valid_s, self.rate_hz)
        beyond = steps >= valid[:, None]
        weights = (scores / self.temperature).masked_fill(beyond[:, :, None], -math.inf).softmax(dim=1)
        if not is_scoring(frames):
            return weights.transpose(1, 2) @ frames
        windows = zip(weights, frames, valid.tolist(), strict=True)
        return torch.stack([linear(shares[:n].T, own[:n].T) for shares, own, n in windows])


AGGREGATORS: dict[str, type[Aggregator]] = {
    "mlp": SideBySide,
    "blstm_h": BlstmHidden,
    "blstm_t": BlstmTime,
    "attention": Attention,
    "statistics": MeanAndDeviation,
    "layermix": LayerMix,
    "linear": Linear,
    "ridge": Solved,
    "kernel_ridge": SolvedKernel,
    "svr": SolvedKernel,
}


def aggregator_of(specs: Sequence[EncoderSpec], config: HeadConfig, axes: int) -> Aggregator:
    """The aggregator that a config asks for; `mlp` and `linear` learn a mix of layers where it says so."""
    kind = AGGREGATORS[choose("aggregator", config.aggregator, AGGREGATORS)]
    if "layermix" in config.layer and kind in (SideBySide, Linear):
        kind = LinearLayerMix if kind is Linear else LayerMix
    return kind(specs, config, axes)
