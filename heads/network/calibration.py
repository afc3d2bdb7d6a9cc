"""Level and spread for heads whose loss leaves them free (`con`, `dcq`, `listeners`)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def affine(pred: Array, truth: Array) -> tuple[Array, Array]:
    """(slope [A], offset [A]) of the least-squares line truth = slope * pred + offset, axis by axis.

    pred, truth [N, A]; NaN in `truth` is left out.  Where predictions do not vary, or rise as the
    truth falls, a slope would be meaningless or would hide the fault by turning the ranking round:
    then the slope is 1 and only the level is set.
    """
    slope, offset = np.ones(pred.shape[1]), np.zeros(pred.shape[1])
    for axis in range(pred.shape[1]):
        rated = np.isfinite(truth[:, axis])
        if not rated.any():
            continue
        p, t = pred[rated, axis], truth[rated, axis]
        variance = p.var()
        fitted = np.mean((p - p.mean()) * (t - t.mean())) / variance if variance > 1e-12 else 0.0
        slope[axis] = fitted if fitted > 0 else 1.0
        offset[axis] = t.mean() - slope[axis] * p.mean()
    return slope, offset
