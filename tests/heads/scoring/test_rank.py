"""Where a score stands among the ratings of training, whatever the ties, and what no stranger may write."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mmmos.heads.scoring.rank import FEWEST, PERCENTILES, Rank, check_ratings, rank, rating_percentiles
from mmmos.store.clips import ClipTable
from mmmos.store.schema import Axes, Clip, Scale

AXES = Axes(("MOS", "SIG"), ("MOS", "SIG"))


def table(*clips: tuple[str, float, float | None], split: str = "train") -> ClipTable:
    """Clips of (domain, MOS, SIG)."""
    made = tuple(
        Clip(f"c{n}", f"c{n}.wav", domain=domain, split=split, scores=scores, axes=AXES.names)
        for n, (domain, *scores) in enumerate(clips)
    )
    return ClipTable(made, Scale(1, 5), axes=AXES)


def test_a_score_stands_above_the_share_of_ratings_that_are_lower() -> None:
    ratings = rating_percentiles(table(*(("speech", 1 + 4 * n / 99, None) for n in range(100))))
    for score in (1.4, 2.0, 3.3, 4.9):
        found = rank(ratings, "speech", "MOS", score)
        assert found is not None
        assert found.percent == pytest.approx(25 * (score - 1), abs=1.5)
    assert rank(ratings, "speech", "MOS", 0.5) == Rank(0, 100, "speech")
    assert rank(ratings, "speech", "MOS", 5.5) == Rank(100, 100, "speech")
    assert rank(ratings, "speech", "SIG", 3.0) is None, "nobody rated it"


def test_equal_ratings_count_by_half() -> None:
    ratings = rating_percentiles(table(*(("", 3.0, 3.0) for _ in range(FEWEST))))
    assert rank(ratings, "", "MOS", 3.0) == Rank(50, FEWEST, "")


def test_a_domain_of_few_clips_is_ranked_among_all() -> None:
    many = [("music", 2.0, 2.0)] * FEWEST
    ratings = rating_percentiles(table(*many, ("sound", 5.0, 5.0)))
    assert rank(ratings, "sound", "MOS", 4.0) == Rank(95, FEWEST + 1, "")
    assert rank(ratings, "music", "MOS", 4.0) == Rank(100, FEWEST, "music")
    assert rank(ratings, "never heard of", "MOS", 4.0) == Rank(95, FEWEST + 1, "")


def test_only_what_was_learnt_from_counts() -> None:
    assert rating_percentiles(table(*[("music", 2.0, 2.0)] * FEWEST, split="test")) == {}
    assert rating_percentiles(table(*[("music", 2.0, 2.0)] * (FEWEST - 1))) == {}


def known(**changes: Any) -> dict[str, Any]:
    return {"": {"MOS": {"clips": 30, "percentiles": np.linspace(1, 5, PERCENTILES).tolist()} | changes}}


@pytest.mark.parametrize(
    "ratings",
    [
        [],
        {"": []},
        {"": {"PQ": {}}},
        {"": {"MOS": 3}},
        known(clips=-1),
        known(clips="many"),
        known(percentiles=[1.0]),
        known(percentiles=[*range(PERCENTILES - 1), 0]),
        known(percentiles=["1"] * PERCENTILES),
        known(percentiles=None),
    ],
)
def test_other_ratings_in_a_bundle_are_refused(ratings: object) -> None:
    check_ratings(known(), AXES.names)
    with pytest.raises(ValueError, match="its ratings"):
        check_ratings(ratings, AXES.names)
