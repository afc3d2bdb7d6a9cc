"""Crops go through an encoder in batches that fit, in their order, each once."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from mmmos.extract.audio import AUDIO_RECIPE
from mmmos.extract.encoders import Encoder, load_encoder
from mmmos.extract.encoders.encoder import Loaded
from mmmos.extract.encoders.published import Origin
from mmmos.extract.encoding import encode_batches
from mmmos.store.device import BatchSize


class Means(torch.nn.Module):
    """One state [B, 20, 1], the mean of each twentieth; out of memory beyond `memory` crops."""

    def __init__(self, memory: int) -> None:
        super().__init__()
        self.memory = memory

    def forward(self, waves: Tensor) -> list[Tensor]:
        if len(waves) > self.memory:
            raise torch.OutOfMemoryError("pretended")
        return [waves.reshape(len(waves), 20, -1).mean(2)[:, :, None]]


def encoder(memory: int) -> Encoder:
    spec = replace(
        load_encoder("logmel", audio_recipe=AUDIO_RECIPE).spec,
        **{"name": "means", "sample_rate_hz": 100, "frame_rate_hz": 2.0, "frames": 20, "dim": 1},
    )
    return Encoder(
        spec, Loaded(Means(memory), Origin("none", "none", ""), dim=1, layers=1), torch.device("cpu")
    )


def crops(count: int) -> list[dict[int, np.ndarray]]:
    return [{100: np.full(1000, number, np.float32)} for number in range(count)]


@pytest.mark.parametrize(
    ("memory", "batch", "sizes"),
    [(9, 4, [4, 3]), (9, 99, [7]), (3, 99, [3, 3, 1]), (2, 4, [2, 2, 2, 1]), (1, 8, [1] * 7)],
)
def test_batches_hold_every_crop_once_and_in_order(memory: int, batch: int, sizes: list[int]) -> None:
    found = list(encode_batches(encoder(memory), crops(7), [10.0] * 7, BatchSize(batch)))
    assert [len(frames) for frames, _ in found] == sizes
    means = torch.cat([means for _, means in found]).squeeze()
    assert means.round().tolist() == list(range(7))


def test_a_batch_that_was_halved_stays_so_for_later_crops() -> None:
    size = BatchSize(8)
    tight = encoder(3)
    list(encode_batches(tight, crops(8), [10.0] * 8, size))
    assert size.crops == 2
    assert [len(f) for f, _ in encode_batches(tight, crops(5), [10.0] * 5, size)] == [2, 2, 1]


def test_a_crop_that_does_not_fit_alone_is_an_error() -> None:
    with pytest.raises(torch.OutOfMemoryError, match="one crop of means on cpu does not fit into memory"):
        list(encode_batches(encoder(0), crops(2), [10.0] * 2, BatchSize(2)))


def test_only_the_valid_part_of_a_crop_counts_in_its_mean() -> None:
    half = {100: np.concatenate((np.ones(500, np.float32), np.zeros(500, np.float32)))}
    ((_, means),) = encode_batches(encoder(1), [half], [5.0], BatchSize(1))
    assert means.item() == pytest.approx(1.0)
