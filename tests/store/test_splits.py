"""Splits and folds: shares by system, whole groups, the same for a seed whatever the order of rows."""

from __future__ import annotations

import random
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmmos.store.schema import Clip
from mmmos.store.splits import group_folds, groups_of, split_clips, spread_groups

NAMES = st.sampled_from(["", "a", "b", "c", "d"])


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


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(NAMES, NAMES), min_size=12, max_size=60), st.integers(2, 4), st.integers(0, 3))
def test_every_group_is_in_one_fold(rows: list[tuple[str, str]], folds: int, seed: int) -> None:
    clips = [Clip(f"c{n:03d}", "", group=g, system=s) for n, (g, s) in enumerate(rows)]
    groups = {clip.group or clip.id for clip in clips}
    if len(groups) < folds:
        with pytest.raises(ValueError, match="cannot make"):
            group_folds(clips, folds, seed)
        return
    fold = group_folds(clips, folds, seed)
    assert set(fold) == set(range(folds))
    for name in {clip.group for clip in clips} - {""}:
        assert len({f for f, clip in zip(fold, clips, strict=True) if clip.group == name}) == 1
    turned = group_folds(clips[::-1], folds, seed)
    assert np.array_equal(turned[::-1], fold)


def test_every_fold_has_as_much_of_each_system() -> None:
    clips = [Clip(f"c{n:03d}", "", system=f"s{n % 4}") for n in range(80)]
    fold = group_folds(clips, 5)
    for number in range(5):
        counts = Counter(clip.system for clip, f in zip(clips, fold, strict=True) if f == number)
        assert set(counts.values()) == {4}


def test_one_fold_is_refused() -> None:
    with pytest.raises(ValueError, match="2 folds or more"):
        group_folds([Clip("a", ""), Clip("b", "")], 1)


@pytest.mark.parametrize("seed", range(5))
def test_a_large_group_goes_first_so_that_small_ones_make_up_for_it(seed: int) -> None:
    clips = [Clip(f"a{n:02d}", "", group="large") for n in range(12)]
    clips += [Clip(f"b{n:02d}", "") for n in range(12)]
    assert Counter(group_folds(clips, 2, seed).tolist()) == {0: 12, 1: 12}
    assert Counter(clip.split for clip in split_clips(clips, 0.5, seed)) == {"train": 12, "dev": 12}


def test_groups_of_one_size_are_placed_in_the_order_given() -> None:
    clips = [Clip(name, "") for name in "abcd"]
    placed = []

    def place(counts: Counter[str | None], held: list[Counter[str | None]]) -> int:
        placed.append((counts[None], sum(share[None] for share in held)))
        return len(placed) % 2

    assert spread_groups(clips, [[2], [0, 3], [1]], 2, place) == [1, 1, 0, 1]
    assert placed == [(2, 0), (1, 2), (1, 3)]


def test_a_group_and_a_clip_of_one_name_are_two_groups() -> None:
    clips = [Clip("b", "", group="a"), Clip("a", ""), Clip("c", "", group="a")]
    assert groups_of(clips) == [[1], [0, 2]]
