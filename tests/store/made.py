"""Small made-up features for the store's tests."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mmmos.store.features import FeatureStore
from mmmos.store.schema import Crop, EncoderSpec

SPEC = EncoderSpec("logmel", "none", "none", "tiny", "mean", 24000, 1.0, 10, 4, 2, "fp32", 1, "made up")


def crop(number: int, valid_s: float = 10.0) -> Crop:
    """The crop of one of many short made-up files."""
    return Crop(f"{number:032x}", 0, 0.0, valid_s)


def features(crops: list[Crop], spec: EncoderSpec = SPEC, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Frames [N, T, frame_dim] float16 and means [N, L, dim] float32 that depend on each crop's id only."""
    frames, means = [], []
    for one in crops:
        rng = np.random.default_rng([seed, int(one.audio, 16), one.index])
        frames.append(rng.normal(size=(spec.frames, spec.frame_dim)).astype(np.float16))
        means.append(rng.normal(size=(spec.layers, spec.dim)).astype(np.float32))
    return np.stack(frames), np.stack(means)


def fill(root: Path, count: int, per_shard: int = 5, spec: EncoderSpec = SPEC) -> FeatureStore:
    """A store of `count` crops, numbered from 0."""
    store = FeatureStore(root, spec)
    crops = [crop(number) for number in range(count)]
    for start in range(0, count, per_shard):
        part = crops[start : start + per_shard]
        store.append(part, *features(part, spec))
    return store


def shard_names(store: FeatureStore) -> list[str]:
    """The shards of a store, by name."""
    return sorted(path.name for path in store.folder.glob("shard-*.h5"))
