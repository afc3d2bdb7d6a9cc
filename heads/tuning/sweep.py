"""Tuning heads with Optuna: every complete trial is a run, the first one has the paper's values.

A study is named after everything its result depends on, so going on means the same command again.
What a killed worker leaves behind is repaired: its torn line is cut (see `journal`), its trial is failed and
enqueued again under its own seed.  With one worker a resumed study equals an uninterrupted one.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import optuna
from optuna.trial import Trial, TrialState

from mmmos.heads.config import HeadConfig
from mmmos.heads.runs import Run
from mmmos.heads.training.course import DivergedError
from mmmos.heads.training.data import Features
from mmmos.heads.training.parallel import Share, features_of, in_processes
from mmmos.heads.training.tracking import write_result
from mmmos.heads.tuning.journal import worker_key
from mmmos.heads.tuning.objective import Objective
from mmmos.heads.tuning.space import suggest_cell
from mmmos.heads.tuning.storage import (
    LOCK,
    REASON,
    RUN,
    WORKER,
    is_settled,
    open_study,
    original_number,
    prepare,
    reported,
    settled,
)
from mmmos.heads.tuning.study import Plan, Result, TrialRow, plans, summarise
from mmmos.heads.tuning.trials import stored_predictions, train_trial
from mmmos.store import files
from mmmos.store.device import choose_device
from mmmos.store.predictions import Predictions

JOURNAL = "sweep.journal"
RESULTS = "sweeps"


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
    tensorboard: bool = False,
    progress: Callable[[int, int], None] | None = None,
    device: str = "auto",
) -> tuple[Result, ...]:
    """Tune the configs `bases` (one per cell of a grid); each study's best against its first trial.

    Results are also kept as `sweeps/<study>.json` in the work folder.

    Parameters
    ----------
    trials
        Complete, pruned and diverged trials of each study in the end; earlier ones count.
    objective
        SPLIT:METRIC[:AXIS], see `objective`; never the test split.
    study
        "cell" tunes each config by itself, "grid" all of them in one study.
    jobs
        Processes with one thread each (0: one per processor, one for a card), shared out over the studies.
    storage
        A database URL; "" keeps the journal file `sweep.journal` in the work folder.
    folds
        Of the out-of-fold predictions, for an objective "oof:...".
    tensorboard
        Write events of every trial, and its values and objective at its end (see `training.tracking`).
    progress
        Called with (trials settled, trials in all) as they change.
    device
        See `store.device`.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    jobs = jobs or (1 if choose_device(device).type == "cuda" else os.cpu_count() or 1)
    work = Path(work).resolve()
    storage, features = storage or str(work / JOURNAL), Features.open(work)
    todo = plans(bases, Objective.parse(objective), study, seed, folds)
    todo[0].objective.require(features.clips)
    for plan in todo:
        prepare(plan, storage, work)
    workers = max(1, jobs // len(todo))
    tasks = [(plan, storage, work, trials, device, tensorboard) for plan in todo for _ in range(workers)]
    count = partial(settled, [open_study(plan, storage) for plan in todo], trials)
    with watched(count, trials * len(todo), progress):
        for _ in in_processes(_work_on, tasks, jobs):
            pass
    results = tuple(_result(plan, open_study(plan, storage), features, work) for plan in todo)
    for result in results:
        result.save(work / RESULTS)
    return results


@contextmanager
def watched(count: Callable[[], int], of: int, progress: Callable[[int, int], None] | None) -> Iterator[None]:
    """While the body runs, call progress(count(), of) when the count has changed, looking once a second."""
    ended, seen = threading.Event(), [-1]

    def look() -> None:
        while True:
            last = ended.wait(1.0)
            now = count()
            if progress is not None and now != seen[0]:
                seen[0] = now
                progress(now, of)
            if last:
                return

    thread = threading.Thread(target=look, daemon=True)
    if progress is not None:
        thread.start()
    try:
        yield
    finally:
        ended.set()
        if progress is not None:
            thread.join()


def _work_on(
    plan: Plan, storage: str, work: Path, trials: int, device: str, tensorboard: bool, share: Share
) -> None:
    """Run trials of a study, one after the other, until there are enough or others are at the last ones."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study, features = open_study(plan, storage), features_of(work, share, device)
    while True:
        with ExitStack() as turn:
            turn.enter_context(files.lock(work / LOCK))
            found = study.get_trials(deepcopy=False)
            if sum(is_settled(t) or t.state == TrialState.RUNNING for t in found) >= trials:
                return
            objective = partial(_run, plan, features, work, tensorboard, turn.close)
            study.optimize(objective, n_trials=1, catch=(DivergedError,))


def _run(
    plan: Plan,
    features: Features,
    work: Path,
    tensorboard: bool,
    started: Callable[[], None],
    trial: Trial,
) -> float:
    """Train one trial and return its objective; DivergedError, kept as the reason, where it has none."""
    trial.set_user_attr(WORKER, worker_key())
    started()
    try:
        config = replace(suggest_cell(trial, plan.bases), seed=plan.training_seed)
        trial.set_user_attr(RUN, config.id)
        if Run.of(work, config).is_whole:
            for step, known in sorted(reported(trial.study, trial).items()):
                trial.report(known, step)
        report = partial(_report, trial, plan, features)
        predictions = train_trial(plan, config, features, work, report, tensorboard)
        value = plan.objective.value(predictions, features.table.of(plan.objective.clip_split))
        if value is None:
            raise DivergedError(f"{plan.objective} is undefined: constant predictions, or too few clips")
    except DivergedError as error:
        trial.set_user_attr(REASON, str(error))
        raise
    if tensorboard:
        write_result(config, work, {str(plan.objective): value})
    return value


def _report(trial: Trial, plan: Plan, features: Features, predictions: Predictions, step: int) -> None:
    """Tell the study how the trial does after a step; TrialPruned where others did better by then."""
    value = plan.objective.value(predictions, features.table.of(plan.objective.clip_split))
    if value is not None:
        trial.report(value, step)
        # The first trial is what the best is compared with.
        if original_number(trial.study, trial) and trial.should_prune():
            raise optuna.TrialPruned(f"{value:.4f} after step {step}")


def _result(plan: Plan, study: optuna.Study, features: Features, work: Path) -> Result:
    """The study's settled trials, and its best against its first on the clips held back."""
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
        if is_settled(trial)
    ]
    rows.sort(key=lambda row: row.number)
    clips = features.table.of(plan.objective.clip_split)
    return summarise(plan, rows, stored_predictions(plan, rows, work), clips)
