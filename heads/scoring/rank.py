"""Where a score would stand among the ratings of the training clips.  No torch.

A bundle keeps, for each axis, the percentiles of the mean ratings that its heads learnt from, over all clips
and within each domain of at least FEWEST.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mmmos.heads.scoring.json_values import is_count, is_number
from mmmos.store.clips import ClipTable

EVERYWHERE = ""
FEWEST = 20
PERCENTILES = 101
"""0, 1, ... 100 %."""

Ratings = dict[str, dict[str, dict[str, Any]]]
"""Domain ("" for all) -> axis -> {"clips": how many, "percentiles": [101] ratings}, as JSON."""


@dataclass(frozen=True)
class Rank:
    """A score is above `percent` of 100 of the `clips` training clips of `domain` ("" for all)."""

    percent: int
    clips: int
    domain: str


def rating_percentiles(table: ClipTable) -> Ratings:
    """Of the training clips of a table; axes of a domain with fewer than FEWEST rated clips are left out."""
    clips = table.of("train")
    found: Ratings = {}
    for domain in (EVERYWHERE, *sorted({clip.domain for clip in clips} - {EVERYWHERE})):
        own = [clip for clip in clips if domain in (EVERYWHERE, clip.domain)]
        for axis, scores in zip(table.axes, table.scores(own).T, strict=True):
            rated = scores[np.isfinite(scores)]
            if len(rated) >= FEWEST:
                shares = np.linspace(0, 100, PERCENTILES)
                percentiles = np.percentile(rated, shares, method="inverted_cdf").round(4).tolist()
                found.setdefault(domain, {})[axis] = {"clips": len(rated), "percentiles": percentiles}
    return found


def rank(ratings: Mapping[str, Any], domain: str, axis: str, score: float) -> Rank | None:
    """Of a score among the training clips of its domain, or among all where that one has too few; None where
    nothing is known of them."""
    where = domain if axis in ratings.get(domain, {}) else EVERYWHERE
    known = ratings.get(where, {}).get(axis)
    if known is None:
        return None
    # Ratings are often equal: those that the score equals count by half.
    below, not_above = (int(np.searchsorted(known["percentiles"], score, side)) for side in ("left", "right"))
    return Rank(round(100 * (below + not_above) / (2 * PERCENTILES)), known["clips"], where)


def check_ratings(ratings: object, axes: Sequence[str]) -> None:
    """ValueError unless it is what `rating_percentiles` gives for some of these axes."""
    if not isinstance(ratings, dict):
        raise ValueError("its ratings are no JSON object")
    for domain, of_domain in ratings.items():
        if not isinstance(of_domain, dict) or not set(of_domain) <= set(axes):
            raise ValueError(f"its ratings of {domain!r:.60} are not those of its axes, {', '.join(axes)}")
        for axis, known in of_domain.items():
            values = known.get("percentiles") if isinstance(known, dict) else None
            if not (
                isinstance(values, list)
                and len(values) == PERCENTILES
                and all(map(is_number, values))
                and values == sorted(values)
                and is_count(known.get("clips"))
            ):
                raise ValueError(f"its ratings of {axis} are not {PERCENTILES} rising numbers and a count")
