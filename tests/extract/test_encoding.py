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
from mmmos.extract.encoding import BatchSize, encode_batches, is_out_of_memory


class Means(torch.nn.Module):
    """One state [B, 20, 1], the mean of each twentieth; out of memory beyond `memory` crops."""

    def __init__(self, memory: int) -> None:
        super().__init__()
        self.memory = memory

    def forward(self, waves: Tensor) -> list[Tensor]:
        if len(waves) > self.memory:
            raise torch.OutOfMemoryError("pretended")
        return [waves.reshape(len(waves), 20, -1).mean(2)[:, :, None]]


WORDS = (
    "CUDA error: out of memory",
    "CUDA out of memory. Tried to allocate 2.00 GiB",
    "HIP out of memory. Tried to allocate 2.00 GiB",
    "MPS backend out of memory (MPS allocated: 8.87 GB)",
    "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
    "cuDNN error: CUDNN_STATUS_ALLOC_FAILED",
    "cuFFT error: CUFFT_ALLOC_FAILED",
    "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: you tried",
    "[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: not enough memory: you tried to allocate 8 bytes.",
)


@pytest.mark.parametrize("error", [*map(RuntimeError, WORDS), MemoryError(), torch.OutOfMemoryError("")])
def test_memory_runs_out_in_many_words(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    tight = encoder(2)
    plain = tight.network.forward

    def forward(waves: Tensor) -> list[Tensor]:
        if len(waves) > 2:
            raise error
        return plain(waves)

    monkeypatch.setattr(tight.network, "forward", forward)
    size = BatchSize(8)
    assert [len(f) for f, _ in encode_batches(tight, crops(5), [10.0] * 5, size)] == [2, 2, 1]
    assert size.crops == 2


def test_other_errors_are_not_taken_for_a_lack_of_memory() -> None:
    broken = encoder(9)
    broken.network.forward = lambda waves: 1 / 0 if len(waves) == 1 else torch.mm(waves, waves)
    with pytest.raises(RuntimeError, match="cannot be multiplied"):
        list(encode_batches(broken, crops(4), [10.0] * 4, BatchSize(4)))
    assert not is_out_of_memory(RuntimeError("CUDA error: device-side assert triggered"))


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
    with pytest.raises(torch.OutOfMemoryError, match="one crop of means does not fit into the memory of cpu"):
        list(encode_batches(encoder(0), crops(2), [10.0] * 2, BatchSize(2)))


def test_only_the_valid_part_of_a_crop_counts_in_its_mean() -> None:
    half = {100: np.concatenate((np.ones(500, np.float32), np.zeros(500, np.float32)))}
    ((_, means),) = encode_batches(encoder(1), [half], [5.0], BatchSize(1))
    assert means.item() == pytest.approx(1.0)
