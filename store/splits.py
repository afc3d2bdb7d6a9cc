"""Dividing clips into training and held-out ones, and into folds, without dividing a group."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from mmmos.store.schema import Clip

Counts = Counter[str | None]
"""How many clips of each system; under None those of all systems, which count as one system more."""


def split_clips(clips: Sequence[Clip], train_fraction: float, seed: int) -> tuple[Clip, ...]:
    """The same clips with split "train" or "dev", stratified by system, no group divided.

    Groups are placed one by one, see `spread_groups`, each where it keeps the train shares of its systems
    nearest to `train_fraction`, over the groups placed so far.  The paper's own split shares prompts and
    tracks between the two sides; `group` is there to prevent that.

    Raises
    ------
    ValueError
        Unless the fraction lies between 0 and 1 and both sides get clips.
    """
    if not 0.0 < train_fraction < 1.0:
        raise ValueError(f"the train fraction lies between 0 and 1, not at {train_fraction}")

    def side(counts: Counts, held: Sequence[Counts]) -> int:
        # The error of a system is train - fraction * seen, this group counted as seen.  Going to train
        # changes the sum of squared errors by n * (2 error + n) per system.
        train, dev = held
        errors = {s: train[s] - train_fraction * (train[s] + dev[s] + n) for s, n in counts.items()}
        return 0 if sum(n * (2 * errors[s] + n) for s, n in counts.items()) < 0 else 1

    groups = groups_of(clips)
    random.Random(seed).shuffle(groups)
    sides = spread_groups(clips, groups, 2, side)
    if len(set(sides)) < 2:
        raise ValueError(
            f"{len(clips)} clips in {len(groups)} groups cannot be divided at {train_fraction}: "
            "one side would be empty"
        )
    return tuple(replace(clip, split=("train", "dev")[n]) for clip, n in zip(clips, sides, strict=True))


def group_folds(clips: Sequence[Clip], folds: int, seed: int = 0) -> NDArray[np.int64]:
    """Fold of each clip, for predicting every training clip by a head that never saw it.

    Groups are placed one by one, see `spread_groups`, each where it keeps the counts of its systems most
    even.  The result depends on the clips' ids, not on their order.

    Returns
    -------
    array [N] int64
        0 .. folds - 1; no group is divided.

    Raises
    ------
    ValueError
        For fewer than 2 folds, or fewer groups than folds.
    """
    if folds < 2:
        raise ValueError(f"out-of-fold predictions need 2 folds or more, not {folds}")
    groups = groups_of(clips)
    if len(groups) < folds:
        raise ValueError(f"{len(clips)} training clips in {len(groups)} groups cannot make {folds} folds")

    def fold(counts: Counts, held: Sequence[Counts]) -> int:
        return min(range(folds), key=lambda f: sum(n * held[f][s] for s, n in counts.items()))

    np.random.default_rng(seed).shuffle(groups)
    return np.array(spread_groups(clips, groups, folds, fold), dtype=np.int64)


def groups_of(clips: Sequence[Clip]) -> list[list[int]]:
    """Positions of each group's clips, in the order of their ids; a clip without a group stands alone."""
    groups: dict[tuple[str, str], list[int]] = {}
    for n in sorted(range(len(clips)), key=lambda n: clips[n].id):
        clip = clips[n]
        groups.setdefault(("group", clip.group) if clip.group else ("clip", clip.id), []).append(n)
    return list(groups.values())


def spread_groups(
    clips: Sequence[Clip],
    groups: Sequence[Sequence[int]],
    shares: int,
    place: Callable[[Counts, Sequence[Counts]], int],
) -> list[int]:
    """The share of each clip, 0 .. shares - 1: whole groups are placed one by one, large ones first.

    Large groups go first because small ones can still even out what they leave; groups of one size keep
    the order in which they are given.

    Parameters
    ----------
    groups
        Positions in `clips`; every clip stands in one group.
    place
        Chooses the share of a group from the group's own counts and the counts that each share holds.
    """
    held: list[Counts] = [Counter() for _ in range(shares)]
    result = [0] * len(clips)
    for members in sorted(groups, key=len, reverse=True):
        counts: Counts = Counter(clips[n].system for n in members)
        counts[None] = len(members)
        share = place(counts, held)
        held[share].update(counts)
        for n in members:
            result[n] = share
    return result


def shared_audio(clips: Iterable[Clip]) -> list[str]:
    """One warning for each audio file that is in more than one split."""
    places: defaultdict[str, list[Clip]] = defaultdict(list)
    for clip in clips:
        if clip.audio:
            places[clip.audio].append(clip)
    return [
        "the same audio in several splits: " + ", ".join(f"{clip.id} ({clip.split})" for clip in same)
        for same in places.values()
        if len({clip.split for clip in same}) > 1
    ]
