"""Studies where they are kept: opened, seeded, and repaired after a worker was killed."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import optuna
from optuna.samplers import TPESampler
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.trial import FrozenTrial, Trial, TrialState

from mmmos.heads.tuning.journal import SealedJournal, is_alive
from mmmos.heads.tuning.space import paper_params
from mmmos.heads.tuning.study import Plan
from mmmos.store import files

LOCK = "sweep.flock"
REASON, REPEATS, WORKER, RUN = "reason", "repeats", "worker", "run"
"""What trials remember: why one failed, which one it repeats, who works on it, what it trained."""

HEARTBEAT_S = 60
"""With a database a trial whose worker is silent for twice this is failed and enqueued again."""

WARM_TRIALS, WARM_EPOCHS = 5, 2
"""Nothing is pruned before so many trials are complete, nor in the first epochs (or folds) of one."""

SETTLED = (TrialState.COMPLETE, TrialState.PRUNED)


class SeededTPE(TPESampler):
    """TPE whose draws depend on the study's seed, the trial's number and the trials before, nothing else."""

    def __init__(self, plan: Plan) -> None:
        super().__init__(seed=plan.seed)
        self.plan = plan

    def before_trial(self, study: optuna.Study, trial: FrozenTrial) -> None:
        # Begun anew for every trial, so that it matters neither which process draws nor what it drew before.
        super().__init__(seed=self.plan.trial_seed(original_number(study, trial)))


def _backend(storage: str) -> BaseStorage:
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
    return JournalStorage(SealedJournal(Path(storage)))  # reads all that is there


def open_study(plan: Plan, storage: str) -> optuna.Study:
    """The study of a plan, created where there is none; `storage` is a database URL or a journal file.

    ValueError, naming the storage, where what lies there is no study.
    """
    with _told_of(storage):
        return optuna.create_study(
            study_name=plan.name,
            storage=_backend(storage),
            sampler=SeededTPE(plan),
            pruner=optuna.pruners.MedianPruner(WARM_TRIALS, WARM_EPOCHS),
            direction=plan.objective.direction,
            load_if_exists=True,
        )


def prepare(plan: Plan, storage: str, work: Path) -> None:
    """Create the study with the paper's values waiting, or repair what a killed worker left of it."""
    with files.lock(work / LOCK), _told_of(storage):
        study = open_study(plan, storage)
        if not study.get_trials(deepcopy=False):
            study.enqueue_trial(paper_params(plan.bases))
        for trial in study.get_trials():
            dead = trial.state == TrialState.RUNNING and _is_dead(trial, shared="://" in storage)
            if dead or (trial.state == TrialState.FAIL and REASON not in trial.user_attrs):
                _enqueue_again(study, trial)
            if dead:
                study.tell(trial.number, state=TrialState.FAIL)


@contextmanager
def _told_of(storage: str) -> Iterator[None]:
    """Whatever Optuna raises over a journal that somebody has written becomes a message that names it."""
    try:
        yield
    except (OSError, RuntimeError):
        raise
    except Exception as error:  # Optuna takes its journal for granted, and so may raise anything
        if storage in str(error):
            raise
        raise ValueError(
            f"{storage} holds what no study has ({type(error).__name__}: {error!s:.200}): move it away to "
            "begin anew"
        ) from error


def _is_dead(trial: FrozenTrial, shared: bool) -> bool:
    """Whether the worker of a running trial is gone.

    A running trial without a worker's name belongs to a worker that died before it wrote its name.  In a
    shared database it may also belong to another machine that is about to write it; there the heartbeat
    decides.
    """
    worker = trial.user_attrs.get(WORKER)
    return not shared if worker is None else is_alive(worker) is False


def _enqueue_again(study: optuna.Study, trial: FrozenTrial) -> None:
    """Enqueue a dead trial under its own number again, unless a repeat of it is there already.

    Its values are kept where it had drawn them all; else all are drawn again, with the same seed.  Keeping
    a part of them would shift the draws of the others.
    """
    number = original_number(study, trial)
    for other in study.get_trials(deepcopy=False):
        if other.number > trial.number and other.user_attrs.get(REPEATS) == number:
            return
    params = dict(trial.system_attrs.get("fixed_params", {}))
    if RUN in trial.user_attrs:  # written after the last draw
        params |= trial.params
    study.enqueue_trial(params, user_attrs={REPEATS: number})


def original_number(study: optuna.Study, trial: FrozenTrial | Trial) -> int:
    """The trial's number, not counting repeats of dead trials; it seeds the trial."""
    if REPEATS in trial.user_attrs:
        return int(trial.user_attrs[REPEATS])
    earlier = study.get_trials(deepcopy=False)
    return trial.number - sum(t.number < trial.number and REPEATS in t.user_attrs for t in earlier)


def reported(study: optuna.Study, trial: Trial) -> dict[int, float]:
    """What the dead trials that this one repeats had reported by step: where they had trained to the end and
    died before they said so, nothing is trained again, and later trials are pruned against these values."""
    found: dict[int, float] = {}
    number = trial.user_attrs.get(REPEATS)
    for other in study.get_trials(deepcopy=False) if number is not None else ():
        dead = other.state == TrialState.FAIL and other.number < trial.number
        if dead and original_number(study, other) == number:
            found |= other.intermediate_values
    return found


def settled(studies: Sequence[optuna.Study], trials: int) -> int:
    """How many of the wanted trials are settled, over all studies."""
    return sum(min(trials, sum(map(is_settled, study.get_trials(deepcopy=False)))) for study in studies)


def is_settled(trial: FrozenTrial) -> bool:
    return trial.state in SETTLED or (trial.state == TrialState.FAIL and REASON in trial.user_attrs)
