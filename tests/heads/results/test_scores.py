"""Ensembles scored: on test once, and every rule beside the others."""

from __future__ import annotations

import pytest

from mmmos.heads.ensemble import FURTHER, TABLE4, Ensemble, choose_ensemble
from mmmos.heads.results.experiment import open_experiment
from mmmos.heads.results.scores import contenders, score, times_test_was_scored
from mmmos.heads.selectors import SELECTORS
from tests.heads.made_up import find, made_up_work


def choose(experiment, rule):
    return choose_ensemble(experiment.pool, experiment.table.id, rule)


@pytest.fixture
def experiment(tmp_path):
    return open_experiment(made_up_work(tmp_path))


def test_an_ensemble_of_independent_errors_beats_its_members(experiment):
    scored = score(choose(experiment, "all"), experiment, "test", resamples=0)
    single = score(choose(experiment, "best:pam"), experiment, "test", resamples=0)
    where = {"level": "utterance", "domain": "all", "axis": "composite", "metric": "srcc"}
    assert find(scored.rows, **where).value > find(single.rows, **where).value


def test_the_test_split_is_scored_once_and_the_record_says_when(experiment):
    chosen = choose(experiment, "top:pam:4")
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
    assert {rule.split(":")[0] for rule in got} <= set(SELECTORS)
    assert "--folds 5" in got["greedy:oof"]
    assert all(isinstance(got[rule], Ensemble) for rule in got if "oof" not in rule)
