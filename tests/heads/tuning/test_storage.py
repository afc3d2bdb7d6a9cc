"""Studies in their storage: the first trial has the given values, and what died is queued again, once."""

from __future__ import annotations

from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

from mmmos.heads.grids import configure
from mmmos.heads.tuning.journal import worker_key
from mmmos.heads.tuning.objective import Objective
from mmmos.heads.tuning.space import paper_params, suggest_cell
from mmmos.heads.tuning.storage import (
    REASON,
    WORKER,
    is_settled,
    open_study,
    original_number,
    prepare,
    settled,
)
from mmmos.heads.tuning.study import Plan, plans

(PLAN,) = plans([configure("d", ["wavlm-1"])], Objective.parse("pam:srcc"), "cell", 0, 5)


@pytest.fixture
def storage(tmp_path: Path) -> str:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return str(tmp_path / "sweep.journal")


def started(plan: Plan, storage: str, worker: str) -> optuna.Trial:
    trial = open_study(plan, storage).ask()
    trial.set_user_attr(WORKER, worker)
    suggest_cell(trial, plan.bases)
    return trial


def test_a_new_study_begins_with_the_given_values_and_is_prepared_once(storage: str, tmp_path: Path) -> None:
    prepare(PLAN, storage, tmp_path)
    prepare(PLAN, storage, tmp_path)
    study = open_study(PLAN, storage)
    assert [trial.state for trial in study.get_trials()] == [TrialState.WAITING]
    assert started(PLAN, storage, worker_key()).params == paper_params(PLAN.bases)


def test_a_trial_draws_alike_whatever_was_drawn_before_by_that_process(storage: str, tmp_path: Path) -> None:
    ours, others = (open_study(PLAN, f"{storage}{n}") for n in range(2))
    first = [suggest_cell(ours.ask(), PLAN.bases) for _ in range(3)]
    again = []
    for _ in range(3):
        other = open_study(PLAN, f"{storage}{1}")  # as another process would
        again.append(suggest_cell(other.ask(), PLAN.bases))
    assert first == again
    assert len(set(first)) == 3
    assert len(others.get_trials()) == 3


def test_a_dead_workers_trial_fails_and_is_queued_again_under_its_number(
    storage: str, tmp_path: Path
) -> None:
    host, pid, _ = worker_key().rsplit(" ", 2)
    died = started(PLAN, storage, f"{host} {pid} 1")
    alive = started(PLAN, storage, worker_key())
    elsewhere = started(PLAN, storage, f"elsewhere {pid} 1")
    for _ in range(2):
        prepare(PLAN, storage, tmp_path)
    study = open_study(PLAN, storage)
    states = [trial.state for trial in study.get_trials()]
    assert states == [TrialState.FAIL, TrialState.RUNNING, TrialState.RUNNING, TrialState.WAITING]
    repeat = started(PLAN, storage, worker_key())
    assert repeat.params == died.params
    assert [original_number(study, t) for t in (died, alive, elsewhere, repeat)] == [0, 1, 2, 0]
    after = study.ask()
    assert original_number(study, after) == 3


def test_a_failure_with_a_reason_is_settled_and_a_dead_worker_is_not(storage: str, tmp_path: Path) -> None:
    study = open_study(PLAN, storage)
    for reason in ("it exploded", ""):
        trial = study.ask()
        if reason:
            trial.set_user_attr(REASON, reason)
        study.tell(trial, state=TrialState.FAIL)
    study.tell(study.ask(), 0.5)
    assert [is_settled(trial) for trial in study.get_trials()] == [True, False, True]
    assert settled([study], 5) == 2
    assert settled([study], 1) == 1


@pytest.mark.parametrize(
    "line", ['{"op_code": 4}', '{"op_code": "x", "worker_id": "w"}', '{"op_code": 99}', "{}"]
)
def test_a_journal_with_lines_that_no_study_has_is_named(storage: str, line: str) -> None:
    Path(storage).write_text(f"{line}\n")
    with pytest.raises(ValueError, match=r"sweep\.journal"):
        open_study(PLAN, storage)
