"""Which crops are still to be encoded, and which of them become one shard."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from mmmos.store.clips import ClipTable
from mmmos.store.crops import crops_of
from mmmos.store.features import FeatureStore
from mmmos.store.schema import Crop


@dataclass(frozen=True, slots=True)
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
    for store in stores:
        store.refresh()
    seen: set[str] = set()
    wanted: dict[tuple[int, ...], tuple[int, ...]] = {}  # each kind once, however many tasks
    tasks: list[Task] = []
    count = 0
    for clip in table.clips:
        crops = crops_of(clip)
        if clip.audio in seen:
            continue
        seen.add(clip.audio)
        count += len(crops)
        for crop in crops:
            crop_id = crop.id
            lacking = tuple([i for i, store in enumerate(stores) if crop_id not in store])
            if lacking:
                tasks.append(Task(clip.id, clip.path, crop, wanted.setdefault(lacking, lacking)))
    return count, tasks


def by_shard(tasks: Sequence[Task], size: int) -> Iterator[ShardTasks]:
    """Consecutive tasks for the same stores, at most `size` together."""
    for _, run in itertools.groupby(tasks, key=lambda task: task.stores):
        same = list(run)
        for start in range(0, len(same), size):
            yield same[start : start + size]
