"""What a head reads: the features of a crop in one of five forms, and what crops say of their clip.

Training reads stored features and scoring fresh ones; both bring them into a head's form here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from mmmos.heads.network.alignment import average_down, mean_and_deviation
from mmmos.heads.network.profile import STATISTICS, profile
from mmmos.store.names import choose
from mmmos.store.schema import EncoderSpec


@dataclass(frozen=True)
class Reading:
    """How a head reads the features of every encoder.

    Parameters
    ----------
    kind
        "means", "layers", "statistics", "profile" or "frames" (see `aggregators`).
    rate_hz
        Common frame rate; 0.0 where no frames are read.
    layer
        Rule for the layer means, see `HeadConfig.layer`; "" is the rule of each spec.
    """

    kind: str
    rate_hz: float = 0.0
    layer: str = ""

    def __post_init__(self) -> None:
        if self.layer and self.kind in ("statistics", "frames"):
            raise ValueError(
                f"layer is {self.layer!r}, but {self.kind} are read from frames, which are stored under one "
                "rule; choose it when features are extracted (`extract --layers`)"
            )

    def rule(self, spec: EncoderSpec) -> str:
        """The layer rule for one encoder; ValueError for one that it cannot follow."""
        own = "layermix" if self.kind == "layers" else spec.layer
        rule = self.layer
        if "=" in rule:
            pairs = dict(part.partition("=")[::2] for part in rule.split(","))
            rule = pairs.get(spec.name, "")
        rules = ("layermix",) if self.kind == "layers" else ("all", "best")
        return choose("layer rule", rule or own, ("mean", "last", *rules, *map(str, range(spec.layers))))

    def shape(self, spec: EncoderSpec) -> tuple[int, ...]:
        """The shape of one crop's features as standardised: per layer and dimension, never per frame."""
        if self.kind == "frames":
            return (spec.frame_dim,)
        if self.kind == "statistics":
            return (2 * spec.frame_dim,)
        rule = self.rule(spec)
        if self.kind == "layers":
            return (spec.layers if rule == "layermix" else 1, spec.dim)
        width = spec.dim * (spec.layers if rule in ("all", "best") else 1)
        return (width + (len(STATISTICS) * spec.frame_dim if self.kind == "profile" else 0),)


@dataclass(frozen=True)
class Batch:
    """Features of B crops: one tensor per encoder (see `aggregators`), and [B] seconds of audio in each."""

    features: tuple[Tensor, ...]
    valid_s: Tensor

    def to(self, device: torch.device | str) -> Batch:
        return Batch(tuple(x.to(device) for x in self.features), self.valid_s.to(device))


def as_read(
    reading: Reading,
    spec: EncoderSpec,
    *,
    frames: Callable[[], Iterable[Tensor]],
    means: Callable[[], Tensor],
) -> Tensor:
    """One encoder's features of N crops in the form that a head reads, not yet standardised.

    Parameters
    ----------
    frames
        Called only where frames are read; gives [N, T, frame_dim], and the number of valid frames [N].
    means
        Called only where means are read; gives the time mean of every layer [N, L, D].
    """
    if reading.kind == "layers":
        rule = reading.rule(spec)
        return means() if rule == "layermix" else layer_rule(means(), spec, rule)[:, None].contiguous()
    if reading.kind == "means":
        return layer_rule(means(), spec, reading.rule(spec)).contiguous()
    values, valid = frames()
    if reading.kind == "profile":
        return torch.cat((layer_rule(means(), spec, reading.rule(spec)), profile(values, valid)), dim=-1)
    if reading.kind == "statistics":
        return mean_and_deviation(values, valid)
    return average_down(values, spec, valid, reading.rate_hz)


def layer_rule(means: Tensor, spec: EncoderSpec, rule: str = "") -> Tensor:
    """Layer means [N, L, D] -> [N, D] fp32 under "mean", "last" or a layer's number, "all": [N, L D].

    The time mean commutes with each of these rules, so this is the mean of the frames, unrounded.
    `rule` stands for the spec's own where it is given.
    """
    rule = rule or spec.layer
    if rule == "mean":
        first, *others = means.unbind(1)
        total = first.double()
        for layer in others:  # one after the other: the same bits on every machine
            total += layer
        return (total / means.shape[1]).float()
    if rule in ("all", "best"):
        return means.flatten(1)
    return means[:, -1 if rule == "last" else int(rule)]


def weighted_mean(values: Tensor, owner: Tensor, seconds: Tensor, count: int) -> Tensor:
    """Means of N clips over their crops, weighted by the seconds of audio in each crop: [N, ...] float64.

    Parameters
    ----------
    values
        [R, ...] one entry for each crop.
    owner
        [R] int64 number of each crop's clip; every clip 0 .. N - 1 has one crop or more.
    seconds
        [R] seconds of audio in each crop.
    count
        N; a look at the owners would wait for a card.
    """
    weights = seconds.double().view(-1, *[1] * (values.dim() - 1))
    sums = values.new_zeros((count, *values.shape[1:]), dtype=torch.float64)
    sums = sums.index_add(0, owner, values.double() * weights)
    return sums / weights.new_zeros((count, *weights.shape[1:])).index_add(0, owner, weights)
