"""What is known of each piece of audio while its windows pass by, and of a batch that is under way."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from mmmos.extract.front import AudioError, AudioInfo, Fence, Window
from mmmos.heads.scoring.requests import AudioRequest

Array = NDArray[np.float64]


@dataclass
class WeightedMean:
    """The mean of arrays weighted by seconds, taken one by one in constant memory."""

    seconds: float = 0.0
    total: Array | float = 0.0

    def add(self, values: Array, seconds: float) -> None:
        self.seconds += seconds
        self.total = self.total + seconds * values

    @property
    def mean(self) -> Array:
        return np.asarray(self.total) / self.seconds


@dataclass
class Tally:
    """What is known of one piece of audio while its windows pass by.

    scores: of every member [M, A]; features: spec id -> [D]; end: what ended it, None before its end;
    open: how many of its windows are still to be added.
    """

    request: AudioRequest
    scores: WeightedMean = field(default_factory=WeightedMean)
    features: dict[str, WeightedMean] = field(default_factory=lambda: defaultdict(WeightedMean))
    windows: list[dict[str, Any]] = field(default_factory=list)
    end: AudioInfo | AudioError | None = None
    open: int = 0


@dataclass(frozen=True)
class Queued:
    """A batch of windows whose results are under way: scores [B, M, A] and features [B, D] by spec id."""

    waiting: Sequence[tuple[Tally, Window]]
    scores: Tensor
    features: dict[str, Tensor]
    done: Fence | None
