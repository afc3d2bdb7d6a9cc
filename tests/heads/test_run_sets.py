"""Which runs count: the grid that was trained last, never the trials of sweeps."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from mmmos.heads.ensemble import Ensemble
from mmmos.heads.results.chosen import load_ensemble, select_ensemble
from mmmos.heads.results.experiment import open_experiment
from mmmos.heads.run_sets import note_grid, run_set
from tests.heads.made_up import made_up_run, made_up_work


@pytest.fixture
def work(tmp_path):
    return made_up_work(tmp_path)


def add_run(work, config, **record):
    """A further run beside the sixteen, stored as training would."""
    experiment = open_experiment(work, "all")
    one = replace(experiment.runs[0].config, **config)
    folder = work / "runs" / one.id
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(vars(one)))
    about = {"run": one.id, "curve": [], "best_epoch": 1, "seconds": 1.0, **record}
    (folder / "record.json").write_text(json.dumps(about))
    for split in ("dev", "pam", "test"):
        made_up_run(experiment.table, split, 0.01, one.id).save(folder / f"predictions-{split}.parquet")
    return one


def test_trials_of_a_sweep_never_change_an_ensemble(work):
    before = select_ensemble(open_experiment(work, "last"))
    add_run(work, {"learning_rate": 3e-4}, study="grid-16")
    assert select_ensemble(open_experiment(work, "last")).id == before.id
    assert len(open_experiment(work, "all").runs) == 17


def test_another_grid_counts_when_it_is_trained_last_and_paper_brings_the_sixteen_back(work):
    sixteen = [run.config for run in open_experiment(work).runs]
    note_grid(work, "paper", sixteen)
    other = add_run(work, {"aggregator": "statistics"})
    assert {run.id for run in open_experiment(work, "last").runs} == {config.id for config in sixteen}
    note_grid(work, "beyond", [other])
    assert [run.id for run in open_experiment(work, "last").runs] == [other.id]
    assert len(open_experiment(work, "paper").runs) == 16
    # A part of the sixteen trained again is still the sixteen.
    note_grid(work, "paper", sixteen[:3])
    assert len(open_experiment(work, "last").runs) == 16


def test_paper_is_known_by_its_cells_where_no_grid_was_noted(work):
    other = add_run(work, {"aggregator": "statistics"})
    found = run_set("paper", open_experiment(work, "all").runs, work)
    assert found.name == "paper"
    assert len(found.runs) == 16
    assert other.id not in found.runs


def test_a_filter_names_fields_and_values(work):
    add_run(work, {"learning_rate": 3e-4, "loss": "ut", "aggregator": "mlp"}, study="s")
    runs = open_experiment(work, "all").runs
    assert len(run_set("loss=ut|con,aggregator=mlp", runs, work).runs) == 4
    assert len(run_set("encoders=wavlm+m2d", runs, work).runs) == 4
    assert len(run_set("study=s", runs, work).runs) == 1
    wrongs = {"los=ut": "known", "loss=ut,con": "FIELD=VALUE", "papr": "paper", "loss=x": "none of"}
    for wrong, said in wrongs.items():
        with pytest.raises(ValueError, match=said):
            run_set(wrong, runs, work)


def test_the_set_is_written_into_the_ensemble_and_followed_later(work):
    chosen = select_ensemble(open_experiment(work, "loss=ut|con"))
    assert chosen.runs.name == "loss=ut|con"
    assert set(chosen.members) <= set(chosen.runs.runs)
    assert Ensemble.load(work / "ensemble.json") == chosen
    assert open_experiment(work).run_set == chosen.runs
    # Asking for another set follows the same rule there and keeps what is kept.
    other = load_ensemble(open_experiment(work, "paper"))
    assert other.runs.name == "paper"
    assert Ensemble.load(work / "ensemble.json") == chosen


def test_an_ensemble_without_a_set_is_read_as_before(work):
    chosen = select_ensemble(open_experiment(work))
    path = work / "ensemble.json"
    content = json.loads(path.read_text())
    del content["runs"], content["mmmos-seal"]
    path.write_text(json.dumps(content))
    assert Ensemble.load(path).runs is None
    assert load_ensemble(open_experiment(work)).id == chosen.id


def test_a_run_outside_the_set_can_still_be_named(work):
    trial = add_run(work, {"learning_rate": 3e-4}, study="s")
    experiment = open_experiment(work)
    assert trial.id not in {run.id for run in experiment.runs}
    assert experiment.run(trial.id).id == trial.id
