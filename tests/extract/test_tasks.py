"""What is missing is planned once, in the table's order, and cut into the shards that it becomes."""

from __future__ import annotations

from mmmos.extract.tasks import Task, by_shard, plan
from mmmos.store.clips import ClipTable
from mmmos.store.schema import Clip, Crop


class Missing:
    """A store that misses the crops of some audio."""

    def __init__(self, *audio: str) -> None:
        self.audio = audio

    def refresh(self) -> None:
        pass

    def __contains__(self, crop_id: str) -> bool:
        return crop_id.partition("-")[0] not in self.audio


def task(number: int, *stores: int) -> Task:
    return Task(f"c{number}", "a.wav", Crop("x", number, 10.0 * number, 10.0), stores)


def test_a_task_names_the_stores_that_miss_its_crop() -> None:
    clips = [("a", "x", 15.0), ("b", "y", 5.0), ("again", "x", 15.0), ("c", "z", 3.0)]
    table = ClipTable(tuple(Clip(id, f"{id}.wav", audio=audio, duration_s=s) for id, audio, s in clips))
    crops, tasks = plan(table, [Missing("x", "y"), Missing("x")])  # type: ignore[list-item]
    assert crops == 4
    assert [(t.clip_id, t.crop.index, t.stores) for t in tasks] == [
        ("a", 0, (0, 1)),
        ("a", 1, (0, 1)),
        ("b", 0, (0,)),
    ]


def test_a_shard_holds_consecutive_tasks_for_the_same_stores() -> None:
    tasks = [task(0, 0), task(1, 0), task(2, 0), task(3, 0, 1), task(4, 0)]
    assert [[t.clip_id for t in shard] for shard in by_shard(tasks, 2)] == [
        ["c0", "c1"],
        ["c2"],
        ["c3"],
        ["c4"],
    ]
