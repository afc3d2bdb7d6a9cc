"""Without a dev or test split the out-of-fold figures are the results, and everything says so."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mmmos.heads.config import HeadConfig
from mmmos.heads.results.assess import compare_ensembles, evaluate_runs, select_ensemble
from mmmos.heads.results.experiment import SAID_OF_AXES, SAID_OF_OOF, open_experiment
from mmmos.heads.results.nested import predict
from mmmos.heads.results.report import write_report
from mmmos.heads.runs import NotStoredError
from mmmos.store import sealed
from mmmos.store.clips import ClipTable
from mmmos.store.schema import Axes
from mmmos.store.work_check import DAMAGED, check_work
from tests.heads.made_up import made_up_table, made_up_work, write_run

AXES = Axes(("MOS", "noise"))


def all_train(table: ClipTable) -> ClipTable:
    """The rated clips all in train, and one that is not rated."""
    clips = [replace(clip, split="train") for clip in table if clip.split != "train"]
    blank = replace(clips[0], scores=(None,) * len(table.axes), ratings=((),) * len(table.axes))
    return replace(table, clips=(blank, *clips[1:]))


@pytest.fixture
def work(tmp_path: Path) -> Path:
    return made_up_work(tmp_path, all_train(made_up_table(of=AXES)), splits=("oof",))


def test_evaluate_shows_out_of_fold_figures_and_says_so(work: Path) -> None:
    found = evaluate_runs(open_experiment(work), intervals=False)
    assert {row.split for row in found.rows} == {"oof"}
    assert SAID_OF_OOF in found.notes
    assert {row.n for row in found.rows if row.level == "utterance" and row.domain == "all"} == {191}
    assert any(table.title.startswith("oof, utterance level, 191 clips") for table in found.tables)


def test_ensembles_are_compared_by_them(work: Path) -> None:
    found = compare_ensembles(open_experiment(work), intervals=False)
    assert SAID_OF_OOF in found.notes
    assert any("oof SRCC" in column for table in found.tables for column in table.columns)


def test_the_report_is_written_from_them(work: Path) -> None:
    assert "out-of-fold figures" in write_report(work).read_text(encoding="utf-8")


def test_without_any_the_way_to_make_them_is_named(tmp_path: Path) -> None:
    work = made_up_work(tmp_path, all_train(made_up_table(of=AXES)), splits=())
    for look in (evaluate_runs, compare_ensembles):
        with pytest.raises(NotStoredError, match=r"nothing to score.*--folds 5.*--split 0.8"):
            look(open_experiment(work))
    with pytest.raises(NotStoredError, match="nothing to score"):
        write_report(work)


def test_a_held_out_split_comes_before_them(tmp_path: Path) -> None:
    work = made_up_work(tmp_path, made_up_table(of=AXES), splits=("dev", "oof"))
    assert open_experiment(work).splits == ("dev",)


def test_the_ensemble_is_chosen_anew_without_the_fold_that_it_predicts(work: Path) -> None:
    experiment = open_experiment(work)
    ensemble = select_ensemble(experiment, "best:oof")
    best = experiment.run(ensemble.members[0])
    nested = predict(ensemble, experiment, "oof")
    assert nested.clip_ids == best.predictions("oof").clip_ids
    stored = np.stack([run.predictions("oof").values for run in experiment.runs])
    # Every value is that of a run, each fold's of one and the same.
    assert (stored == nested.values).any(axis=0).all()
    worst = experiment.pool.ranked("oof")[-1]
    assert not np.array_equal(nested.values, experiment.run(worst).predictions("oof").values)


@pytest.mark.parametrize("name", ["record-oof.json", "predictions-oof.parquet"])
def test_a_damaged_record_or_prediction_is_named_and_nothing_is_said_instead(work: Path, name: str) -> None:
    experiment = open_experiment(work)
    ensemble = select_ensemble(experiment, "best:oof")
    path = experiment.run(ensemble.members[0]).folder / name
    if path.suffix == ".json":
        sealed.write_json(path, sealed.read_json(path))
    whole = bytearray(path.read_bytes())
    whole[len(whole) // 2] ^= 4
    path.write_bytes(whole)
    assert [one.path for one in check_work(work) if one.outcome == DAMAGED] == [path]
    with pytest.raises(sealed.DamagedFileError, match=name):
        predict(ensemble, open_experiment(work), "oof")


@pytest.mark.parametrize("folds", [0, 1, 10**12, 2.5, "5", None])
def test_a_record_of_impossible_folds_is_refused(work: Path, folds: object) -> None:
    experiment = open_experiment(work)
    ensemble = select_ensemble(experiment, "best:oof")
    path = experiment.run(ensemble.members[0]).folder / "record-oof.json"
    path.write_text(json.dumps({"folds": folds}))
    with pytest.raises(ValueError, match=r"record-oof\.json: "):
        predict(ensemble, experiment, "oof")


def test_a_ridge_regression_stands_beside_every_figure(work: Path) -> None:
    experiment = open_experiment(work)
    config = HeadConfig(experiment.table.id, ("logmel-000000000000",), "ridge", "mse")
    write_run(work, experiment.table, config, ["oof"], noise=2.0)
    experiment = open_experiment(work)
    assert experiment.ridge is not None
    found = evaluate_runs(experiment, intervals=False)
    assert "ridge regression" in {row[1] for table in found.tables for row in table.rows if len(row) > 1}


def test_axes_that_oppose_each_other_have_no_composite_anywhere(tmp_path: Path) -> None:
    table = made_up_table(of=AXES)
    clips = [replace(c, scores=(c.scores[0], 10 - (c.scores[0] or 0)), ratings=((), ())) for c in table]
    work = made_up_work(tmp_path, all_train(replace(table, clips=tuple(clips))), splits=("oof",))
    experiment = open_experiment(work)
    found = evaluate_runs(experiment, intervals=False)
    assert {row.axis for row in found.rows} == set(AXES)
    assert SAID_OF_AXES in found.notes
    scores = [score for score in experiment.pool.scores["oof"].values() if score is not None]
    assert np.min(scores) > 0.3
    assert select_ensemble(experiment).members
    assert "composite" not in {row.axis for row in compare_ensembles(experiment, intervals=False).rows}
    assert "Composite" not in write_report(work).read_text(encoding="utf-8")
