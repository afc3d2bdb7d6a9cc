"""A metric added as one entry of METRICS works in evaluation, comparison, tuning, plots and the report."""

from __future__ import annotations

import numpy as np
import pytest

from mmmos.heads.metrics import METRICS, Metric, validated
from mmmos.heads.results import plots, tables
from mmmos.heads.results.assess import compare_ensembles, evaluate_runs
from mmmos.heads.results.baselines import TRAIN_MEAN, baselines
from mmmos.heads.results.comparison import compare
from mmmos.heads.results.evaluation import evaluate
from mmmos.heads.results.experiment import open_experiment
from mmmos.heads.results.report import write_report
from mmmos.heads.tuning.objective import Objective
from tests.heads.made_up import find, made_up_run, made_up_table, made_up_work

HERE = {"split": "test", "level": "utterance", "domain": "all", "axis": "CE", "metric": "mae"}


def mae(pred, truth):
    p, t = validated(pred, truth)
    return float(np.mean(np.abs(p - t))) if len(p) else None


@pytest.fixture
def table(monkeypatch):
    monkeypatch.setitem(METRICS, "mae", Metric(mae, "low", unit="units of the scale"))
    return made_up_table()


def test_it_is_evaluated_with_an_interval_and_without_a_ceiling(table):
    clips, run = table.of("test"), made_up_run(table, "test", 0.5)
    row = find(evaluate([run], clips), **HERE)
    assert row.value == pytest.approx(np.abs(run.values[:, 0] - table.scores(clips)[:, 0]).mean())
    assert row.low < row.value < row.high
    assert (row.ceiling, row.reason) == (None, "")


def test_it_is_compared(table):
    runs = [made_up_run(table, "test", noise, f"run{noise}") for noise in (0.2, 2.0)]
    row = find(compare(*runs, table.of("test")), **HERE)
    assert row.low <= row.difference <= row.high < 0


def test_a_search_makes_it_small(table):
    objective = Objective.parse("dev:mae")
    assert objective.direction == "minimize"
    clips = table.of("dev")
    near, far = (objective.value(made_up_run(table, "dev", noise), clips) for noise in (0.2, 2.0))
    assert near < far


def test_tables_and_plots_name_its_unit_and_its_baseline(table):
    rows = evaluate([made_up_run(table, "test", 0.5), *baselines(table, "test")], table.of("test"))
    clips, systems = tables.figures(rows, "run", "test", "ours")
    assert clips.columns[-1] == "MAE [95 %]"
    base = find(rows, run=TRAIN_MEAN, **HERE).value
    assert [line[-1] for line in clips.rows[1:3]] == [None, f"{base:.3f}"]
    assert "MAE always answering the train mean" in systems.notes[-1]
    panel = plots.bars([r for r in rows if r.run == "run"], {("utterance", "CE", "mae"): base}, "mae").axes[0]
    assert panel.get_ylabel() == "MAE (units of the scale)"
    assert "train mean" in panel.get_legend_handles_labels()[1]


def test_it_is_in_the_report_and_a_test_split_scored_before_says_that_it_lacks_it(tmp_path, monkeypatch):
    experiment = open_experiment(made_up_work(tmp_path))
    evaluate_runs(experiment)
    monkeypatch.setitem(METRICS, "mae", Metric(mae, "low"))
    text = write_report(experiment.work).read_text()
    assert "MAE [95 %]" in text
    assert f"{tables.NOT_KEPT}: MAE of every axis." in text
    assert compare_ensembles(experiment).tables
