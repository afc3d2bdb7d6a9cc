"""Whether the mean over the axes of a clip, the composite, says anything.  No torch.

Axes may oppose each other (valence and loudness), or be in different units (-2 to 2 and 0 to 100): then their
mean is noise or one axis over again, and what is chosen or reported by it misleads.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np

from mmmos.heads.metrics import Array, srcc
from mmmos.store.schema import AES_AXES

OPPOSED_BELOW = -0.4
"""Two axes whose ratings rank the clips this much against each other have no common mean ..."""

UNCERTAIN = 2.0
"""... if the clips are enough to tell: below -2 / sqrt(clips), which unrelated axes pass once in 44 times."""

UNITS_APART = 8.0
"""Nor have axes of which one's ratings spread this many times as much as another's."""


def has_composite(truth: Array, axes: Sequence[str]) -> bool:
    """True where a composite is formed: for several axes [N, A] that neither oppose nor dwarf each other.

    The four axes of the paper always have theirs, which its tables are about.
    """
    if len(axes) < 2 or tuple(axes) == AES_AXES.names:
        return len(axes) > 1
    rated = np.isfinite(truth)
    spreads = [np.std(truth[rated[:, a], a]) for a in range(len(axes)) if rated[:, a].any()]
    known = [spread for spread in spreads if spread > 0]
    if known and max(known) > UNITS_APART * min(known):
        return False
    for one, other in combinations(range(len(axes)), 2):
        both = rated[:, one] & rated[:, other]
        found = srcc(truth[both, one], truth[both, other])
        if found is not None and found < min(OPPOSED_BELOW, -UNCERTAIN / np.sqrt(both.sum())):
            return False
    return True
