"""Training one trial of a sweep: a run like any other, watched while it trains.  Knows no Optuna."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from mmmos.heads.config import HeadConfig
from mmmos.heads.network.model import Head
from mmmos.heads.runs import OOF, Run, runs_folder
from mmmos.heads.training.course import Epoch
from mmmos.heads.training.data import Features
from mmmos.heads.training.fit import OnEpoch, fit
from mmmos.heads.training.out_of_fold import keep_out_of_fold, out_of_fold
from mmmos.heads.training.outputs import Seen
from mmmos.heads.training.tracking import tracked
from mmmos.heads.training.train_run import keep, to_predictions
from mmmos.heads.tuning.study import Plan, TrialRow, best_of
from mmmos.store.predictions import Predictions

Report = Callable[[Predictions, int], None]
"""Called with the objective's predictions as they stand and the step (epoch or fold); may raise to stop."""


def train_trial(
    plan: Plan, config: HeadConfig, features: Features, work: Path, report: Report, tensorboard: bool = False
) -> Predictions:
    """The predictions that a trial's objective is about; its run is trained where it is not there yet."""
    if plan.objective.split == OOF:
        return _train_folds(plan, config, features, work, report, tensorboard)
    return _train_once(plan, config, features, work, report, tensorboard)


def stored_predictions(plan: Plan, rows: Sequence[TrialRow], work: Path) -> dict[str, Predictions]:
    """What the first and the best trial predict where the objective looks, by run id."""
    wanted = [
        row.run for row in (*rows[:1], best_of(rows, plan.objective)) if row and row.state == "complete"
    ]
    split = plan.objective.split
    return {run: Run.open(runs_folder(work) / run).predictions(split) for run in wanted}


def _train_once(
    plan: Plan, config: HeadConfig, features: Features, work: Path, report: Report, tensorboard: bool
) -> Predictions:
    run, split = Run.of(work, config), plan.objective.split
    clips = features.of(split)

    def on_epoch(watch: OnEpoch | None, epoch: Epoch, head: Head, seen: Seen | None) -> None:
        if watch is not None:
            watch(epoch, head, seen)
        report(to_predictions(head, features, clips, split, (), seen), epoch.number)

    if not run.is_whole:
        with tracked(features, work, tensorboard) as watch:
            fitted = fit(config, features, on_epoch=partial(on_epoch, watch))
        keep(fitted, features, run, study=plan.name)
    return run.predictions(split)


def _train_folds(
    plan: Plan, config: HeadConfig, features: Features, work: Path, report: Report, tensorboard: bool
) -> Predictions:
    """Out-of-fold first, so that a trial can be pruned before the head on all clips is trained."""
    run = Run.of(work, config)
    if run.is_whole:
        return keep_out_of_fold(config, features, work, plan.folds)
    found = out_of_fold(config, features, plan.folds, on_fold=lambda fold, so_far: report(so_far, fold))
    with tracked(features, work, tensorboard) as watch:
        fitted = fit(config, features, on_epoch=watch)
    keep(fitted, features, run, study=plan.name)
    return keep_out_of_fold(config, features, work, plan.folds, found)
