"""The human ceiling: by hand, against a simulated panel, and on the real ratings."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest

from mmmos.heads.metrics import lcc, mse, srcc, system_means
from mmmos.heads.results.ceiling import ceiling, composite_ratings
from tests.conftest import shared

TITLES = {
    "CE": "Content_Enjoyment",
    "CU": "Content_Usefulness",
    "PC": "Production_Complexity",
    "PQ": "Production_Quality",
}


def test_by_hand():
    # Variances 2, 8 and 2 over two raters: noise (1 + 4 + 1) / 3; means 2, 9 and 16 have variance 49.
    got = ceiling([[1.0, 3.0], [7.0, 11.0], [15.0, 17.0]])
    assert got.of("noise") == pytest.approx(2.0)
    assert got.of("lcc") == pytest.approx(np.sqrt(1 - 2 / 49))
    assert got.split_half == 1.0
    assert got.of("srcc") == pytest.approx(1.0)
    assert got.n == 3


def test_a_perfect_predictor_reaches_it_and_no_more(rng):
    """Truth known to the simulation alone, ten raters, uneven panels: the ceiling is what truth scores."""
    quality = rng.normal(5, 1.2, 4000)
    panels = [
        q + rng.normal(0, 1.5, count) for q, count in zip(quality, rng.integers(8, 13, 4000), strict=True)
    ]
    means = np.array([panel.mean() for panel in panels])
    got = ceiling(panels)
    assert got.of("noise") == pytest.approx(mse(quality, means), rel=0.06)
    assert got.of("lcc") == pytest.approx(lcc(quality, means), abs=0.01)
    assert got.of("srcc") == pytest.approx(srcc(quality, means), abs=0.01)


def test_system_level_noise_shrinks_with_the_clips(rng):
    quality = np.repeat(rng.normal(5, 0.3, 40), 25)
    systems = [f"s{i:02d}" for i in np.repeat(np.arange(40), 25)]
    panels = [q + rng.normal(0, 1.5, 10) for q in quality]
    got = ceiling(panels, systems)
    _, means = system_means([panel.mean() for panel in panels], systems)
    assert got.n == 40
    assert got.of("noise") == pytest.approx(1.5**2 / 10 / 25, rel=0.1)
    assert got.of("noise") == pytest.approx(mse(quality[::25], means), rel=0.5)
    assert got.of("lcc") == pytest.approx(np.sqrt(1 - got.of("noise") / means.var(ddof=1)))
    assert got.of("srcc") == pytest.approx(got.of("lcc"), abs=0.03)


def test_unknown_ceilings_say_why():
    assert ceiling([]).reason == "no single ratings are known"
    assert ceiling([(), (5.0,)]).of("noise") is None
    assert ceiling([(4.0, 6.0)]).reason == "a correlation needs 3 items, there are 1"
    noisy = ceiling([(1.0, 9.0), (2.0, 8.0), (3.0, 8.0)])
    assert noisy.of("lcc") is None
    assert noisy.of("ktau") is None
    assert "differ more within items" in noisy.reason


def test_composite_is_taken_per_rater_and_only_where_raters_match():
    per_rater = composite_ratings(
        [[(1.0, 2.0), (3.0, 6.0), (), ()], [(1.0, 2.0), (3.0,), (), ()], [(), (), (), ()]]
    )
    assert [list(row) for row in per_rater] == [[2.0, 4.0], [], []]


def real(file):
    rows = [json.loads(line) for line in shared(f"data/aes/{file}").open()]
    return {row["data_path"]: {axis: row[title] for axis, title in TITLES.items()} for row in rows}


@pytest.mark.parametrize(
    ("axis", "noise", "highest"),
    [("PQ", 0.283, 0.932), ("PC", 0.190, 0.959), ("CE", 0.331, 0.946), ("CU", 0.387, 0.943)],
)
def test_published_test_ratings_give_the_known_figures(axis, noise, highest):
    got = ceiling([row[axis] for row in real("audiomos2025_track2_human_annotations.jsonl").values()])
    assert round(got.of("noise"), 3) == noise
    assert round(got.of("lcc"), 3) == highest
    assert got.of("srcc") == pytest.approx(got.of("lcc"), abs=0.03)
    assert got.n == 3060


@pytest.mark.parametrize(("natural", "noise", "highest"), [(False, 0.149, 0.943), (True, 0.117, 0.945)])
def test_published_dev_ratings_give_the_known_composite_figures(natural, noise, highest):
    split = {
        row["data_path"]: row["split"] for row in csv.DictReader(shared("data/aes/mmmos_split.csv").open())
    }
    files = (
        [f"AES_natural_{domain}.jsonl" for domain in ("speech", "music", "sound")]
        if natural
        else ["AES_PAM.jsonl"]
    )
    items = [list(row.values()) for file in files for path, row in real(file).items() if split[path] == "dev"]
    assert len(items) == (250 if natural else 200)
    got = ceiling(composite_ratings(items))
    assert round(got.of("noise"), 3) == noise
    assert round(got.of("lcc"), 3) == highest
