"""The affine calibration: hand-worked lines, and where a slope would mislead."""

from __future__ import annotations

import numpy as np
import pytest

from mmmos.heads.network.calibration import affine


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
