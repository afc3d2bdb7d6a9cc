"""The simulations run, and their last line says what they measured."""

from __future__ import annotations

import json
from contextlib import redirect_stdout
from io import StringIO
from typing import Any

import pytest

from mmmos.heads.metrics import METRICS
from tests.simulate import main


@pytest.fixture(scope="module")
def found() -> dict[str, Any]:
    """What the last line of `python -m tests.simulate --quick` says."""
    with redirect_stdout(StringIO()) as printed:
        main(["--quick"])
    return json.loads(printed.getvalue().splitlines()[-1])


def test_every_metric_is_simulated_at_every_number_of_systems(found: dict[str, Any]) -> None:
    for what, systems in (("coverage", {"10", "20", "36"}), ("size", {"8", "10", "20", "36"})):
        for level in ("system", "utterance"):
            assert set(found[what][level]) == set(METRICS)
            for shares in found[what][level].values():
                assert set(shares) == systems
                assert all(0 <= share <= 1 for share in shares.values())


def test_a_gain_states_its_standard_error(found: dict[str, Any]) -> None:
    for kind in ("systems", "clips"):
        assert set(found["gain"][kind]) == {"10", "30", "100"}
        for row in found["gain"][kind].values():
            share = row["share"]
            expected = (share * (1 - share) / found["studies"]) ** 0.5
            assert row["standard_error"] == pytest.approx(expected, abs=1e-4)


def test_two_sides_are_simulated_for_every_shape_of_scores(found: dict[str, Any]) -> None:
    for what in ("different", "refused"):
        assert set(found["sides"][what]) == {"normal", "left", "right", "fails"}
        for rows in found["sides"][what].values():
            assert set(rows) == {"3/30", "5/50", "10/100", "20/200", "10/10"}
    refused = found["sides"]["refused"]
    assert refused["fails"]["10/100"]["1"] > 0.5 > refused["normal"]["10/100"]["1"]


def test_intervals_of_scores_cover_every_group(found: dict[str, Any]) -> None:
    assert set(found["scores"]) == {"all", "music/real", "music/synthetic", "speech/real", "speech/synthetic"}
    for shares in found["scores"].values():
        assert shares["0.8"] > 0.7
        assert shares["0.95"] > 0.88
