"""Targets: z-scored with the head's own statistics, NaN where not rated; and the line back to the scale."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from mmmos.heads.grids import configure
from mmmos.heads.network.losses import RATING_LEVELS
from mmmos.heads.network.targets import Targets, affine
from mmmos.heads.training.data import Features
from mmmos.heads.training.fit import fresh_head
from tests.heads.small import WAVLM, work_folder


def test_targets_are_z_scores_or_level_probabilities_of_the_rated_axes(tmp_path: Path) -> None:
    features = Features.open(work_folder(tmp_path, count=18, specs=(WAVLM,), axes=3, ratings=True))
    train = features.of("train")
    every = np.arange(len(features.clips), dtype=np.int64)
    for loss in ("ut", "listeners"):
        config = configure(features.table.id, [WAVLM.id], "mlp", loss)
        targets = Targets(fresh_head(config, features, train), features.clips)
        values = targets[every]
        assert targets.rated.all()
        assert torch.isfinite(values).all()
        if loss == "ut":
            assert values.shape == (18, 3)
            np.testing.assert_allclose(values[torch.from_numpy(train)].mean(0), 0, atol=1e-6)
            np.testing.assert_allclose(values[torch.from_numpy(train)].std(0, correction=0), 1, atol=1e-5)
        else:
            assert values.shape == (18, 3, RATING_LEVELS)
            torch.testing.assert_close(values.sum(-1), torch.ones(18, 3))


def test_a_line_is_found_axis_by_axis_around_gaps() -> None:
    pred = np.array([[0.0, 1.0], [1.0, 2.0], [2.0, 3.0], [9.0, 4.0]])
    truth = np.array([[1.0, 0.0], [3.0, -0.0], [5.0, np.nan], [np.nan, 3.0]])
    slope, offset = affine(pred, truth)
    assert slope[0] == pytest.approx(2.0)
    assert offset[0] == pytest.approx(1.0)
    fitted = np.polyfit([1.0, 2.0, 4.0], [0.0, 0.0, 3.0], 1)
    assert (slope[1], offset[1]) == pytest.approx(tuple(fitted))


@pytest.mark.parametrize("pred", [[1.0, 1.0, 1.0], [3.0, 2.0, 1.0]])
def test_constant_or_inverted_predictions_get_a_level_only(pred: list[float]) -> None:
    column = np.array(pred)[:, None]
    slope, offset = affine(column, np.array([[4.0], [5.0], [6.0]]))
    assert slope[0] == 1.0
    assert (column + offset).mean() == pytest.approx(5.0)


def test_an_unrated_axis_is_left_alone() -> None:
    slope, offset = affine(np.ones((2, 1)), np.full((2, 1), np.nan))
    assert (slope[0], offset[0]) == (1.0, 0.0)
