"""Dividing clips into train and dev so that nothing leaks and every system is in both."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from mmmos.store.schema import Clip


def split_clips(clips: Sequence[Clip], train_fraction: float, seed: int) -> tuple[Clip, ...]:
    """The same clips with split "train" or "dev", stratified by system, no group divided.

    Whole groups (a clip without one stands alone) are placed one by one, large ones first and otherwise
    in seeded order, each where it keeps every system's train share nearest to `train_fraction`, over
    the groups placed so far; the overall share counts as one more system.  The paper's own split
    shares prompts and tracks between the two sides; `group` is there to prevent that.
    ValueError unless both sides get clips.
    """
    if not 0.0 < train_fraction < 1.0:
        raise ValueError(f"the train fraction lies between 0 and 1, not at {train_fraction}")
    groups: dict[tuple[str, str], list[Clip]] = {}
    for clip in sorted(clips, key=lambda clip: clip.id):
        key = ("group", clip.group) if clip.group else ("clip", clip.id)
        groups.setdefault(key, []).append(clip)
    order = list(groups)
    random.Random(seed).shuffle(order)
    order.sort(key=lambda key: -len(groups[key]))

    seen: Counter[str | None] = Counter()
    train: Counter[str | None] = Counter()
    split: dict[str, str] = {}
    for key in order:
        counts: Counter[str | None] = Counter(clip.system for clip in groups[key])
        counts[None] = len(groups[key])  # the overall share
        seen.update(counts)
        # error = train - fraction * seen; going to train changes the sum of squares by n * (2 error + n).
        gain = sum(n * (2 * (train[s] - train_fraction * seen[s]) + n) for s, n in counts.items())
        if gain < 0:
            train.update(counts)
        for clip in groups[key]:
            split[clip.id] = "train" if gain < 0 else "dev"
    if len(set(split.values())) < 2:
        raise ValueError(
            f"{len(clips)} clips in {len(groups)} groups cannot be divided at {train_fraction}: "
            "one side would be empty"
        )
    return tuple(replace(clip, split=split[clip.id]) for clip in clips)
