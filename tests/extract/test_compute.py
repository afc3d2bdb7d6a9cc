"""Devices are taken at their word; what is left out is found by the machine at hand."""

from __future__ import annotations

import os

import pytest
import torch

from mmmos.extract.compute import AUTO, CPU_BATCH, CUDA_BATCH, Compute, choose_device
from mmmos.extract.extraction import SHARD_CROPS


def test_devices_are_chosen_by_name() -> None:
    assert choose_device("cpu") == torch.device("cpu")
    assert choose_device().type == ("cuda" if torch.cuda.is_available() else "cpu")
    for name in ("gpu", "cuda:x", "mps", ""):
        with pytest.raises(ValueError, match="known: auto, cpu, cuda"):
            choose_device(name)
    with pytest.raises(ValueError, match="is not here"):
        choose_device("cuda:99")


def test_the_batch_that_is_left_out_depends_on_the_device() -> None:
    assert AUTO.batch_on(torch.device("cpu")) == CPU_BATCH
    assert AUTO.batch_on(torch.device("cuda")) == CUDA_BATCH
    assert Compute(batch=5).batch_on(torch.device("cuda")) == 5
    assert SHARD_CROPS % CUDA_BATCH == 0


def test_decoding_threads_are_one_per_processor_up_to_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 3)
    assert [AUTO.threads(2), AUTO.threads(8), Compute(workers=5).threads(2)] == [2, 3, 5]
