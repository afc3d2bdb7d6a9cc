"""Losses: hand-worked values, double-loop references, masks, gradients; looped over LOSSES."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch

from mmmos.heads.network.losses import LOSSES, MARGIN, RATING_LEVELS, TAU, level_values, loss_of, soft_levels
from mmmos.store.schema import Scale

SCORE_LOSSES = [name for name, loss in LOSSES.items() if not loss.distribution]


def sample(name: str, batch: int = 7, axes: int = 3, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    shape = (batch, axes, RATING_LEVELS) if LOSSES[name].distribution else (batch, axes)
    pred = torch.randn(shape, generator=generator, dtype=torch.float64)
    truth = torch.randn(shape, generator=generator, dtype=torch.float64)
    return pred, truth.softmax(-1) if LOSSES[name].distribution else truth


def pairs(p: list[float], t: list[float]) -> list[tuple[float, float]]:
    return [(p[i] - p[j], t[i] - t[j]) for i, j in itertools.permutations(range(len(p)), 2)]


def mean(values: list[float]) -> float:
    return sum(values) / len(values)


def naive_con(p: list[float], t: list[float]) -> float:
    return mean([max(0.0, abs(a - b) - MARGIN) for a, b in pairs(p, t)])


def naive_ut(p: list[float], t: list[float]) -> float:
    errors = [a - b for a, b in zip(p, t, strict=True)]
    return mean([e * e if abs(e) > TAU else 0.0 for e in errors]) + 0.5 * naive_con(p, t)


def naive_dcq(p: list[float], t: list[float]) -> float:
    return mean([(a - b) ** 2 - a * math.copysign(b != 0, b) for a, b in pairs(p, t)])


def naive_ccc(p: list[float], t: list[float]) -> float:
    mp, mt = mean(p), mean(t)
    covariance = mean([(a - mp) * (b - mt) for a, b in zip(p, t, strict=True)])
    vp, vt = mean([(a - mp) ** 2 for a in p]), mean([(b - mt) ** 2 for b in t])
    return 1 - 2 * covariance / (vp + vt + (mp - mt) ** 2)


def naive_mse(p: list[float], t: list[float]) -> float:
    return mean([(a - b) ** 2 for a, b in zip(p, t, strict=True)])


def naive_huber(p: list[float], t: list[float]) -> float:
    errors = [abs(a - b) for a, b in zip(p, t, strict=True)]
    return mean([e * e / 2 if e <= 1 else e - 0.5 for e in errors])


def naive_listeners(logits: list[list[float]], q: list[list[float]]) -> float:
    total = []
    for row, truth in zip(logits, q, strict=True):
        norm = math.log(sum(math.exp(x) for x in row))
        total.append(sum(b * (math.log(b) - (x - norm)) for x, b in zip(row, truth, strict=True)))
    return mean(total)


NAIVE = {
    "con": naive_con,
    "ut": naive_ut,
    "dcq": naive_dcq,
    "ccc": naive_ccc,
    "mse": naive_mse,
    "huber": naive_huber,
    "listeners": naive_listeners,
}


@pytest.mark.parametrize("name", NAIVE)
def test_equals_the_plain_double_loop_averaged_over_axes(name: str) -> None:
    pred, truth = sample(name)
    expected = mean([NAIVE[name](pred[:, a].tolist(), truth[:, a].tolist()) for a in range(pred.shape[1])])
    assert LOSSES[name].function(pred, truth).item() == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        # p = (0, 1, 3), t = (0, 2, 3): gaps p 1, 3, 2; gaps t 2, 3, 1; errors 0, -1, 0.
        ("con", (0.9 + 0.0 + 0.9) / 3),
        ("ut", 1 / 3 + 0.5 * (0.9 + 0.9) / 3),
        ("dcq", (1 + 0 + 1 - (1 + 3 + 2)) / 3),
        # means 4/3 and 5/3, population cov 13/9, variances 14/9 each, squared gap of means 1/9.
        ("ccc", 1 - (26 / 9) / (29 / 9)),
        ("mse", 1 / 3),
        ("huber", 0.5 / 3),
    ],
)
def test_hand_worked(name: str, expected: float) -> None:
    pred = torch.tensor([[0.0], [1.0], [3.0]], dtype=torch.float64)
    truth = torch.tensor([[0.0], [2.0], [3.0]], dtype=torch.float64)
    assert LOSSES[name].function(pred, truth).item() == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("name", LOSSES)
def test_perfection(name: str) -> None:
    pred, truth = sample(name)
    pred = truth.log() if LOSSES[name].distribution else truth.clone()
    loss = LOSSES[name].function(pred, truth).item()
    if name == "dcq":
        # The linear term: minus the mean absolute gap.
        columns = truth.T.tolist()
        assert loss == pytest.approx(-mean([mean([abs(g) for _, g in pairs(c, c)]) for c in columns]))
    elif name == "listmle":
        # The likelihood grows with the gaps: the right order far apart is certain.
        assert LOSSES[name].function(1e4 * truth, truth).item() == pytest.approx(0.0, abs=1e-6)
    else:
        assert loss == pytest.approx(0.0, abs=1e-12)


def test_listmle_is_the_likelihood_of_the_rated_order_and_ties_have_no_order() -> None:
    pred = torch.tensor([[0.3], [1.0], [-0.5], [9.0]], dtype=torch.float64)
    truth = torch.tensor([[2.0], [3.0], [1.0], [torch.nan]], dtype=torch.float64)
    e = [math.exp(x) for x in (0.3, 1.0, -0.5)]
    draws = (e[1] / sum(e)) * (e[0] / (e[0] + e[2]))
    assert LOSSES["listmle"].function(pred, truth).item() == pytest.approx(-math.log(draws) / 3)
    tied = torch.tensor([[2.0], [2.0], [1.0], [torch.nan]], dtype=torch.float64)
    turned = torch.tensor([1, 0, 2, 3])
    first, second = (LOSSES["listmle"].function(pred[n], tied[n]) for n in (torch.arange(4), turned))
    assert first.item() == pytest.approx(second.item())


@pytest.mark.parametrize("name", SCORE_LOSSES)
def test_a_common_shift_is_seen_unless_the_loss_is_calibrated(name: str) -> None:
    pred, truth = sample(name)
    pred = truth + 0.01 * pred
    there, shifted = (LOSSES[name].function(p, truth).item() for p in (pred, pred + 2.0))
    assert (shifted == pytest.approx(there, abs=1e-12)) == LOSSES[name].calibrate


def test_dcq_pushes_every_gap_half_beyond_the_truth() -> None:
    truth = torch.tensor([[0.0], [1.0]], dtype=torch.float64)
    gaps = torch.linspace(0, 3, 301, dtype=torch.float64)
    losses = [LOSSES["dcq"].function(torch.stack((gap * 0, gap))[:, None], truth).item() for gap in gaps]
    assert gaps[int(np.argmin(losses))].item() == pytest.approx(1.5)


@pytest.mark.parametrize("name", LOSSES)
def test_gradients(name: str) -> None:
    pred, truth = sample(name, batch=5)
    truth[1, 0] = torch.nan
    assert torch.autograd.gradcheck(
        lambda p: LOSSES[name].function(p, truth), (pred.requires_grad_(),), eps=1e-7, atol=1e-6
    )


@pytest.mark.parametrize("name", LOSSES)
def test_missing_axes_are_masked(name: str) -> None:
    function = LOSSES[name].function
    pred, truth = sample(name)
    truth[:, 1] = torch.nan
    truth[[0, 3], 2] = torch.nan
    pred.requires_grad_()
    loss = function(pred, truth)
    loss.backward()
    assert pred.grad is not None
    rated = torch.isfinite(truth)
    assert (pred.grad[~rated] == 0).all()
    kept = [n for n in range(7) if n not in (0, 3)]
    alone = [function(pred[:, :1], truth[:, :1]), function(pred[kept][:, 2:], truth[kept][:, 2:])]
    assert loss.item() == pytest.approx(mean([x.item() for x in alone]), abs=1e-12)


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("rated", [0, 1])
def test_too_few_rated_clips_cost_nothing_or_stay_finite(name: str, rated: int) -> None:
    pred, truth = sample(name)
    truth[rated:] = torch.nan
    pred.requires_grad_()
    loss = LOSSES[name].function(pred, truth)
    loss.backward()
    assert torch.isfinite(loss)
    assert pred.grad is not None
    assert torch.isfinite(pred.grad).all()
    if rated == 0:
        assert loss.item() == 0


@pytest.mark.parametrize("name", SCORE_LOSSES)
def test_constant_predictions_and_truth_stay_finite(name: str) -> None:
    pred = torch.zeros(4, 2, dtype=torch.float64, requires_grad=True)
    loss = LOSSES[name].function(pred, torch.zeros(4, 2, dtype=torch.float64))
    loss.backward()
    assert torch.isfinite(loss)
    assert pred.grad is not None
    assert torch.isfinite(pred.grad).all()


def test_soft_levels_hand_worked() -> None:
    levels = torch.arange(1.0, 11.0, dtype=torch.float64)
    truth = torch.tensor([[5.0, 0.0], [torch.nan, 7.0]], dtype=torch.float64)
    ratings = [[[4.0, 6.0], [0.0]], [[], []]]
    target = soft_levels(truth, ratings, levels)
    assert target.shape == (2, 2, RATING_LEVELS)
    assert torch.isnan(target[1, 0]).all()
    # Deviation half a level: neighbours weigh exp(-2), the next ones exp(-8).
    near, far = math.exp(-2), math.exp(-8)
    whole = 1 + 2 * near + 2 * far
    assert target[0, 0, 3].item() == pytest.approx((1 + far) / whole / 2, abs=1e-6)
    assert target[0, 0, 4].item() == pytest.approx(near / whole, abs=1e-6)
    assert int(target[0, 1].argmax()) == 0  # a rating of zero counts to level 1
    assert int(target[1, 1].argmax()) == 6  # no single ratings: the mean stands for them
    assert (target * levels).sum(-1)[0, 0].item() == pytest.approx(5.0, abs=1e-5)


def test_levels_are_one_to_ten() -> None:
    assert level_values(Scale(0, 10)).tolist() == pytest.approx(list(range(1, 11)))
    assert level_values(Scale(1, 10)).tolist() == pytest.approx(list(range(1, 11)))
    assert level_values(Scale(0, 100)).tolist() == pytest.approx(list(range(10, 101, 10)))


def test_tau_says_which_errors_are_free_in_ut_alone() -> None:
    pred, truth = torch.tensor([[0.0], [0.3]]), torch.tensor([[0.0], [0.0]])
    pairs = 0.5 * (0.3 - MARGIN)
    assert loss_of("ut").function(pred, truth).item() == pytest.approx(pairs)
    assert loss_of("ut", 0.25).function(pred, truth).item() == pytest.approx(0.3**2 / 2 + pairs)
    assert loss_of("ut", TAU) is LOSSES["ut"]
    assert loss_of("con", 0.25) is LOSSES["con"]
    with pytest.raises(ValueError, match="unknown loss"):
        loss_of("none")
