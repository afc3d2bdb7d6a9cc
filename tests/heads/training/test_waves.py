"""Crops reach a step of training once, in order, however many steps travel together."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mmmos.heads.grids import configure
from mmmos.heads.network.model import Head
from mmmos.heads.training import waves
from mmmos.heads.training.data import Features
from mmmos.heads.training.waves import asked_by, read, steps
from mmmos.store.schema import AES_AXES
from tests.heads.small import M2D, WAVLM, work_folder


@pytest.fixture(scope="module")
def features(tmp_path_factory: pytest.TempPathFactory) -> Features:
    return Features.open(work_folder(tmp_path_factory.mktemp("waves"), count=36, specs=(WAVLM, M2D)))


def heads(features: Features) -> list[Head]:
    sets = (("mlp", (WAVLM,)), ("blstm_h", (WAVLM, M2D)), ("blstm_t", (M2D,)), ("layermix", (WAVLM,)))
    return [
        Head(configure(features.table.id, [s.id for s in specs], kind, "ut"), specs, AES_AXES.names)
        for kind, specs in sets
    ]


def batches(features: Features) -> list[np.ndarray]:
    clips = features.of("train")
    pairs = np.stack((clips, features.first[clips]), axis=1)
    return [pairs[at : at + 4] for at in range(0, len(pairs), 4)]


def test_heads_that_read_alike_share_what_is_read(features: Features) -> None:
    some = heads(features)
    asked = asked_by(some)
    assert {reading.kind: len(specs) for reading, specs in asked.items()} == {
        "means": 2, "frames": 1, "layers": 1
    }  # fmt: skip
    rows = np.array([3, 1])
    wave = read(features, asked, rows, rows)
    for head in some:
        batch, alone = wave.batch(head), features.batch(head.specs, head.reading, rows)
        assert torch.equal(batch.valid_s, alone.valid_s)
        for one, other in zip(batch.features, alone.features, strict=True):
            assert torch.equal(one, other)


@pytest.mark.parametrize("steps_a_wave", [1, 2, 99])
def test_every_step_is_its_batch_whatever_travels_together(
    features: Features, monkeypatch: pytest.MonkeyPatch, steps_a_wave: int
) -> None:
    """As on a card, where a wave is as many steps as WAVE_BYTES hold."""
    some, planned, reads = heads(features), batches(features), []
    first = read(features, asked_by(some), planned[0][:, 0], planned[0][:, 1])
    monkeypatch.setattr(waves, "WAVE_BYTES", steps_a_wave * sum(x.nbytes for x in first.features.values()))
    monkeypatch.setattr(waves, "read", lambda *a: reads.append(len(a[2])) or read(*a))
    monkeypatch.setattr(waves, "CPU", torch.device("meta"))
    found = list(steps(features, asked_by(some), planned))
    assert len(found) == len(planned)
    for wave, pairs in zip(found, planned, strict=True):
        assert wave.clips.tolist() == pairs[:, 0].tolist()
        expected = features.batch((WAVLM,), some[0].reading, pairs[:, 1]).features[0]
        assert torch.equal(wave.features[WAVLM.id, some[0].reading], expected)
    assert len(reads) == 1 + -(-(len(planned) - 1) // steps_a_wave)


def test_on_a_cpu_a_wave_is_a_step(features: Features, monkeypatch: pytest.MonkeyPatch) -> None:
    reads: list[int] = []
    monkeypatch.setattr(waves, "read", lambda *a: reads.append(len(a[2])) or read(*a))
    planned = batches(features)
    assert len(list(steps(features, asked_by(heads(features)), planned))) == len(reads) == len(planned)
