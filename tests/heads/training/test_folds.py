"""Folds: every clip once, no group divided, systems spread."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmmos.heads.training.folds import group_folds
from mmmos.store.schema import Clip

NAMES = st.sampled_from(["", "a", "b", "c", "d"])


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


def test_systems_are_spread_evenly() -> None:
    clips = [Clip(f"c{n:03d}", "", system=f"s{n % 4}") for n in range(80)]
    fold = group_folds(clips, 5)
    for number in range(5):
        counts = Counter(clip.system for clip, f in zip(clips, fold, strict=True) if f == number)
        assert set(counts.values()) == {4}


def test_one_fold_is_refused() -> None:
    with pytest.raises(ValueError, match="2 folds or more"):
        group_folds([Clip("a", ""), Clip("b", "")], 1)
