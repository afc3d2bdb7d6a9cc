"""Tuning heads with Optuna: every complete trial is a run, the first one has the paper's values.

A study is named after everything its result depends on, so going on means the same command again.
What a killed worker leaves behind is repaired: its torn line is cut (see `journal`), its trial is failed and
enqueued again under its own seed.  With one worker a resumed study equals an uninterrupted one.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import optuna
from optuna.samplers import BaseSampler, TPESampler
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, Trial, TrialState

from mmmos.heads.config import HeadConfig
from mmmos.heads.training.data import Features
from mmmos.heads.training.fit import DivergedError, rated
from mmmos.heads.training.parallel import Share, features_of, in_processes, watched
from mmmos.heads.tuning.journal import JournalLock, is_alive, worker_key
from mmmos.heads.tuning.objective import Objective
from mmmos.heads.tuning.space import paper_params, suggest_cell
from mmmos.heads.tuning.study import Plan, Result, TrialRow, plans, summarise
from mmmos.heads.tuning.trials import stored_predictions, train_trial
from mmmos.store import files
from mmmos.store.predictions import Predictions

JOURNAL = "sweep.journal"
LOCK = "sweep.flock"
RESULTS = "sweeps"
REASON, REPEATS, WORKER, RUN = "reason", "repeats", "worker", "run"
"""What trials remember: why one failed, which one it repeats, who works on it, what it trained."""

HEARTBEAT_S = 60
"""With a database a trial whose worker is silent for twice this is failed and enqueued again."""

WARM_TRIALS, WARM_EPOCHS = 5, 2
"""Nothing is pruned before so many trials are complete, nor in the first epochs (or folds) of one."""

SETTLED = (TrialState.COMPLETE, TrialState.PRUNED)


def sweep(
    bases: Sequence[HeadConfig],
    work: Path,
    *,
    trials: int,
    objective: str = "pam:srcc",
    study: str = "cell",
    seed: int = 0,
    jobs: int = 0,
    storage: str = "",
    folds: int = 5,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[Result, ...]:
    """Tune the configs `bases` (one per cell of a grid); each study's best against its first trial.

    trials:    complete, pruned and diverged trials of each study in the end; earlier ones count.
    objective: SPLIT:METRIC[:AXIS], see `objective`; never the test split.
    study:     "cell" tunes each config by itself, "grid" all of them in one study.
    jobs:      processes with one thread each (0: one per processor), shared out over the studies.
    storage:   a database URL; "" keeps the journal file `sweep.journal` in the work folder.
    folds:     of the out-of-fold predictions, for an objective "oof:...".
    progress:  called with (trials settled, trials in all) as they change.
    Results are also kept as `sweeps/<study>.json` in the work folder.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    work, jobs = Path(work).resolve(), jobs or os.cpu_count() or 1
    storage, features = storage or str(work / JOURNAL), Features.open(work)
    todo = plans(bases, Objective.parse(objective), study, seed, folds)
    todo[0].objective.require(features.clips)
    for plan in todo:
        _prepare(plan, storage, work)
    workers = max(1, jobs // len(todo))
    tasks = [(plan, storage, work, trials) for plan in todo for _ in range(workers)]
    count = partial(_settled, [_open(plan, storage) for plan in todo], trials)
    with watched(count, trials * len(todo), progress):
        for _ in in_processes(_work_on, tasks, jobs):
            pass
    results = tuple(_result(plan, _open(plan, storage), features, work) for plan in todo)
    for result in results:
        result.save(work / RESULTS)
    return results


class SeededTPE(BaseSampler):
    """TPE whose draws depend on the study's seed, the trial's number and the trials before, nothing else."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.inner = TPESampler(seed=plan.seed)

    def before_trial(self, study: optuna.Study, trial: FrozenTrial) -> None:
        self.inner = TPESampler(seed=self.plan.trial_seed(original_number(study, trial)))

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> Any:
        return self.inner.infer_relative_search_space(study, trial)

    def sample_relative(self, study: optuna.Study, trial: FrozenTrial, search_space: Any) -> dict[str, Any]:
        return self.inner.sample_relative(study, trial, search_space)

    def sample_independent(self, study: optuna.Study, trial: FrozenTrial, *parameter: Any) -> Any:
        return self.inner.sample_independent(study, trial, *parameter)


def _storage(storage: str) -> BaseStorage:
    if "://" in storage:
        with warnings.catch_warnings():
            # Heartbeats are marked experimental; what is used of them is held by tests.
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            try:
                return RDBStorage(
                    storage,
                    heartbeat_interval=HEARTBEAT_S,
                    grace_period=2 * HEARTBEAT_S,
                    heartbeat_stale_trial_callback=_enqueue_again,
                )
            except ImportError as error:
                raise RuntimeError(
                    f"{storage.partition('://')[0]} needs a driver ({error}); "
                    "for PostgreSQL: pip install '.[postgres]'"
                ) from None
    return JournalStorage(JournalFileBackend(storage, lock_obj=JournalLock(Path(storage))))  # type: ignore[arg-type]


def _open(plan: Plan, storage: str) -> optuna.Study:
    return optuna.create_study(
        study_name=plan.name,
        storage=_storage(storage),
        sampler=SeededTPE(plan),
        pruner=optuna.pruners.MedianPruner(WARM_TRIALS, WARM_EPOCHS),
        direction=plan.objective.direction,
        load_if_exists=True,
    )


def _prepare(plan: Plan, storage: str, work: Path) -> None:
    """Create the study with the paper's values waiting, or repair what a killed worker left of it."""
    with files.lock(work / LOCK):
        study = _open(plan, storage)
        if not study.get_trials(deepcopy=False):
            study.enqueue_trial(paper_params(plan.bases))
        for trial in study.get_trials():
            dead = trial.state == TrialState.RUNNING and _is_dead(trial, shared="://" in storage)
            if dead or (trial.state == TrialState.FAIL and REASON not in trial.user_attrs):
                _enqueue_again(study, trial)
            if dead:
                study.tell(trial.number, state=TrialState.FAIL)


def _is_dead(trial: FrozenTrial, shared: bool) -> bool:
    """Whether the worker of a running trial is gone.

    A running trial without a worker's name belongs to a worker that died before it wrote its name.  In a
    shared database it may also belong to another machine that is about to write it; there the heartbeat
    decides.
    """
    worker = trial.user_attrs.get(WORKER)
    return not shared if worker is None else is_alive(worker) is False


def _enqueue_again(study: optuna.Study, trial: FrozenTrial) -> None:
    """Enqueue a dead trial's values under its own number again, unless a repeat of it is there already."""
    number = original_number(study, trial)
    for other in study.get_trials(deepcopy=False):
        if other.number > trial.number and other.user_attrs.get(REPEATS) == number:
            return
    params = {**trial.system_attrs.get("fixed_params", {}), **trial.params}
    study.enqueue_trial(params, user_attrs={REPEATS: number})


def original_number(study: optuna.Study, trial: FrozenTrial | Trial) -> int:
    """The trial's number, not counting repeats of dead trials; it seeds the trial."""
    if REPEATS in trial.user_attrs:
        return int(trial.user_attrs[REPEATS])
    earlier = study.get_trials(deepcopy=False)
    return trial.number - sum(t.number < trial.number and REPEATS in t.user_attrs for t in earlier)


def _settled(studies: Sequence[optuna.Study], trials: int) -> int:
    """How many of the wanted trials are settled, over all studies."""
    return sum(min(trials, sum(map(_is_settled, study.get_trials(deepcopy=False)))) for study in studies)


def _is_settled(trial: FrozenTrial) -> bool:
    return trial.state in SETTLED or (trial.state == TrialState.FAIL and REASON in trial.user_attrs)


def _work_on(plan: Plan, storage: str, work: Path, trials: int, share: Share) -> None:
    """Run trials of a study, one after the other, until there are enough or others are at the last ones."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study, features = _open(plan, storage), features_of(work, share)
    while True:
        with ExitStack() as turn:
            turn.enter_context(files.lock(work / LOCK))
            found = study.get_trials(deepcopy=False)
            if sum(_is_settled(t) or t.state == TrialState.RUNNING for t in found) >= trials:
                return
            objective = partial(_run, plan=plan, features=features, work=work, started=turn.close)
            study.optimize(objective, n_trials=1, catch=(DivergedError,))


def _run(trial: Trial, plan: Plan, features: Features, work: Path, started: Callable[[], None]) -> float:
    """Train one trial and return its objective; DivergedError, kept as the reason, where it has none."""
    number = original_number(trial.study, trial)
    trial.set_user_attr(WORKER, worker_key())
    started()
    try:
        config = replace(suggest_cell(trial, plan.bases), seed=plan.trial_seed(number))
        trial.set_user_attr(RUN, config.id)
        predictions = train_trial(plan, config, features, work, partial(_report, trial, plan, features))
        value = plan.objective.value(predictions, features.table.of(plan.objective.clip_split))
        if value is None:
            raise DivergedError(f"{plan.objective} is undefined: constant predictions, or too few clips")
    except DivergedError as error:
        trial.set_user_attr(REASON, str(error))
        raise
    return value


def _report(trial: Trial, plan: Plan, features: Features, predictions: Predictions, step: int) -> None:
    """Tell the study how the trial does after a step; TrialPruned where others did better by then."""
    value = plan.objective.value(predictions, features.table.of(plan.objective.clip_split))
    if value is not None:
        trial.report(value, step)
        if trial.should_prune():
            raise optuna.TrialPruned(f"{value:.4f} after step {step}")


def _result(plan: Plan, study: optuna.Study, features: Features, work: Path) -> Result:
    """The study's settled trials, and its best against its first on the objective's clips."""
    rows = [
        TrialRow(
            original_number(study, trial),
            trial.state.name.lower(),
            trial.value if trial.state == TrialState.COMPLETE else None,
            trial.params,
            trial.user_attrs.get(RUN, ""),
            trial.user_attrs.get(REASON, ""),
        )
        for trial in study.get_trials()
        if _is_settled(trial)
    ]
    rows.sort(key=lambda row: row.number)
    clips = [features.clips[n] for n in rated(features, features.of(plan.objective.clip_split))]
    return summarise(plan, rows, stored_predictions(plan, rows, work), clips)
