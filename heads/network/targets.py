"""What a head is trained towards."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from mmmos.heads.network.losses import level_values, soft_levels
from mmmos.heads.network.model import Head
from mmmos.store.clips import score_array
from mmmos.store.schema import Clip


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

    def to(self, device: torch.device) -> Targets:
        """The same with its values there."""
        self.values = self.values.to(device)
        return self

    def __getitem__(self, clips: Tensor) -> Tensor:
        """Those of the clips with these numbers [B], where the values are."""
        return self.values[clips]
