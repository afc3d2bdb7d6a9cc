"""What heads say of clips: together as alone, whatever fits into memory."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mmmos.heads.grids import configure
from mmmos.heads.network.losses import LOSSES
from mmmos.heads.network.model import Head
from mmmos.heads.training.data import Features
from mmmos.heads.training.outputs import Seen, arithmetic, clip_outputs, predict
from mmmos.heads.training.start import fresh_head
from tests.heads.small import M2D, MUQ, WAVLM, work_folder

SPECS = (WAVLM, MUQ, M2D)


@pytest.fixture(scope="module")
def features(tmp_path_factory: pytest.TempPathFactory) -> Features:
    return Features.open(work_folder(tmp_path_factory.mktemp("outputs"), count=36, ratings=True))


@pytest.fixture(scope="module")
def heads(features: Features) -> list[Head]:
    kinds = [("mlp", "listeners"), ("blstm_t", "ut"), ("layermix", "ccc"), ("blstm_h", "con")]
    train = features.of("train")
    return [
        fresh_head(configure(features.table.id, [s.id for s in SPECS], *kind), features, train)
        for kind in kinds
    ]


def test_heads_say_together_what_they_say_alone(features: Features, heads: list[Head]) -> None:
    clips = features.of("test")
    for head, outputs in zip(heads, clip_outputs(heads, features, clips), strict=True):
        (alone,) = clip_outputs([head], features, clips)
        torch.testing.assert_close(outputs, alone, atol=1e-5, rtol=0)
        assert LOSSES[head.config.loss].distribution == (outputs.dim() == 3)


def test_fewer_crops_at_a_time_where_memory_does_not_suffice(
    features: Features, heads: list[Head], monkeypatch: pytest.MonkeyPatch
) -> None:
    clips = features.of("test")
    expected = predict(heads[1], features, clips)
    sizes: list[int] = []
    plain = Head.for_loss

    def tight(head: Head, batch: object) -> torch.Tensor:
        sizes.append(len(batch.valid_s))  # type: ignore[attr-defined]
        if sizes[-1] > 3:
            raise RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`")
        return plain(head, batch)  # type: ignore[arg-type]

    monkeypatch.setattr(Head, "for_loss", tight)
    assert abs(predict(heads[1], features, clips) - expected).max() < 1e-5
    assert sizes[0] > 3 >= sizes[-1]


def test_what_was_seen_of_just_these_clips_is_not_computed_again(
    features: Features, heads: list[Head], monkeypatch: pytest.MonkeyPatch
) -> None:
    clips, others = features.of("dev"), features.of("pam")
    for head in heads:
        (outputs,) = clip_outputs([head], features, clips)
        seen = Seen(clips, outputs)
        assert np.array_equal(predict(head, features, others, seen), predict(head, features, others))
        plain = predict(head, features, clips)
        with monkeypatch.context() as patch:
            patch.setattr(Head, "for_loss", None)
            assert np.array_equal(predict(head, features, clips, seen), plain)


def test_one_thread_computes_and_then_as_many_as_before() -> None:
    torch.set_num_threads(2)
    with arithmetic(torch.device("cpu")):
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == 2
    torch.set_num_threads(1)
