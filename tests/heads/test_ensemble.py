"""Ensembles: chosen by a rule, made from predictions alone, kept as JSON."""

from __future__ import annotations

import json

import numpy as np
import pytest

from mmmos.heads.ensemble import Ensemble, choose_ensemble
from mmmos.heads.results.experiment import open_experiment
from tests.heads.made_up import made_up_work


def choose(experiment, rule):
    return choose_ensemble(experiment.pool, experiment.table.id, rule)


@pytest.fixture
def experiment(tmp_path):
    return open_experiment(made_up_work(tmp_path))


def test_an_ensemble_survives_its_file(experiment, tmp_path):
    chosen = choose(experiment, "top:pam:4")
    chosen.save(tmp_path / "ensemble.json")
    assert Ensemble.load(tmp_path / "ensemble.json") == chosen
    assert len(chosen.members) == 4
    assert chosen.data == experiment.table.id


def test_its_id_follows_members_and_weights_not_the_rule(experiment):
    one, other = (
        choose(experiment, "best:pam"),
        choose(experiment, "top:pam:1"),
    )
    assert one.id == other.id
    assert choose(experiment, "top:pam:2").id != one.id


def test_a_changed_file_is_refused(experiment, tmp_path):
    path = tmp_path / "ensemble.json"
    choose(experiment, "top:pam:4").save(path)
    content = json.loads(path.read_text())
    for change in ({"members": content["members"][::-1]}, {"weights": [0.25] * 3}, {"weights": [1, 0, 0, 0]}):
        path.write_text(json.dumps(content | change))
        with pytest.raises(ValueError, match="does not hold an ensemble"):
            Ensemble.load(path)


def test_its_prediction_is_the_weighted_mean(experiment):
    runs = [run.id for run in experiment.runs[:2]]
    values = [run.predictions("dev").values for run in experiment.runs[:2]]
    got = Ensemble("by hand", tuple(runs), (0.75, 0.25), experiment.table.id).predict(experiment.runs, "dev")
    np.testing.assert_allclose(got.values, 0.75 * values[0] + 0.25 * values[1])
    assert got.caveats == experiment.caveats
    with pytest.raises(ValueError, match="needs run gone"):
        Ensemble("by hand", ("gone",), (1.0,), experiment.table.id).predict(experiment.runs, "dev")
