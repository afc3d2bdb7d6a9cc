"""Ensembles: made from predictions alone, kept as JSON, scored on test once."""

from __future__ import annotations

import json

import numpy as np
import pytest

from mmmos.heads.ensemble import (
    FURTHER,
    TABLE4,
    Ensemble,
    choose_ensemble,
    contenders,
    score,
    times_test_was_scored,
)
from mmmos.heads.results.evaluation import find
from mmmos.heads.results.experiment import open_experiment
from mmmos.heads.selectors import SELECTORS
from tests.heads.made_up import made_up_work


@pytest.fixture
def experiment(tmp_path):
    return open_experiment(made_up_work(tmp_path))


def test_an_ensemble_survives_its_file(experiment, tmp_path):
    chosen = choose_ensemble(experiment, "top:pam:4")
    chosen.save(tmp_path / "ensemble.json")
    assert Ensemble.load(tmp_path / "ensemble.json") == chosen
    assert len(chosen.members) == 4
    assert chosen.data == experiment.table.id


def test_its_id_follows_members_and_weights_not_the_rule(experiment):
    one, other = choose_ensemble(experiment, "best:pam"), choose_ensemble(experiment, "top:pam:1")
    assert one.id == other.id
    assert choose_ensemble(experiment, "top:pam:2").id != one.id


def test_a_changed_file_is_refused(experiment, tmp_path):
    path = tmp_path / "ensemble.json"
    choose_ensemble(experiment, "top:pam:4").save(path)
    content = json.loads(path.read_text())
    for change in ({"members": content["members"][::-1]}, {"weights": [0.25] * 3}, {"weights": [1, 0, 0, 0]}):
        path.write_text(json.dumps(content | change))
        with pytest.raises(ValueError, match="does not hold an ensemble"):
            Ensemble.load(path)


def test_its_prediction_is_the_weighted_mean(experiment):
    runs = [run.id for run in experiment.runs[:2]]
    values = [run.predictions("dev").values for run in experiment.runs[:2]]
    got = Ensemble("by hand", tuple(runs), (0.75, 0.25), experiment.table.id).predict(experiment, "dev")
    np.testing.assert_allclose(got.values, 0.75 * values[0] + 0.25 * values[1])
    assert got.caveats == experiment.caveats
    with pytest.raises(ValueError, match="needs run gone"):
        Ensemble("by hand", ("gone",), (1.0,), experiment.table.id).predict(experiment, "dev")


def test_an_ensemble_of_independent_errors_beats_its_members(experiment):
    scored = score(choose_ensemble(experiment, "all"), experiment, "test", resamples=0)
    single = score(choose_ensemble(experiment, "best:pam"), experiment, "test", resamples=0)
    where = {"level": "utterance", "domain": "all", "axis": "composite", "metric": "srcc"}
    assert find(scored.rows, **where).value > find(single.rows, **where).value


def test_the_test_split_is_scored_once_and_the_record_says_when(experiment):
    chosen = choose_ensemble(experiment, "top:pam:4")
    assert times_test_was_scored(experiment) == 0
    first = score(chosen, experiment, "test", resamples=20)
    assert first.scored_at.endswith("+00:00")
    # Even with the predictions gone the figures stand as they were made.
    for run in experiment.runs:
        (run.folder / "predictions-test.parquet").unlink()
    assert score(chosen, experiment, "test", resamples=500) == first
    assert times_test_was_scored(experiment) == 1
    score(chosen, experiment, "dev", resamples=0)
    assert times_test_was_scored(experiment) == 1


def test_every_rule_is_compared_or_says_why_not(experiment):
    got = contenders(experiment)
    assert set(got) == {*TABLE4, *FURTHER}
    assert {rule.split(":")[0] for rule in got} == set(SELECTORS)
    assert "--folds 5" in got["greedy:oof"]
    assert all(isinstance(got[rule], Ensemble) for rule in got if "oof" not in rule)
