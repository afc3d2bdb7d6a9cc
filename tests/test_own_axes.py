"""Any listening test has its own axes: those of CONTRIBUTING.md go all the way, from the table to scores."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import ROOT, Outcome
from tests.corpus import small_corpus

PAGE = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
SIDECAR = re.search(r"`clips\.axes\.json`:\n\n```json\n(.*?)```", PAGE, flags=re.S)


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """The small corpus rated on the axes of the sidecar instead of the paper's."""
    path = small_corpus(tmp_path / "data")
    assert SIDECAR, "CONTRIBUTING.md shows no clips.axes.json"
    path.with_name("clips.axes.json").write_text(SIDECAR[1], encoding="utf-8")
    with path.open() as file:
        rows = list(csv.DictReader(file))
    about = ("id", "path", "domain", "system", "group", "split")
    axes = json.loads(SIDECAR[1])
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, [*about, *axes])
        writer.writeheader()
        for row in rows:
            scores = {axis: f"{float(row['PQ']) / (n + 1):.2f}" for n, axis in enumerate(axes)}
            writer.writerow({name: row[name] for name in about} | scores)
    return path


@pytest.mark.slow
def test_a_table_with_axes_of_its_own_goes_all_the_way(
    cli: Callable[..., Outcome], table: Path, tmp_path: Path
) -> None:
    axes = json.loads(table.with_name("clips.axes.json").read_text())
    work = ("--work", tmp_path / "work")
    for words in (
        ("extract", "--clips", table, "--encoders", "logmel"),
        ("heads", "--aggregator", "mlp", "--epochs", "3", "--lr", "0.003", "--jobs", "1"),
        ("ensemble", "--rule", "top:pam:2", "--export", tmp_path / "bundle"),
        ("evaluate",),
        ("ensemble", "--compare"),
        ("report",),
    ):
        done = cli(*words, *work)
        assert done.code == 0, f"{words}\n{done.err}"
    with (tmp_path / "work" / "evaluation.csv").open() as file:
        assert {row["axis"] for row in csv.DictReader(file)} == {*axes, "composite"}
    page = (tmp_path / "work" / "report.html").read_text()
    assert all(axis in page for axis in axes)
    scored = cli("predict", table.parent / "audio" / "c00.wav", "--bundle", tmp_path / "bundle")
    assert scored.code == 0, scored.err
    answer = json.loads(scored.out)
    assert [axis for axis in axes if f"{axis}_80_low" not in answer] == []
    assert all(0 <= answer[axis] <= 10 for axis in axes)
    assert "PQ" not in answer
