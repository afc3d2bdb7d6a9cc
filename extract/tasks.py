"""Which crops are still to be encoded, and which of them become one shard."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from mmmos.store.clips import ClipTable
from mmmos.store.crops import crops_of
from mmmos.store.features import FeatureStore
from mmmos.store.schema import Clip, Crop


@dataclass(frozen=True)
class Task:
    """One crop to read, for the stores (by position) that miss it."""

    clip_id: str
    path: str
    crop: Crop
    stores: tuple[int, ...]


ShardTasks = Sequence[Task]
"""Tasks for the same stores, whose crops become one shard in each of them."""


def plan(table: ClipTable, stores: Sequence[FeatureStore]) -> tuple[int, list[Task]]:
    """The number of distinct crops, and a task for each that some store is missing, in the table's order.

    ValueError for a table that has not been surveyed.
    """
    owners: dict[Crop, Clip] = {}
    for clip in table.clips:
        for crop in crops_of(clip):
            owners.setdefault(crop, clip)
    missing = [set(store.missing(owners)) for store in stores]
    tasks = [
        Task(clip.id, clip.path, crop, tuple(i for i, crops in enumerate(missing) if crop in crops))
        for crop, clip in owners.items()
    ]
    return len(owners), [task for task in tasks if task.stores]


def by_shard(tasks: Sequence[Task], size: int) -> Iterator[ShardTasks]:
    """Consecutive tasks for the same stores, at most `size` together."""
    for _, run in itertools.groupby(tasks, key=lambda task: task.stores):
        same = list(run)
        for start in range(0, len(same), size):
            yield same[start : start + size]
