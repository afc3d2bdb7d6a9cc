"""Ridge, kernel ridge and support vector regression with a nested choice."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import Ridge

from mmmos.heads.network.closed_form import CHOICES, ENOUGH_TO_CHOOSE, FIXED, GaussianKernel, solve

RNG = np.random.default_rng(0)
X = RNG.normal(size=(40, 60))
Y = X[:, 0] + 0.1 * RNG.normal(size=40)
FOLDS = [np.arange(40) % 5]


def test_ridge_is_sklearns_with_its_penalty_per_feature() -> None:
    found = solve("ridge", X, Y, FOLDS)
    expected = Ridge(alpha=found.choice["penalty"] * 60).fit(X, Y - Y.mean())
    centred = Ridge(alpha=found.choice["penalty"] * 60, fit_intercept=False).fit(X, Y - Y.mean())
    np.testing.assert_allclose(found.weights, centred.coef_, atol=1e-6)
    assert found.bias == pytest.approx(Y.mean())
    assert expected.coef_.argmax() == found.weights.argmax() == 0


@pytest.mark.parametrize("family", ["kernel_ridge", "svr"])
def test_the_head_computes_what_was_fitted(family: str) -> None:
    found = solve(family, X, Y, FOLDS)
    kernel = GaussianKernel(60, 1, 40)
    kernel.support.copy_(torch.from_numpy(X))
    kernel.dual.copy_(torch.from_numpy(found.weights)[None])
    kernel.width.fill_(found.choice["width"])
    kernel.bias.fill_(found.bias)
    pred = kernel(torch.from_numpy(X).float()).squeeze().numpy()
    assert np.corrcoef(pred, Y)[0, 1] > 0.8
    if family == "kernel_ridge":
        model = KernelRidge(kernel="rbf", gamma=found.choice["width"] / 60, alpha=found.choice["penalty"])
        np.testing.assert_allclose(pred, model.fit(X, Y - Y.mean()).predict(X) + Y.mean(), atol=1e-4)


@pytest.mark.parametrize("family", CHOICES)
def test_noise_is_met_with_a_strong_penalty_and_an_error_near_the_variance(family: str) -> None:
    noise = RNG.normal(size=40)
    found = solve(family, X, noise, FOLDS)
    assert found.error is not None
    assert found.error == pytest.approx(noise.var(), rel=0.3)


def test_a_held_out_clip_unlike_all_others_does_not_drown_the_choice() -> None:
    """The head will read it within the features of training, so the choice does as well."""
    x = X.copy()
    x[0] *= 1000
    alone = np.arange(40) % 5
    alone[0] = 5
    assert solve("ridge", x, Y, [alone]).choice == solve("ridge", X, Y, [alone]).choice


@pytest.mark.parametrize("family", CHOICES)
def test_without_folds_nothing_is_chosen(family: str) -> None:
    found = solve(family, X, Y, [])
    assert found.error is None
    assert found.choice == FIXED[family]


@pytest.mark.parametrize("family", CHOICES)
def test_a_few_clips_do_not_choose_but_their_folds_tell_the_error(family: str) -> None:
    """Noise asks for a penalty as strong as can be; from so few clips that is not believed."""
    assert FIXED[family] in CHOICES[family]
    noise = np.random.default_rng(1).normal(size=ENOUGH_TO_CHOOSE)
    every = [np.arange(ENOUGH_TO_CHOOSE) % 5]
    assert solve(family, X[:ENOUGH_TO_CHOOSE], noise, every).choice != FIXED[family]
    few = solve(family, X[: ENOUGH_TO_CHOOSE - 1], noise[:-1], [every[0][:-1]])
    assert few.choice == FIXED[family]
    assert few.error is not None
