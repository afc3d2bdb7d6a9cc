"""What a head is trained towards, and the line that gives its predictions back their level and spread."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mmmos.heads.network.losses import soft_levels
from mmmos.heads.network.model import Head, level_values
from mmmos.store.clips import score_array
from mmmos.store.schema import Clip

Array = NDArray[np.float64]


class Targets:
    """What the loss of a head compares with, for each of N clips; NaN where an axis is not rated.

    Attributes
    ----------
    values
        Z-scored scores [N, A] on the head's axes, or level probabilities [N, A, RATING_LEVELS].
    rated
        [N] whether a clip is rated on some axis of the head.
    """

    def __init__(self, head: Head, clips: Sequence[Clip]) -> None:
        truth = torch.from_numpy(score_array(clips, head.axes))
        self.rated = torch.isfinite(truth).any(1).numpy()
        if head.loss.distribution:
            single = [[clip.ratings[clip.axes.index(axis)] for axis in head.axes] for clip in clips]
            self.values = soft_levels(truth, single, level_values(head.scale))
        else:
            self.values = ((truth - head.target_mean) / head.target_std).float()

    def __getitem__(self, clips: NDArray[np.int64]) -> Tensor:
        return self.values[torch.from_numpy(clips)]


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
