"""Devices are taken at their word, and whatever does not fit into memory is tried by halves."""

from __future__ import annotations

import pytest
import torch

from mmmos.store.device import (
    BatchSize,
    choose_device,
    device_type,
    float32_products,
    in_batches,
    is_out_of_memory,
)


def test_devices_are_chosen_by_name() -> None:
    assert choose_device("cpu") == torch.device("cpu")
    assert choose_device().type == ("cuda" if torch.cuda.is_available() else "cpu")
    for name in ("gpu", "cuda:x", "mps", ""):
        with pytest.raises(ValueError, match="known: auto, cpu, cuda"):
            choose_device(name)
    with pytest.raises(ValueError, match="is not here"):
        choose_device("cuda:99")


def test_the_kind_of_a_device_is_known_where_the_device_is_not() -> None:
    assert [device_type(name) for name in ("cpu", "cuda", "cuda:7")] == ["cpu", "cuda", "cuda"]


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
def test_memory_runs_out_in_many_words(error: Exception) -> None:
    def tight(batch: slice) -> int:
        if batch.stop - batch.start > 2:
            raise error
        return batch.stop - batch.start

    size = BatchSize(8)
    assert list(in_batches(5, size, tight, "it")) == [2, 2, 1]
    assert size.crops == 2


def test_other_errors_are_not_taken_for_a_lack_of_memory() -> None:
    def broken(batch: slice) -> None:
        raise RuntimeError("CUDA error: device-side assert triggered")

    with pytest.raises(RuntimeError, match="device-side assert"):
        list(in_batches(4, BatchSize(4), broken, "it"))
    assert not is_out_of_memory(ZeroDivisionError())


def test_what_does_not_fit_alone_is_an_error() -> None:
    def full(batch: slice) -> None:
        raise MemoryError

    with pytest.raises(torch.OutOfMemoryError, match="one crop of it on cpu does not fit into memory"):
        list(in_batches(4, BatchSize(4), full, "it on cpu"))


@pytest.mark.parametrize("kind", ["ieee", "tf32"])
def test_float32_is_what_was_asked_whatever_the_process_has_set(kind: str) -> None:
    places = torch.backends.cuda.matmul, torch.backends.cudnn.conv, torch.backends.cudnn.rnn
    before = [place.fp32_precision for place in places]
    with float32_products(torch.device("cuda"), kind):
        assert [place.fp32_precision for place in places] == [kind] * 3
    assert [place.fp32_precision for place in places] == before
    with float32_products(torch.device("cpu"), kind):
        assert [place.fp32_precision for place in places] == before
