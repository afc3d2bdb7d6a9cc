"""What a head is trained towards."""

from __future__ import annotations

import torch
from numpy import bool_
from numpy.typing import NDArray
from torch import Tensor

from mmmos.heads.network.losses import soft_levels
from mmmos.heads.network.model import Head, level_values
from mmmos.heads.training.data import Features, Rows
from mmmos.store.schema import AXES


class Targets:
    """What the loss compares with, NaN where not rated: z-scored scores [N, A], or level probabilities."""

    def __init__(self, head: Head, features: Features) -> None:
        columns = [AXES.index(axis) for axis in head.axes]
        truth = torch.from_numpy(features.truth[:, columns])
        self.rated = torch.isfinite(truth).any(1).numpy()
        if head.loss.distribution:
            ratings = [[clip.ratings[column] for column in columns] for clip in features.clips]
            self.values = soft_levels(truth, ratings, level_values(head.scale))
        else:
            self.values = ((truth - head.target_mean) / head.target_std).float()

    def any_rated(self, clips: Rows) -> NDArray[bool_]:
        """Which of the clips are rated on some axis of the head."""
        return self.rated[clips]

    def __getitem__(self, clips: Rows) -> Tensor:
        return self.values[torch.from_numpy(clips)]
