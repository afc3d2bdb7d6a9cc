"""How members become one prediction, and how it gets its level and spread."""

from __future__ import annotations

import numpy as np
import pytest

from mmmos.heads.mixing import Mixture, affine, cautious_lines, mean_and_spread, through, through_left_out


def test_mean_and_spread_by_hand() -> None:
    members = np.array([[[1.0, 2.0]], [[4.0, 2.0]]])
    mean, spread = mean_and_spread(members, np.array([0.25, 0.75]))
    np.testing.assert_allclose(mean, [[3.25, 2.0]])
    np.testing.assert_allclose(spread, [[np.sqrt(0.25 * 2.25**2 + 0.75 * 0.75**2), 0.0]])


@pytest.mark.parametrize("by_axis", [(), ((1.0, 0.0), (3.0, 2.0))])
@pytest.mark.parametrize("calibration", [(), ((0.5, 1.0), (2.0, -3.0))])
def test_the_mean_as_one_linear_map_is_the_same(by_axis: tuple, calibration: tuple) -> None:
    mixture = Mixture((0.25, 1.0), by_axis, calibration)
    members = np.array([[1.0, 2.0], [4.0, 3.0]])
    shares, offset = mixture.linear(2)
    np.testing.assert_allclose((shares * members).sum(axis=0) + offset, mixture.mean_and_spread(members)[0])


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


def test_weights_by_axis_mix_each_axis_alone_and_calibration_stretches_the_spread() -> None:
    members = np.array([[[1.0, 10.0]], [[3.0, 30.0]]])  # two members, one clip, two axes
    mean, spread = Mixture((0.5, 0.5), ((1.0, 0.25), (0.0, 0.75))).mean_and_spread(members)
    assert mean.tolist() == [[1.0, 25.0]]
    assert spread[0] == pytest.approx([0.0, np.sqrt(75.0)])
    lines = ((2.0, 1.0), (0.5, 0.0))
    stretched, wider = Mixture((0.5, 0.5), (), lines).mean_and_spread(members)
    assert stretched.tolist() == [[5.0, 10.0]]
    assert wider.tolist() == [[2.0, 5.0]]


@pytest.mark.parametrize(
    ("by_axis", "calibration"),
    [
        (((1.0,),), ()),
        (((1.0,), (-1.0,)), ()),
        (((0.0,), (0.0,)), ()),
        ((), ((0.0, 1.0),)),
        ((), ((1.0, np.nan),)),
    ],
)
def test_what_cannot_be_a_mixture_is_refused(by_axis: tuple, calibration: tuple) -> None:
    with pytest.raises(ValueError, match=r"weights|calibration"):
        Mixture((0.5, 0.5), by_axis, calibration)


def test_a_slope_is_believed_as_far_as_the_clips_show_it() -> None:
    rng = np.random.default_rng(0)
    few, many = [], []
    for count, slopes in ((15, few), (2000, many)):
        for _ in range(100):
            pred = rng.normal(size=(count, 1))
            truth = 0.5 * pred + rng.normal(size=(count, 1))
            ((slope, _),) = cautious_lines(pred, truth)
            slopes.append(slope)
    assert np.mean(many) == pytest.approx(0.5, abs=0.02)
    assert 0.5 < np.mean(few) < 1.0
    same = rng.normal(size=(50, 1))
    assert cautious_lines(same, same + 3.0)[0] == pytest.approx((1.0, 3.0))


def test_calibration_out_of_fold_lowers_the_error_on_new_clips() -> None:
    rng = np.random.default_rng(1)
    before, after = [], []
    for _ in range(200):
        pred = rng.normal(size=(100, 1))
        truth = 0.55 * pred + 0.3 + rng.normal(size=(100, 1))
        ((slope, offset),) = cautious_lines(pred[:50], truth[:50])
        before.append(np.mean((pred[50:] - truth[50:]) ** 2))
        after.append(np.mean((slope * pred[50:] + offset - truth[50:]) ** 2))
    assert np.mean(after) < 0.9 * np.mean(before)


def test_the_line_of_a_fold_is_fitted_on_the_others() -> None:
    rng = np.random.default_rng(0)
    pred, fold = rng.normal(size=(12, 2)), np.arange(12) % 3
    truth = pred * [2.0, 0.5] + rng.normal(size=(12, 2))
    found = through_left_out(pred, truth, fold)
    for number in range(3):
        held = fold == number
        np.testing.assert_allclose(
            found[held], through(cautious_lines(pred[~held], truth[~held]), pred[held])
        )
    truth[fold == 0] += 100
    again = through_left_out(pred, truth, fold)
    assert np.array_equal(again[fold == 0], found[fold == 0])
    assert not np.allclose(again[fold == 1], found[fold == 1])
