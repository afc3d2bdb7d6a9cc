"""A short seeded part of the fault injection; the whole is `python -m tests.faults`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.faults import __main__ as harness
from tests.faults.__main__ import KINDS
from tests.faults.kinds import Bench


@pytest.mark.parametrize("name", KINDS)
def test_faults_are_survived(name: str, tmp_path: Path) -> None:
    inject, _, quick = KINDS[name]
    bench = Bench(tmp_path, harness.CLIPS.get(name, harness.MANY_CLIPS), seed=2026)
    outcomes = list(inject(bench, quick))
    assert outcomes
    assert [one for one in outcomes if one.failure] == []


def test_the_command_counts_and_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert harness.main(["--seed", "7", "--quick", "--kind", "truncations", "--folder", str(tmp_path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    figures = json.loads(lines[-1])
    assert lines[-2] == f"{figures['injected']} injected, {figures['survived']} survived"
    assert figures["injected"] == KINDS["truncations"][2]
    assert list(tmp_path.iterdir()) == []


def test_what_is_lost_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mmmos.store.features.read_row", lambda *_: None)  # a store that checks nothing
    assert harness.main(["--quick", "--kind", "flips", "--folder", str(tmp_path)]) == 1
    out = capsys.readouterr().out
    assert "LOST  flip" in out
    assert "25 injected, 0 survived" in out
