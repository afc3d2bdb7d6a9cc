"""The sensitivity card: shifts by hand, and harmless changes of real audio."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from mmmos.extract.front import PERTURBATIONS
from mmmos.heads.scoring.loading import load_bundle
from mmmos.heads.scoring.requests import AudioRequest, list_requests
from mmmos.heads.scoring.scorer import Scorer
from mmmos.heads.scoring.sensitivity import measure_sensitivity, write_card
from tests.heads.scoring.experiment import scoring_experiment


class Told:
    """A scorer that answers what it is told: request id -> score on MOS, None for an error."""

    axes = ("MOS",)
    caveats = ("made up",)

    def __init__(self, told: dict[str, float | None]) -> None:
        self.told = told

    def answers(self, requests: list[AudioRequest], pieces: list[Any]) -> list[dict[str, Any]]:
        found = [self.told.get(request.id, 3.0) for request in requests]
        return [{"error": "not audio"} if score is None else {"MOS": score} for score in found]


def request(name: str) -> AudioRequest:
    return AudioRequest(name, name, Path(name))


def test_shifts_by_hand(tmp_path: Path) -> None:
    told = Told({"a: mono": 4.0, "b: mono": 2.5, "c: mono": None})
    card = measure_sensitivity(told, [request("a"), request("b"), request("c")])  # type: ignore[arg-type]
    mono = next(row for row in card.rows if row.change == "mono")
    assert (mono.shift, mono.size, mono.largest) == ({"MOS": 0.25}, {"MOS": 0.75}, {"MOS": 1.0})
    assert (mono.score, mono.n, card.files) == ({"MOS": 3.25}, 2, 2)
    assert card.errors == (("c", "not audio"),), "a file that fails once counts nowhere"
    assert [row.change for row in card.rows] == list(PERTURBATIONS)
    write_card(card, tmp_path)
    with (tmp_path / "sensitivity.csv").open(newline="") as file:
        (row,) = [row for row in csv.DictReader(file) if row["change"] == "mono"]
    expected = {"axis": "MOS", "shift": "0.25", "size": "0.75", "largest": "1.0", "score": "3.25", "n": "2"}
    assert row == {"change": "mono", **expected}
    assert json.loads((tmp_path / "sensitivity.json").read_text())["caveats"] == ["made up"]
    assert "made up" in (tmp_path / "sensitivity.svg").read_text()


def test_files_that_all_fail_are_refused_with_the_first_reason() -> None:
    told = Told({"a: as it is": None})
    with pytest.raises(ValueError, match="none of 1 files could be scored; a: not audio"):
        measure_sensitivity(told, [request("a")])  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def scorer() -> Scorer:
    return load_bundle(scoring_experiment().bundle, device="cpu")


def test_changes_that_cannot_be_heard_move_no_score(scorer: Scorer) -> None:
    card = measure_sensitivity(scorer, list_requests(map(str, scoring_experiment().paths("test")[:2])))
    rows = {row.change: row for row in card.rows}
    for harmless in ("mono", "two equal channels", "3 s of digital silence after"):
        assert max(rows[harmless].largest.values()) < 1e-3, harmless
    assert max(rows["nothing but zeros"].largest.values()) > 0.1
