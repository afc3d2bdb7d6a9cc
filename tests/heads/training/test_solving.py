"""Heads in closed form on stored features."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from mmmos.heads.config import CLOSED_FORM
from mmmos.heads.grids import configure
from mmmos.heads.network.model import Head
from mmmos.heads.network.towers import BoundedLinear
from mmmos.heads.training.data import Features
from mmmos.heads.training.fit import fit
from mmmos.heads.training.out_of_fold import out_of_fold
from mmmos.heads.training.outputs import predict
from tests.heads.small import M2D, MUQ, work_folder

SPECS = (MUQ, M2D)


@pytest.fixture(scope="module")
def features(tmp_path_factory: pytest.TempPathFactory) -> Features:
    return Features.open(work_folder(tmp_path_factory.mktemp("work"), 60, SPECS))


@pytest.mark.parametrize("aggregator", CLOSED_FORM)
@pytest.mark.parametrize("choices", [{}, {"reads": "means", "layer": "best"}, {"layer": "all"}])
def test_it_learns_and_comes_back_from_its_file(
    features: Features, tmp_path: Path, aggregator: str, choices: dict[str, str]
) -> None:
    config = configure(features.table.id, [spec.id for spec in SPECS], aggregator, **choices)
    fitted = fit(config, features)
    dev = features.of("dev")
    pred = predict(fitted.head, features, dev)
    for axis in range(4):
        assert np.corrcoef(pred[:, axis], features.truth[dev, axis])[0, 1] > 0.5
    fitted.head.save(tmp_path / "head.safetensors")
    again = Head.load(tmp_path / "head.safetensors")
    assert np.array_equal(predict(again, features, dev), pred)
    assert len([note for note in fitted.notes if "cross-validated" in note]) == 4
    assert any(note.startswith("layer") for note in fitted.notes) == (choices.get("layer") == "best")


def test_the_choice_never_sees_the_held_out_fold(features: Features) -> None:
    """Scores of the held-out clips may be anything: predictions of them must not move."""
    config = configure(features.table.id, [MUQ.id], "svr", reads="means")
    train = features.of("train")
    some = train[:20]
    before = predict(fit(config, features, train=some).head, features, train[20:])
    features.truth[train[20:]] = 0.0
    after = predict(fit(config, features, train=some).head, features, train[20:])
    assert np.array_equal(before, after)


def test_two_groups_are_too_few_to_choose_by_and_that_is_said(features: Features) -> None:
    config = configure(features.table.id, [MUQ.id], "ridge", reads="means")
    fitted = fit(config, features, train=features.of("train")[:2])
    assert any("too few clips to choose" in note for note in fitted.notes)
    assert out_of_fold(config, features, 3).predictions.axes == features.table.axes.names


def test_a_ridge_reads_features_within_those_of_training(features: Features) -> None:
    config = configure(features.table.id, [MUQ.id], "ridge", reads="means")
    head = fit(config, features).head
    towers = head.towers
    assert isinstance(towers, BoundedLinear)
    with torch.no_grad():
        vectors = head.vectors(features.batch(head.specs, head.reading, features.rows(features.of("train"))))
        far, farther = (towers(size * torch.sign(vectors)) for size in (50.0, 5000.0))
    assert torch.equal(far, farther)
    assert torch.equal(towers.lowest, vectors.amin(dim=0))
    assert torch.equal(towers.highest, vectors.amax(dim=0))
