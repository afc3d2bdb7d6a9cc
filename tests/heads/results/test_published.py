"""A published predictor beside one's own runs, in the paper's way."""

from __future__ import annotations

import numpy as np
import pytest

from mmmos.heads.metrics import METRICS
from mmmos.heads.results.evaluation import rows
from mmmos.heads.results.experiment import open_experiment
from mmmos.heads.results.published import (
    baseline_rows,
    baseline_table,
    predictions_path,
    stored_baselines,
)
from mmmos.heads.runs import NotStoredError
from mmmos.store.schema import COMPOSITE
from tests.heads.made_up import made_up_run, made_up_table, made_up_work

TABLE = made_up_table()


def test_the_reduction_of_the_mse_and_the_difference_of_ktau():
    ours, theirs = made_up_run(TABLE, "test", 0.3, "ours"), made_up_run(TABLE, "test", 0.9, "audiobox")
    clips = TABLE.of("test")
    shown = baseline_table(rows(ours, clips, 0), rows(theirs, clips, 0), "audiobox", {"ours": "my run"})
    (line,) = (r for r in shown.rows if r[:4] == ("my run", "test", "utterance", "PQ"))
    truth, column = TABLE.scores(clips)[:, 3], 3
    mse = [METRICS["mse"](p.of([c.id for c in clips])[:, column], truth) for p in (ours, theirs)]
    ktau = [METRICS["ktau"](p.of([c.id for c in clips])[:, column], truth) for p in (ours, theirs)]
    assert line[6] == f"{100 * (mse[1] - mse[0]) / mse[1]:+.1f} %"
    assert line[9] == f"{ktau[0] - ktau[1]:+.3f}"
    assert float(line[6].split()[0]) > 0 < float(line[9])
    assert {r[2] for r in shown.rows} == {"utterance", "system"}


def test_the_composite_is_compared_only_over_the_same_axes():
    clips = TABLE.of("test")
    ours = made_up_run(TABLE, "test", 0.3, "ours", axes=("CE", "PQ"))
    theirs = made_up_run(TABLE, "test", 0.9, "audiobox")
    shown = baseline_table(rows(ours, clips, 0), rows(theirs, clips, 0), "audiobox", {"ours": "ours"})
    assert {r[3] for r in shown.rows} == {"CE", "PQ"}
    same = baseline_table(rows(theirs, clips, 0), rows(theirs, clips, 0), "audiobox", {"audiobox": "it"})
    assert COMPOSITE in {r[3] for r in same.rows}
    assert {(r[6], r[9]) for r in same.rows if r[2] == "utterance"} == {("+0.0 %", "+0.000")}


def test_predictions_belong_to_one_clip_table(tmp_path):
    experiment = open_experiment(made_up_work(tmp_path, TABLE))
    assert stored_baselines(experiment) == []
    with pytest.raises(NotStoredError, match="audiobox has no stored predictions on dev"):
        baseline_rows(experiment, "audiobox")
    for split in experiment.splits:
        made_up_run(TABLE, split, 0.9, "audiobox").save(predictions_path(experiment, "audiobox", split))
    assert stored_baselines(experiment) == ["audiobox"]
    found = baseline_rows(experiment, "audiobox")
    assert {row.split for row in found} == set(experiment.splits)
    assert np.isfinite([row.value for row in found if row.metric == "mse"]).all()
    assert TABLE.id in str(predictions_path(experiment, "audiobox", "dev"))


def test_a_predictor_of_fewer_axes_has_no_composite(tmp_path):
    experiment = open_experiment(made_up_work(tmp_path, TABLE))
    for split in experiment.splits:
        said = made_up_run(TABLE, split, 0.9, "other", axes=("CE", "PQ"))
        said.save(predictions_path(experiment, "other", split))
    assert {row.axis for row in baseline_rows(experiment, "other")} == {"CE", "PQ"}
