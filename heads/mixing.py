"""How members' predictions become one, and the line that gives predictions back their level and spread.

No torch.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

Line = tuple[float, float]
"""(slope, offset) on the labels' scale."""


@dataclass(frozen=True)
class Mixture:
    """Weights of M members, and what is done to their mean.

    Parameters
    ----------
    weights
        [M] positive; only their ratios count.
    by_axis
        [M][A] weights of each member for each axis, from 0 on; () where `weights` are those of every axis.
    calibration
        [A] the line that each axis' mean goes through; () for none.
    """

    weights: tuple[float, ...]
    by_axis: tuple[tuple[float, ...], ...] = ()
    calibration: tuple[Line, ...] = ()

    def __post_init__(self) -> None:
        if not self.by_axis and not self.calibration:
            return
        matrix = np.array(self.by_axis, dtype=np.float64)
        if self.by_axis and (matrix.ndim != 2 or len(matrix) != len(self.weights)):
            raise ValueError(f"weights by axis are not a row for each of {len(self.weights)} members")
        if self.by_axis and not (np.isfinite(matrix).all() and (matrix >= 0).all() and matrix.any(0).all()):
            raise ValueError("weights by axis must be finite, not below 0, and above 0 for some member")
        lines = np.array(self.calibration, dtype=np.float64).reshape(-1, 2)
        if not (np.isfinite(lines).all() and (lines[:, 0] > 0).all()):
            raise ValueError("a calibration needs a slope above 0 and an offset, both finite, for each axis")
        if self.by_axis and self.calibration and len(lines) != matrix.shape[1]:
            raise ValueError(f"a calibration of {len(lines)} axes for weights of {matrix.shape[1]}")

    def mean_and_spread(self, members: Array) -> tuple[Array, Array]:
        """Members [M, ..., A] to the calibrated weighted mean and the deviation of the members, [..., A]."""
        if self.by_axis:
            columns = np.moveaxis(members, -1, 0)
            pairs = [mean_and_spread(x, w) for x, w in zip(columns, np.array(self.by_axis).T, strict=True)]
            mean, spread = (np.stack(values, axis=-1) for values in zip(*pairs, strict=True))
        else:
            mean, spread = mean_and_spread(members, np.array(self.weights))
        return through(self.calibration, mean), spread * through(self.slopes, np.ones_like(spread))

    def linear(self, axes: int) -> tuple[Array, Array]:
        """The mean as one linear map: shares [M, A] and offsets [A], for members [M, A] of so many axes."""
        weights = np.array(self.by_axis or [(weight,) * axes for weight in self.weights], dtype=np.float64)
        shares = weights / weights.sum(axis=0)
        offsets = through(self.calibration, np.zeros(axes))
        return shares * through(self.slopes, np.ones(axes)), offsets

    def check(self, axes: int) -> None:
        """ValueError unless it is for so many axes."""
        if any(len(row) != axes for row in (*self.by_axis, self.calibration) if row):
            raise ValueError(f"its weights or its calibration are not for {axes} axes")

    @property
    def slopes(self) -> tuple[Line, ...]:
        """The calibration's slopes without its offsets."""
        return tuple((slope, 0.0) for slope, _ in self.calibration)


def mean_and_spread(members: Array, weights: Array) -> tuple[Array, Array]:
    """Weighted mean and standard deviation over members [M, ...]; of weights [M] only the ratios count."""
    weights = weights / weights.sum()
    flat = members.reshape(len(members), -1)
    mean = weights @ flat
    spread = np.sqrt(weights @ np.square(flat - mean))
    return mean.reshape(members.shape[1:]), spread.reshape(members.shape[1:])


def through(lines: tuple[Line, ...], values: Array) -> Array:
    """[..., A] values on each axis' line; unchanged where there are none."""
    if not lines:
        return values
    slope, offset = np.array(lines).T
    return values * slope + offset


def affine(pred: Array, truth: Array) -> tuple[Array, Array]:
    """(slope [A], offset [A]) of the least-squares line truth = slope * pred + offset, axis by axis.

    For heads whose loss leaves level and spread free (`con`, `dcq`, `listeners`).  Where predictions do not
    vary, or rise as the truth falls, a slope would be meaningless or would hide the fault by reversing the
    ranking: then it is 1 and only the level is set.

    Parameters
    ----------
    pred, truth
        [N, A] in the same units; NaN in `truth` is left out.
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


def cautious_lines(pred: Array, truth: Array) -> tuple[Line, ...]:
    """`affine` for predictions of clips that were held out, shrunk by what its slope cannot be sure of.

    A slope s with standard error e is moved towards 1 by the share e^2 / (s - 1)^2 of its distance, at most
    all of it (positive-part James-Stein): with few clips a measured slope is mostly noise, and using it
    makes errors larger.  The offset then sets the mean.
    """
    slopes, _ = affine(pred, truth)
    lines = []
    for axis, slope in enumerate(slopes):
        rated = np.isfinite(truth[:, axis])
        p, t = pred[rated, axis], truth[rated, axis]
        if len(p) < 3:
            lines.append((1.0, 0.0))
            continue
        rest = t - t.mean() - slope * (p - p.mean())
        error = rest.var() / max(p.var() * (len(p) - 2), 1e-12)
        sure = max(0.0, 1 - error / max((slope - 1) ** 2, 1e-12))
        kept = float(1 + (slope - 1) * sure)
        lines.append((kept, float(t.mean() - kept * p.mean())))
    return tuple(lines)


def through_left_out(pred: Array, truth: Array, fold: NDArray[np.int64]) -> Array:
    """[N, A] predictions through the `cautious_lines` that are fitted without their own fold [N]."""
    made = np.empty_like(pred)
    for number in np.unique(fold):
        held = fold == number
        made[held] = through(cautious_lines(pred[~held], truth[~held]), pred[held])
    return made
