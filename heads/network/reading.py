"""What a head reads: the features of a crop in one of four forms, and what crops say of their clip.

Training reads stored features and scoring fresh ones; both bring them into a head's form here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from mmmos.heads.network.alignment import average_down, mean_and_deviation
from mmmos.store.schema import EncoderSpec


@dataclass(frozen=True)
class Reading:
    """How a head reads the features of every encoder.

    Parameters
    ----------
    kind
        "means", "layers", "statistics" or "frames" (see `aggregators`).
    rate_hz
        Common frame rate; 0.0 where no frames are read.
    """

    kind: str
    rate_hz: float = 0.0

    def shape(self, spec: EncoderSpec) -> tuple[int, ...]:
        """The shape of one crop's features as standardised: per layer and dimension, never per frame."""
        shapes = {
            "means": (spec.frame_dim,),
            "layers": (spec.layers, spec.dim),
            "statistics": (2 * spec.frame_dim,),
            "frames": (spec.frame_dim,),
        }
        return shapes[self.kind]


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
        return means()
    if reading.kind == "means":
        return layer_rule(means(), spec).contiguous()
    values, valid = frames()
    if reading.kind == "statistics":
        return mean_and_deviation(values, valid)
    return average_down(values, spec, valid, reading.rate_hz)


def layer_rule(means: Tensor, spec: EncoderSpec) -> Tensor:
    """Layer means [N, L, D] -> [N, frame_dim] fp32 under "mean", "last", "all" or a layer's number.

    The time mean commutes with each of these rules, so this is the mean of the frames, unrounded.
    """
    if spec.layer == "mean":
        first, *others = means.unbind(1)
        total = first.double()
        for layer in others:  # one after the other: the same bits on every machine
            total += layer
        return (total / means.shape[1]).float()
    if spec.layer == "all":
        return means.flatten(1)
    return means[:, -1 if spec.layer == "last" else int(spec.layer)]


def weighted_mean(values: Tensor, owner: Tensor, seconds: Tensor) -> Tensor:
    """Means of N clips over their crops, weighted by the seconds of audio in each crop: [N, ...] float64.

    Parameters
    ----------
    values
        [R, ...] one entry for each crop.
    owner
        [R] int64 number of each crop's clip; every clip 0 .. N - 1 has one crop or more.
    seconds
        [R] seconds of audio in each crop.
    """
    count = int(owner.max()) + 1 if len(owner) else 0
    weights = seconds.double().view(-1, *[1] * (values.dim() - 1))
    sums = values.new_zeros((count, *values.shape[1:]), dtype=torch.float64)
    sums = sums.index_add(0, owner, values.double() * weights)
    return sums / weights.new_zeros((count, *weights.shape[1:])).index_add(0, owner, weights)
