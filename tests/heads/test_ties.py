"""Means that are equal in exact arithmetic tie; ranks, baselines and figures follow from that."""

from __future__ import annotations

import os
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from mmmos.extract.corpora.labels import read_aes
from mmmos.heads.metrics import composite, srcc, system_means
from mmmos.heads.results.baselines import DOMAIN_ORACLE, baselines
from mmmos.heads.results.evaluation import EVERYWHERE, rows
from mmmos.store.schema import Clip

DATA = Path(os.environ.get("MMMOS_SHARED", "")) / "data" / "aes"
needs_ratings = pytest.mark.skipif(
    not DATA.is_dir() or "MMMOS_SHARED" not in os.environ, reason="the label files of AES are not here"
)


def exact_srcc(pred: list[Fraction], truth: list[Fraction]) -> float:
    """Spearman's correlation of exact numbers: twice the mid-ranks are integers."""

    def ranks(values: list[Fraction]) -> list[int]:
        return [sum(v < w for v in values) + sum(v <= w for v in values) for w in values]

    p, t = ranks(pred), ranks(truth)
    n = len(p)
    top = n * sum(a * b for a, b in zip(p, t, strict=True)) - sum(p) * sum(t)
    bottom = [n * sum(a * a for a in side) - sum(side) ** 2 for side in (p, t)]
    return float(top / (bottom[0] * bottom[1]) ** 0.5)


def test_equal_means_tie_whatever_the_order_of_their_sums() -> None:
    values = np.array([0.1, 0.2, 0.3, 0.3, 0.2, 0.1, 0.6, 0.0, 0.0])
    _, means = system_means(values, ["a"] * 3 + ["b"] * 3 + ["c"] * 3)
    assert len({*means.tolist()}) == 1
    rated = np.array([[0.1, 0.2, 0.3], [0.3, 0.2, 0.1], [0.6, 0.0, 0.0], [0.2, 0.2, 0.2]])
    assert len({*composite(rated, rated)[0].tolist()}) == 1


def test_a_hand_made_case_has_the_exact_correlation() -> None:
    single = [[1, 2, 4], [2, 4, 1], [4, 1, 2], [3, 3, 2], [5, 5, 5], [2, 2, 2]]
    exact = [sum(Fraction(v, 10) for v in row) / 3 for row in single]
    rows = np.array(single) / 10
    order = [Fraction(n) for n in (1, 2, 3, 4, 6, 5)]
    got = srcc(composite(rows, rows)[0], [float(v) for v in order])
    assert got == pytest.approx(exact_srcc(exact, order), abs=1e-12)


def exact_domain_oracle(clips: list[Clip], axis: int) -> float:
    """System SRCC of each domain's mean rating, in fractions: every single rating is an integer."""
    scores = [sum(map(Fraction, c.ratings[axis]), Fraction(0)) / len(c.ratings[axis]) for c in clips]

    def mean(values: list[Fraction]) -> Fraction:
        return sum(values, Fraction(0)) / len(values)

    by_domain = {
        domain: mean([s for s, c in zip(scores, clips, strict=True) if c.domain == domain])
        for domain in {clip.domain for clip in clips}
    }
    sides: list[list[Fraction]] = [[], []]
    for system in sorted({clip.system for clip in clips}):
        own = [n for n, clip in enumerate(clips) if clip.system == system]
        sides[0].append(mean([by_domain[clips[n].domain] for n in own]))
        sides[1].append(mean([scores[n] for n in own]))
    return exact_srcc(*sides)


@needs_ratings
@pytest.mark.parametrize(
    ("split", "axis", "printed"),
    [("dev", "CE", 0.463), ("dev", "PC", 0.926), ("test", "CE", 0.793)],
)
def test_the_domain_oracle_of_real_ratings_is_the_exact_one(split: str, axis: str, printed: float) -> None:
    table = read_aes(DATA)
    clips = list(table.of(split))
    (oracle,) = [one for one in baselines(table, split) if one.run == DOMAIN_ORACLE]
    (row,) = [
        row
        for row in rows(oracle, clips, intervals=False)
        if (row.level, row.domain, row.axis, row.metric) == ("system", EVERYWHERE, axis, "srcc")
    ]
    assert row.value == pytest.approx(exact_domain_oracle(clips, table.axes.names.index(axis)), abs=1e-12)
    assert row.value == pytest.approx(printed, abs=0.0005)
