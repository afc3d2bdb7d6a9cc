"""The split: shares by system, whole groups, the same for a seed whatever the order of rows."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmmos.store.schema import Clip
from mmmos.store.splits import split_clips


def shares(clips: tuple[Clip, ...]) -> dict[str, float]:
    total = Counter(clip.system for clip in clips)
    train = Counter(clip.system for clip in clips if clip.split == "train")
    return {system: train[system] / total[system] for system in total}


def test_every_system_is_divided_at_the_fraction() -> None:
    clips = [Clip(f"c{i}", "x", system=f"s{i % 8}") for i in range(800)]
    divided = split_clips(clips, 0.8, seed=0)
    assert all(abs(share - 0.8) <= 0.02 for share in shares(divided).values())
    assert [clip.id for clip in divided] == [clip.id for clip in clips]


def test_groups_that_cross_all_systems_stay_whole() -> None:
    clips = [Clip(f"c{g}-{s}", "x", system=f"s{s}", group=f"g{g}") for g in range(16) for s in range(8)]
    divided = split_clips(clips, 0.75, seed=3)
    sides = {clip.group: {c.split for c in divided if c.group == clip.group} for clip in divided}
    assert all(len(side) == 1 for side in sides.values())
    assert set(shares(divided).values()) == {0.75}


def test_the_seed_decides_and_row_order_does_not() -> None:
    clips = [Clip(f"c{i}", "x", system=f"s{i % 3}", group=f"g{i // 2}") for i in range(60)]
    shuffled = random.Random(1).sample(clips, len(clips))

    def train(order: list[Clip], seed: int) -> set[str]:
        return {clip.id for clip in split_clips(order, 0.7, seed) if clip.split == "train"}

    assert train(clips, 0) == train(shuffled, 0)
    assert train(clips, 0) != train(clips, 1)


def test_systems_of_one_clip_each_still_fill_both_sides() -> None:
    divided = split_clips([Clip(f"c{i}", "x", system=f"s{i}") for i in range(50)], 0.8, seed=0)
    assert Counter(clip.split for clip in divided) == {"train": 40, "dev": 10}


@pytest.mark.parametrize("fraction", [0.0, 1.0, -0.1, float("nan")])
def test_a_fraction_lies_between(fraction: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        split_clips([Clip("a", "x"), Clip("b", "x")], fraction, 0)


def test_one_group_cannot_be_divided() -> None:
    with pytest.raises(ValueError, match="one side would be empty"):
        split_clips([Clip("a", "x", group="g"), Clip("b", "x", group="g")], 0.5, 0)


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 4), st.integers(0, 30)), min_size=40, max_size=150), st.integers(0, 9)
)
def test_no_group_is_ever_on_both_sides(rows: list[tuple[int, int]], seed: int) -> None:
    clips = [Clip(f"c{i}", "x", system=f"s{s}", group=f"g{g}" if g else "") for i, (s, g) in enumerate(rows)]
    try:
        divided = split_clips(clips, 0.8, seed)
    except ValueError:
        return
    for group in {clip.group for clip in divided} - {""}:
        assert len({clip.split for clip in divided if clip.group == group}) == 1
