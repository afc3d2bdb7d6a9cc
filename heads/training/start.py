"""What training begins with: a head with the statistics of its clips, and the batches of each epoch."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from mmmos.heads.config import CLOSED_FORM, HeadConfig
from mmmos.heads.network.model import Head
from mmmos.heads.training.data import Features, Indices


def fresh_head(config: HeadConfig, features: Features, clips: Indices) -> Head:
    """An untrained head with the statistics of these clips; only the axes rated among them."""
    scores = features.truth[clips]
    present = np.isfinite(scores).any(axis=0)
    if not present.any():
        raise ValueError("no clip of the train split is rated on any axis: nothing to learn from")
    axes = [axis for axis, there in zip(features.table.axes, present, strict=True) if there]
    scale = features.table.scale.only(np.flatnonzero(present).tolist())
    support = len(clips) if config.aggregator in CLOSED_FORM else 0
    head = Head(config, features.specs_of(config), axes, scale, support=support)
    mean = np.nanmean(scores[:, present], axis=0)
    std = np.nanstd(scores[:, present], axis=0)
    # An axis that never varies in training has no unit of its own; 1 keeps it finite.
    std = np.where(std > 0, std, 1.0)
    statistics = features.statistics(head.specs, head.reading, features.rows(clips))
    head.set_statistics(statistics, torch.from_numpy(mean), torch.from_numpy(std))
    return head


def epoch_batches(features: Features, clips: Indices, config: HeadConfig, epoch: int) -> Iterator[Indices]:
    """Batches [B, 2] of (clip, crop) numbers: clips in random order, one random stored crop of each."""
    rng = np.random.default_rng([config.seed, epoch])
    order = rng.permutation(clips)
    crops = features.first[order] + rng.integers(features.counts[order])
    pairs = np.stack((order, crops), axis=1)
    for start in range(0, len(pairs), config.batch):
        yield pairs[start : start + config.batch]


def rated(features: Features, clips: Indices) -> Indices:
    """Those of the clips that are rated on some axis."""
    return clips[np.isfinite(features.truth[clips]).any(axis=1)]
