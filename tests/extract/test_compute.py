"""Devices are taken at their word; what is left out is found by the machine at hand."""

from __future__ import annotations

import os

import pytest
import torch

from mmmos.extract.compute import AUTO, CPU_BATCH, CUDA_BATCH, Compute
from mmmos.extract.extraction import SHARD_CROPS


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
