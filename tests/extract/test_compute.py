"""Devices are taken at their word; what is left out is found by the machine at hand."""

from __future__ import annotations

import os

import pytest
import torch

from mmmos.extract.compute import AUTO, CPU_BATCH, CUDA_BATCH, Compute, choose_device, device_type
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
    cpu = torch.device("cpu")
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 4, 7}, raising=False)
    assert [AUTO.threads(cpu, 2), AUTO.threads(cpu, 8), Compute(workers=5).threads(cpu, 2)] == [2, 3, 5]


def test_a_card_leaves_all_processors_to_decoding(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(16)), raising=False)
    assert AUTO.threads(torch.device("cuda"), 4) == 16


def test_the_kind_of_a_device_is_known_where_the_device_is_not() -> None:
    assert [device_type(name) for name in ("cpu", "cuda", "cuda:7")] == ["cpu", "cuda", "cuda"]
