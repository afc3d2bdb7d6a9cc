"""What a step of training reads: crops on the device, sent there in waves of many steps.

One reading feeds every head that asks for it.  On a CPU a wave is one step.  On a card, which nothing may
keep waiting, features that are there already cost the numbers of a wave's crops; others travel with them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from mmmos.heads.network.model import Head
from mmmos.heads.network.reading import Batch, Reading
from mmmos.heads.training.data import CPU, Features, Indices, sent
from mmmos.store.schema import EncoderSpec

WAVE_BYTES = 256 << 20
"""Features that are sent, or gathered on the card, at a time."""

Asked = dict[Reading, tuple[EncoderSpec, ...]]
"""Which encoders' features are read, and how."""


@dataclass(frozen=True)
class Wave:
    """B crops on the device.

    Parameters
    ----------
    clips
        [B] numbers of their clips.
    valid_s
        [B] seconds of audio in each.
    features
        By spec id and reading, see `Batch`.
    """

    clips: Tensor
    valid_s: Tensor
    features: dict[tuple[str, Reading], Tensor]

    def __len__(self) -> int:
        return len(self.clips)

    def batch(self, head: Head) -> Batch:
        """What one head reads of them."""
        features = tuple(self.features[spec.id, head.reading] for spec in head.specs)
        return Batch(features, self.valid_s)

    def steps(self, crops: int) -> Iterator[Wave]:
        """Parts of so many crops, and what is left."""
        for at in range(0, len(self), crops):
            part = slice(at, at + crops)
            yield Wave(
                self.clips[part], self.valid_s[part], {key: x[part] for key, x in self.features.items()}
            )


def asked_by(heads: Iterable[Head]) -> Asked:
    """What some heads read between them."""
    asked: Asked = {}
    for head in heads:
        asked[head.reading] = tuple(dict.fromkeys((*asked.get(head.reading, ()), *head.specs)))
    return asked


def read(features: Features, asked: Asked, clips: Indices, rows: Indices) -> Wave:
    """Crops with the numbers `rows`, of these clips, as one wave."""
    found: dict[tuple[str, Reading], Tensor] = {}
    for reading, specs in asked.items():
        batch = features.batch(specs, reading, rows)
        valid_s = batch.valid_s
        found |= {(spec.id, reading): x for spec, x in zip(specs, batch.features, strict=True)}
    return Wave(sent(torch.from_numpy(clips), features.device), valid_s, found)


def steps(features: Features, asked: Asked, batches: Sequence[Indices]) -> Iterator[Wave]:
    """Batches [B, 2] of (clip, crop) numbers, as `epoch_batches` has them: read one after the other."""
    at, many = 0, 1
    while at < len(batches):
        some = batches[at : at + many]
        pairs = some[0] if many == 1 else np.concatenate(some)
        wave = read(features, asked, pairs[:, 0], pairs[:, 1])
        yield from wave.steps(len(some[0]))
        at += many
        if features.device != CPU:
            bytes_a_step = sum(x.nbytes for x in wave.features.values()) // len(some)
            many = max(1, WAVE_BYTES // max(1, bytes_a_step))
