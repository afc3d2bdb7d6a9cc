"""Many heads at once: a grid over processes, each with one thread, on this machine or on many."""

from __future__ import annotations

import os
import threading
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from joblib import Parallel, delayed

from mmmos.heads.config import HeadConfig
from mmmos.heads.runs import Run
from mmmos.heads.training.data import Features
from mmmos.heads.training.fit import DivergedError
from mmmos.heads.training.memory import spare_memory_bytes
from mmmos.heads.training.out_of_fold import has_out_of_fold, keep_out_of_fold
from mmmos.heads.training.train_run import train_run
from mmmos.store.cluster import ClusterError, this_worker, workers_of
from mmmos.store.names import differences
from mmmos.store.stopping import end_with_parent

Progress = Callable[[str, int, int], None]
"""Called with (run id, runs done, runs in all) as each run ends."""


@dataclass(frozen=True)
class GridResult:
    """Run ids of a grid: trained now, there before, and failed with the reason."""

    trained: tuple[str, ...]
    kept: tuple[str, ...]
    failed: dict[str, str]


def train_grid(
    configs: Sequence[HeadConfig],
    work: Path,
    *,
    jobs: int = 0,
    progress: Progress | None = None,
    folds: int = 0,
    cluster: str = "",
    tensorboard: bool = False,
) -> GridResult:
    """Train those configs whose runs are missing in the work folder.

    A config that cannot be trained fails alone; everything else is kept.

    Parameters
    ----------
    progress
        Called with (run id, runs done, runs in all) as each run ends.
    jobs
        Processes, each with one thread (0: one per processor); the heads do not depend on it.
    folds
        Also out-of-fold predictions of the train split by so many folds (0: none).
    cluster
        "local:N" or a Dask scheduler's address, whose workers then train instead of `jobs` processes.
    tensorboard
        Write events, see `tracking`.

    Raises
    ------
    ClusterError
        Where there is no cluster, or a worker's code gives configs another meaning.
    """
    work = Path(work).resolve()  # other processes and machines have other current folders
    missing = [config for config in configs if not _is_done(config, work, folds)]
    kept = tuple(config.id for config in configs if config not in missing)
    trained, failed = [], {}
    # Slow ones first, so that no process is left alone with one at the end.
    ordered = sorted(missing, key=lambda config: -config.frame_rate_hz)
    tasks = [(config, config.id, work, folds, tensorboard) for config in ordered]
    for done, (run, reason) in enumerate(in_processes(_train, tasks, jobs, cluster), 1):
        if reason:
            failed[run] = reason
        else:
            trained.append(run)
        if progress is not None:
            progress(run, done, len(missing))
    return GridResult(tuple(trained), kept, failed)


@dataclass(frozen=True)
class Share:
    """One process' part of the memory, and the call that it belongs to.

    Parameters
    ----------
    pool
        New for every call: joblib reuses its processes, and what one of them keeps of an earlier call
        (see `features_of`) must not be used.
    limit_bytes
        None leaves it to the process: its part of what its own machine can spare, where `processes` of
        them are.
    """

    pool: str
    limit_bytes: int | None
    processes: int = 1


def in_processes(
    task: Callable[..., Any], arguments: Sequence[tuple[Any, ...]], jobs: int, cluster: str = ""
) -> Iterator[Any]:
    """task(*arguments, share) for each, as they end; in this process where one job is left.

    Spare memory is shared out evenly, so that no number of jobs exhausts it.
    """
    if cluster and arguments:
        with workers_of(cluster) as workers:
            share = Share(uuid.uuid4().hex, None, workers.per_machine)
            yield from workers.each(_alone, [(task, *each, share) for each in arguments])
        return
    jobs = max(1, min(jobs or os.cpu_count() or 1, len(arguments)))
    share = Share(uuid.uuid4().hex, spare_memory_bytes() // (2 * jobs))
    if jobs == 1:
        yield from (task(*each, share) for each in arguments)
        features_of.cache_clear()
        return
    parallel = Parallel(n_jobs=jobs, return_as="generator_unordered")
    with closing(parallel(delayed(_in_process)(task, *each, share) for each in arguments)) as outcomes:
        yield from outcomes


def _in_process(task: Callable[..., Any], *arguments: Any) -> Any:
    """A process' task; the process ends with the command that started it."""
    end_with_parent()
    return task(*arguments)


_ALONE = threading.Lock()


def _alone(task: Callable[..., Any], *arguments: Any) -> Any:
    """A worker's task.  Training sets torch's thread count and random state for the whole process, so the
    threads of one worker train one at a time."""
    with _ALONE:
        return task(*arguments)


@lru_cache(maxsize=1)
def features_of(work: Path, share: Share) -> Features:
    """The features of a work folder, opened once per process and pool: every run of a grid reads the same."""
    limit_bytes = share.limit_bytes
    if limit_bytes is None:
        limit_bytes = spare_memory_bytes() // (2 * share.processes)
    return Features.open(work, limit_bytes)


def _is_done(config: HeadConfig, work: Path, folds: int) -> bool:
    return Run.of(work, config).is_whole and (not folds or has_out_of_fold(work, config, folds))


def _train(
    config: HeadConfig, run: str, work: Path, folds: int, tensorboard: bool, share: Share
) -> tuple[str, str]:
    """(run id, reason of failure or ""); ClusterError where this process' code is another than the run's."""
    _check_version(config, run)
    try:
        features = features_of(work, share)
        train_run(config, features, work, tensorboard=tensorboard)
        if folds:
            keep_out_of_fold(config, features, work, folds)
    except (DivergedError, ValueError) as error:
        return config.id, str(error)
    return config.id, ""


def _check_version(config: HeadConfig, run: str) -> None:
    """Refuse to train by another recipe under a run's name: a worker may have another version installed."""
    ours = {**asdict(config), "recipe": HeadConfig.recipe}
    lines = differences(asdict(config), ours)
    if lines or config.id != run:
        raise ClusterError(
            f"the worker on {this_worker()} has another version than this run asks for: "
            f"{'; '.join(lines) or f'its configuration has other fields, so {run} is {config.id} there'}. "
            "Give it the same version, or stop it, and run again; what was finished is kept"
        )
