"""Ensembles scored: on test once, and every rule beside the others."""

from __future__ import annotations

import json

import pytest

from mmmos.heads.ensemble import FURTHER, TABLE4, Ensemble, choose_ensemble
from mmmos.heads.results.experiment import open_experiment
from mmmos.heads.results.scores import contenders, note_seen, score, times_test_was_scored
from mmmos.heads.selectors import SELECTORS
from tests.heads.made_up import find, made_up_work


def choose(experiment, rule):
    return choose_ensemble(experiment.pool, experiment.table.id, rule)


@pytest.fixture
def experiment(tmp_path):
    return open_experiment(made_up_work(tmp_path))


def test_an_ensemble_of_independent_errors_beats_its_members(experiment):
    scored = score(choose(experiment, "all"), experiment, "test", intervals=False)
    single = score(choose(experiment, "best:pam"), experiment, "test", intervals=False)
    where = {"level": "utterance", "domain": "all", "axis": "composite", "metric": "srcc"}
    assert find(scored.rows, **where).value > find(single.rows, **where).value


def test_the_test_split_is_scored_once_and_the_record_says_when(experiment):
    chosen = choose(experiment, "top:pam:4")
    assert times_test_was_scored(experiment) == (0, 0)
    first = score(chosen, experiment, "test")
    assert first.scored_at.endswith("+00:00")
    # Even with the predictions gone the figures stand as they were made.
    for run in experiment.runs:
        (run.folder / "predictions-test.parquet").unlink()
    assert score(chosen, experiment, "test") == first
    assert times_test_was_scored(experiment) == (1, 0)
    score(chosen, experiment, "dev", intervals=False)
    assert times_test_was_scored(experiment) == (1, 0)


def test_single_runs_are_counted_like_ensembles(experiment):
    one, other = experiment.runs[:2]
    score(one, experiment, "test")
    score(one, experiment, "test")
    score(choose(experiment, "top:pam:4"), experiment, "test", intervals=False)
    note_seen(experiment, [one, other])
    assert times_test_was_scored(experiment) == (1, 2)


def test_rows_kept_by_older_statistics_are_computed_anew_and_keep_their_date(experiment):
    chosen = choose(experiment, "top:pam:4")
    first = score(chosen, experiment, "test")
    path = experiment.work / "test-scores" / f"{chosen.id}.json"
    content = json.loads(path.read_text())
    # As the first release wrote it.
    old = {"ensemble": content["ensemble"], "scored_at": "2026-01-02T03:04:05+00:00", "resamples": 1000}
    path.write_text(json.dumps({**old, "rows": [{**row, "low": -9.0} for row in content["rows"]]}))
    again = score(chosen, experiment, "test")
    assert again.rows == first.rows
    assert again.scored_at == old["scored_at"]
    assert times_test_was_scored(experiment) == (1, 0)


def test_every_rule_is_compared_or_says_why_not(experiment):
    got = contenders(experiment)
    assert set(got) == {*TABLE4, *FURTHER}
    assert {rule.split(":")[0] for rule in got} <= set(SELECTORS)
    assert "--folds 5" in got["greedy:oof"]
    assert all(isinstance(got[rule], Ensemble) for rule in got if "oof" not in rule)
