"""Heads that scikit-learn solves in one step: ridge, kernel ridge and support vector regression.

With few clips they beat what gradient descent finds, and they are fitted in a second.  The penalty (and
the kernel's width) of each axis is chosen by cross-validation over whole groups inside the training clips.
A kernel is Gaussian, exp(-width * mean squared difference of the standardised features).
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mmmos.heads.network.products import by_axis
from mmmos.store.names import choose

Array = NDArray[np.float64]

WIDTHS = (0.1, 0.3, 1.0)
TUBE = 0.1
"""Errors up to a tenth of the scores' deviation are free in support vector regression."""

CHOICES: dict[str, list[dict[str, float]]] = {
    "ridge": [{"penalty": 10.0**power} for power in range(-2, 4)],
    "kernel_ridge": [
        {"width": width, "penalty": penalty}
        for width, penalty in itertools.product(WIDTHS, (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0))
    ],
    "svr": [
        {"width": width, "bound": bound}
        for width, bound in itertools.product(WIDTHS, (0.1, 0.3, 1.0, 3.0, 10.0, 30.0))
    ],
}
"""What cross-validation chooses from.  A ridge's penalty is per feature: features are many, and each new one
would otherwise weaken it."""

ENOUGH_TO_CHOOSE = 16
"""With fewer clips to fit on, what cross-validation chooses follows the noise."""

FIXED: dict[str, dict[str, float]] = {
    "ridge": {"penalty": 0.1},
    "kernel_ridge": {"width": 0.3, "penalty": 0.1},
    "svr": {"width": 1.0, "bound": 10.0},
}
"""What is taken then, and where there are too few groups to divide: derived on parts of real sets, see
docs/small-data.md."""


class GaussianKernel(nn.Module):
    """A weighted sum of the training clips' kernels for each axis.

    Buffers: support [S, dim], the training clips; dual [A, S]; width, bias [A].
    """

    support: Tensor
    dual: Tensor
    width: Tensor
    bias: Tensor

    def __init__(self, dim: int, axes: int, support: int) -> None:
        super().__init__()
        self.register_buffer("support", torch.zeros(support, dim))
        self.register_buffer("dual", torch.zeros(axes, support))
        self.register_buffer("width", torch.ones(axes))
        self.register_buffer("bias", torch.zeros(axes))

    def forward(self, x: Tensor) -> Tensor:
        """[B, dim] -> [B, A, 1]."""
        gaps = squared_gaps(x, self.support)
        kernel = torch.exp(-self.width[:, None, None] * gaps)  # [A, B, S]
        return by_axis(kernel.transpose(0, 1), self.dual[:, None]) + self.bias[:, None]


def squared_gaps(x: Tensor, other: Tensor) -> Tensor:
    """Mean squared difference between the rows of x [B, D] and of `other` [S, D]: [B, S] fp32."""
    # |a - b|^2 = |a|^2 + |b|^2 - 2 ab loses digits to cancellation, so it is taken in double precision.
    a, b = x.double(), other.double()
    total = a.square().sum(1)[:, None] + b.square().sum(1) - 2 * a @ b.T
    return (total.clamp(min=0) / max(1, x.shape[1])).float()


@dataclass(frozen=True)
class Solution:
    """One axis solved: what cross-validation chose, its mean squared error there, weights and bias.

    weights: [D] of a ridge; [N] of a kernel over the clips that it was fitted on.
    error: None where there were too few groups to measure it.
    """

    choice: dict[str, float]
    error: float | None
    weights: Array
    bias: float


def solve(family: str, x: Array, y: Array, folds: Sequence[NDArray[np.int64]]) -> Solution:
    """Fit one axis.

    Parameters
    ----------
    family
        A key of CHOICES.
    x
        [N, D] standardised features of clips.
    y
        [N] z-scored scores.
    folds
        Divisions of the clips, each [N] fold numbers with whole groups in one fold; errors are averaged
        over all of them.  Empty, or with fewer clips than are ENOUGH_TO_CHOOSE, nothing is chosen.  A ridge
        is held there within the features and the scores that it saw, as the head will be.
    """
    choices = CHOICES[choose("head in closed form", family, CHOICES)]
    if not folds or len(y) < ENOUGH_TO_CHOOSE:
        choices = [FIXED[family]]
    # A linear kernel makes ridge with many features as cheap as with few.
    if family == "ridge":
        gaps = x @ x.T / max(1, x.shape[1])
    else:
        gaps = squared_gaps(torch.from_numpy(x), torch.from_numpy(x)).double().numpy()
    errors = np.zeros(len(choices))
    for held in (division == number for division in folds for number in np.unique(division)):
        seen = ~held
        between = _bounded_products(x, held, seen) if family == "ridge" else gaps[np.ix_(held, seen)]
        for n, choice in enumerate(choices):
            weights, bias = _fit(family, choice, gaps[np.ix_(seen, seen)], y[seen])
            pred = _kernel(family, choice, between) @ weights + bias
            if family == "ridge":
                pred = np.clip(pred, y[seen].min(), y[seen].max())
            errors[n] += np.square(pred - y[held]).sum() / (len(y) * len(folds))
    best = int(errors.argmin())
    weights, bias = _fit(family, choices[best], gaps, y)
    if family == "ridge":
        weights = x.T @ weights / max(1, x.shape[1])
    return Solution(choices[best], float(errors[best]) if folds else None, weights, bias)


def _bounded_products(x: Array, held: NDArray[np.bool_], seen: NDArray[np.bool_]) -> Array:
    """Mean products of the held-out clips, their features within those seen (`BoundedLinear`), with these."""
    within = np.clip(x[held], x[seen].min(axis=0), x[seen].max(axis=0))
    return within @ x[seen].T / max(1, x.shape[1])


def _kernel(family: str, choice: dict[str, float], gaps: Array) -> Array:
    return gaps if family == "ridge" else np.exp(-choice["width"] * gaps)


def _fit(family: str, choice: dict[str, float], gaps: Array, y: Array) -> tuple[Array, float]:
    """(weights over the clips, bias) of one choice; the bias is the mean where the method has none."""
    # Late: scoring needs the fitted heads, and no scikit-learn.
    from sklearn.kernel_ridge import KernelRidge
    from sklearn.svm import SVR

    kernel = _kernel(family, choice, gaps)
    if family == "svr":
        model: Any = SVR(kernel="precomputed", C=choice["bound"], epsilon=TUBE).fit(kernel, y)
        weights = np.zeros(len(y))
        weights[model.support_] = model.dual_coef_[0]
        return weights, float(model.intercept_[0])
    model = KernelRidge(kernel="precomputed", alpha=choice["penalty"]).fit(kernel, y - y.mean())
    return model.dual_coef_, float(y.mean())
