"""Dividing the training clips into folds, so that every clip is predicted by a head that never saw it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mmmos.store.schema import Clip


def group_folds(clips: Sequence[Clip], folds: int, seed: int = 0) -> NDArray[np.int64]:
    """[N] fold of each clip, 0 .. folds - 1; no group is divided, systems are spread evenly.

    Whole groups (a clip without one stands alone), large ones first and otherwise in seeded order,
    each go where they keep the counts of their systems, and the counts of all clips, most even.
    The result depends on the clips' ids, not on their order.  ValueError for fewer groups than folds.
    """
    if folds < 2:
        raise ValueError(f"out-of-fold predictions need 2 folds or more, not {folds}")
    groups: dict[tuple[str, str], list[int]] = {}
    for n in sorted(range(len(clips)), key=lambda n: clips[n].id):
        clip = clips[n]
        groups.setdefault(("group", clip.group) if clip.group else ("clip", clip.id), []).append(n)
    if len(groups) < folds:
        raise ValueError(f"{len(clips)} training clips in {len(groups)} groups cannot make {folds} folds")
    order = list(groups)
    np.random.default_rng(seed).shuffle(order)
    order.sort(key=lambda key: -len(groups[key]))
    held: list[Counter[str | None]] = [Counter() for _ in range(folds)]
    result = np.zeros(len(clips), dtype=np.int64)
    for key in order:
        counts: Counter[str | None] = Counter(clips[n].system for n in groups[key])
        counts[None] = len(groups[key])  # all clips together count as one more system
        fold = min(range(folds), key=lambda f: sum(n * held[f][s] for s, n in counts.items()))
        held[fold].update(counts)
        result[groups[key]] = fold
    return result
