"""Golden scores: of a head given by a formula, and when an installation differs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mmmos.heads.scoring.bundle import save_bundle
from mmmos.heads.scoring.golden import deviations, golden_scores, golden_waves
from mmmos.heads.scoring.loading import load_bundle
from tests.conftest import ROOT
from tests.heads.scoring.made_bundle import logmel, made_bundle

GOLDEN = ROOT / "tests" / "golden"


def test_golden_scores_come_out_on_every_machine(tmp_path: Path) -> None:
    """Of a head given by a formula over log-mel: a change here changes every released bundle's scores."""
    scorer = load_bundle(save_bundle(made_bundle([logmel()]), tmp_path, ""), device="cpu")
    found = golden_scores(scorer, scorer.axes)
    expected = json.loads((GOLDEN / "scores.json").read_text())
    assert set(expected) == set(found) == set(golden_waves())
    for name, scores in expected.items():
        assert found[name] == pytest.approx(scores, abs=2e-4), name


def test_a_deviation_is_a_share_of_the_scale() -> None:
    expected = {"buzz": {"CE": 5.0, "PQ": 5.0}}
    found = {"buzz": {"CE": 5.0089, "PQ": 4.9909}}
    assert deviations(expected, found, span=9.0) == ["buzz PQ: 4.99090 here, 5.00000 when it was exported"]
    assert deviations(expected, found, span=10.0) == []
