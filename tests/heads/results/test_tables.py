"""Tables from rows: the right figure in the right cell, and nothing invented where it is undefined."""

from __future__ import annotations

import pytest

from mmmos.heads.metrics import METRICS
from mmmos.heads.results.baselines import baselines
from mmmos.heads.results.ceiling import ceiling
from mmmos.heads.results.comparison import compare
from mmmos.heads.results.evaluation import evaluate, main_axis, rows
from mmmos.heads.results.experiment import open_experiment
from mmmos.heads.results.tables import (
    configurations,
    differences,
    domains,
    encoders,
    figures,
    raters,
    with_interval,
)
from mmmos.store.clips import ClipTable
from mmmos.store.schema import Clip
from tests.heads.made_up import find, made_up_run, made_up_table, made_up_work


@pytest.fixture(scope="module")
def table():
    return made_up_table()


@pytest.fixture(scope="module")
def scored(table):
    return evaluate([made_up_run(table, "test", 0.5), *baselines(table, "test")], table.of("test"))


def test_the_paper_table_has_a_line_a_run_and_its_figures(tmp_path):
    experiment = open_experiment(made_up_work(tmp_path))
    found = []
    for split in experiment.splits:
        stored = [run.predictions(split) for run in experiment.runs]
        found += evaluate(stored, experiment.table.of(split), intervals=False)
    table = configurations(experiment, found)
    assert len(table.rows) == 16
    assert table.columns[3:7] == ("dev MSE", "dev LCC", "dev SRCC", "dev KTAU")
    run = experiment.runs[5]
    line = next(
        row
        for row in table.rows
        if row[:3] == ("+".join(run.encoders), run.config.aggregator, run.config.loss)
    )
    row = find(found, run=run.id, split="test", level="system", domain="all", axis="composite", metric="ktau")
    assert line[list(METRICS).index("ktau") - len(METRICS)] == row.value
    assert list(table.frame().columns) == list(table.columns)
    sets = encoders(experiment, found)
    assert [line[:2] for line in sets.rows] == [("wavlm+m2d", 205), ("wavlm+muq+m2d", 631)]
    assert sets.rows[0][-1] == find(
        found, run=experiment.run("wavlm+m2d mlp ut").id, split="test", level="system", domain="all",
        axis="composite", metric="srcc",
    ).value  # fmt: skip


def test_figures_show_value_ceiling_and_baseline(scored):
    clips, systems = figures(scored, "run", "test", "ours")
    assert clips.title == "test, utterance level, 96 clips"
    assert systems.title == "test, system level, 12 systems"
    assert len(clips.rows) == 5 * 3
    row = find(scored, run="run", level="utterance", domain="all", axis="CE", metric="lcc")
    assert clips.rows[0][3] == f"{row.value:.3f} [{row.low:.3f}, {row.high:.3f}]"
    assert clips.rows[1][3] == f"{row.ceiling:.3f}"
    base = find(
        scored, run="baseline: domain oracle", level="utterance", domain="all", axis="CE", metric="lcc"
    )
    assert clips.rows[2][3] == f"{base.value:.3f}"


def test_undefined_is_a_blank_with_its_reason_below(table):
    flat = made_up_run(table, "test", 0.5)
    flat.values[:] = 5.0
    clips, _ = figures(rows(flat, table.of("test"), 0), "run", "test", "flat")
    varied = [number for number, metric in enumerate(METRICS.values()) if metric.varied]
    assert [clips.rows[0][2 + number] for number in varied] == [None, None, None]
    assert clips.notes == ("all predictions are equal: LCC, SRCC, KTAU of every axis.",)
    flat.values[:, 0] = table.scores(table.of("test"))[:, 0]
    clips, _ = figures(rows(flat, table.of("test"), 0), "run", "test", "flat")
    assert clips.notes[0].startswith("all predictions are equal: CU LCC, CU SRCC, CU KTAU, PC LCC")
    assert with_interval(None) is None


def test_domains_need_more_than_one(table, scored):
    assert domains(scored, "run", "test").columns == ("axis", "all", "music", "sound", "speech")
    speech = [clip for clip in table.of("test") if clip.domain == "speech"]
    run = made_up_run(table, "test", 0.5)
    assert domains(rows(run, speech, 0), "run", "test") is None


def test_one_rated_axis_stands_for_the_composite(table):
    run = made_up_run(table, "test", 0.5, axes=("PQ",))
    assert main_axis(row.axis for row in rows(run, table.of("test"), 0)) == "PQ"


def test_differences_show_the_composite_and_say_what_has_no_interval(table):
    pair = [made_up_run(table, "test", noise, f"run{noise}") for noise in (0.3, 0.9)]
    found = compare(*pair, table.of("test"), 20)
    assert len(differences(found, "one against other").rows) == 2 * len(METRICS)
    few = [clip for clip in table.of("test") if clip.system in ("sys0", "sys1", "sys2")]
    got = differences(compare(*pair, few, 20), "few systems")
    assert {row[1] for row in got.rows} == {"utterance", "system"}
    assert "fewer than 10 systems" in " ".join(got.notes)


def test_raters_show_their_noise_and_their_agreement(table):
    clips = table.of("test")
    got = raters(table, "test")
    expected = ceiling([clip.ratings[0] for clip in clips])
    assert got.rows[0] == (
        "CE",
        96,
        *(expected.of(rule) for rule in ("noise", "lcc", "srcc")),
        expected.split_half,
    )
    assert [row[0] for row in got.rows] == ["CE", "CU", "PC", "PQ", "composite"]
    assert raters(ClipTable((Clip("a", "a", split="test", scores=(1.0,) * 4),)), "test").notes == (
        "No single ratings.",
    )
