"""What is known of each piece of audio while its windows pass by, and of a batch that is under way."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mmmos.extract.front import AudioError, AudioInfo, Encoded, Fence, Window
from mmmos.heads.scoring.requests import AudioRequest
from mmmos.store.schema import EncoderSpec

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


@dataclass
class Held:
    """Windows that are encoded and wait for others, so that the heads run on all of them at once."""

    waiting: list[tuple[Tally, Window]] = field(default_factory=list)
    encoded: list[Encoded] = field(default_factory=list)
    since_s: float = field(default_factory=time.monotonic)

    def add(self, waiting: Sequence[tuple[Tally, Window]], encoded: Encoded) -> None:
        self.waiting += ((tally, replace(window, waves={})) for tally, window in waiting)
        self.encoded.append(encoded)

    def together(self, specs: Sequence[EncoderSpec]) -> Encoded:
        """All of them as one, without the frames that are valid in none."""
        longest_s = max(window.valid_s for _, window in self.waiting)
        found = {}
        for spec in specs:
            valid, parts = spec.valid_frames(longest_s), [one[spec.id] for one in self.encoded]
            frames = [frames[:, :valid] for frames, _ in parts]
            means = [means for _, means in parts]
            several = len(parts) > 1
            found[spec.id] = (torch.cat(frames), torch.cat(means)) if several else (frames[0], means[0])
        return found


@dataclass(frozen=True)
class Queued:
    """A batch of windows whose results are under way: scores [B, M, A] and features [B, D] by spec id."""

    waiting: Sequence[tuple[Tally, Window]]
    scores: Tensor
    features: dict[str, Tensor]
    done: Fence | None
