"""Many heads at once: over processes with one thread each, on one machine or many; on a card side by side."""

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

from mmmos.heads.config import CLOSED_FORM, HeadConfig
from mmmos.heads.runs import Run
from mmmos.heads.training.course import DivergedError
from mmmos.heads.training.data import Features
from mmmos.heads.training.fit import side_by_side
from mmmos.heads.training.memory import spare_memory_bytes
from mmmos.heads.training.out_of_fold import has_out_of_fold, keep_out_of_fold, out_of_fold_together
from mmmos.heads.training.train_run import train_runs
from mmmos.store.cluster import ClusterError, this_worker, workers_of
from mmmos.store.device import choose_device, device_type
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
    device: str = "auto",
    tensorboard: bool = False,
) -> GridResult:
    """Train those configs whose runs are missing in the work folder.

    A config that cannot be trained fails alone; everything else is kept.  On a CPU every head is a task of
    its own, which processes share better than groups.  On a card those that draw the same batches are one
    task, and heads in closed form are the CPU's nevertheless.

    Parameters
    ----------
    progress
        Called with (run id, runs done, runs in all) as each run ends.
    jobs
        Processes, each with one thread (0: one per processor, and one for a card); the heads do not depend on
        it.
    folds
        Also out-of-fold predictions of the train split by so many folds (0: none).
    cluster
        "local:N" or a Dask scheduler's address, whose workers then train instead of `jobs` processes.
    device
        See `store.device`; with a cluster, that of its workers.
    tensorboard
        Write events, see `tracking`.

    Raises
    ------
    ValueError
        For a device that is not here.
    ClusterError
        Where there is no cluster, or a worker's code gives configs another meaning.
    """
    if not cluster:
        choose_device(device)
    work = Path(work).resolve()  # other processes and machines have other current folders
    missing = [config for config in configs if not _is_done(config, work, folds)]
    kept = tuple(config.id for config in configs if config not in missing)
    trained, failed = [], {}
    # Slow ones first, so that no process is left alone with one at the end.
    ordered = sorted(missing, key=lambda config: -config.frame_rate_hz)
    for tasks, processes in _tasks(ordered, work, folds, device, jobs, tensorboard):
        for outcomes in in_processes(_train, tasks, processes, cluster):
            for run, reason in outcomes:
                if reason:
                    failed[run] = reason
                else:
                    trained.append(run)
                if progress is not None:
                    progress(run, len(trained) + len(failed), len(missing))
    return GridResult(tuple(trained), kept, failed)


Task = tuple[tuple[HeadConfig, ...], tuple[str, ...], Path, int, str, bool]
"""Arguments of `_train`."""


def _tasks(
    configs: Sequence[HeadConfig], work: Path, folds: int, device: str, jobs: int, tensorboard: bool
) -> Iterator[tuple[list[Task], int]]:
    """What is trained by how many processes (0: one per processor), first on the CPU, then on a card."""
    on_card = device_type(device) == "cuda"
    by_cpu = [config for config in configs if not on_card or config.aggregator in CLOSED_FORM]
    by_card = [config for config in configs if config not in by_cpu]
    for groups, place, processes in (
        ([[config] for config in by_cpu], "cpu", jobs),
        (side_by_side(by_card), device, jobs or 1),
    ):
        yield (
            [
                (tuple(group), tuple(config.id for config in group), work, folds, place, tensorboard)
                for group in groups
            ],
            processes,
        )


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
def features_of(work: Path, share: Share, device: str) -> Features:
    """The features of a work folder, opened once per process and pool: every run of a grid reads the same."""
    limit_bytes = share.limit_bytes
    if limit_bytes is None:
        limit_bytes = spare_memory_bytes() // (2 * share.processes)
    return Features.open(work, limit_bytes, choose_device(device))


def _is_done(config: HeadConfig, work: Path, folds: int) -> bool:
    return Run.of(work, config).is_whole and (not folds or has_out_of_fold(work, config, folds))


def _train(
    configs: Sequence[HeadConfig],
    runs: Sequence[str],
    work: Path,
    folds: int,
    device: str,
    tensorboard: bool,
    share: Share,
) -> list[tuple[str, str]]:
    """(run id, reason of failure or "") of each; ClusterError where this process has other code than they."""
    for config, run in zip(configs, runs, strict=True):
        _check_version(config, run)
    try:
        features = features_of(work, share, device)
        reasons = dict(train_runs(configs, features, work, tensorboard=tensorboard))
        if folds:
            whole = [config for config, reason in reasons.items() if not reason]
            reasons |= _fold(whole, features, work, folds)
        return [(config.id, reason) for config, reason in reasons.items()]
    except ValueError as error:
        return [(config.id, str(error)) for config in configs]


def _fold(
    configs: Sequence[HeadConfig], features: Features, work: Path, folds: int
) -> Iterator[tuple[HeadConfig, str]]:
    """Make the out-of-fold predictions that runs lack; each of these with the reason of failure or ""."""
    lacking = [config for config in configs if not has_out_of_fold(work, config, folds)]
    for config, found in out_of_fold_together(lacking, features, folds):
        try:
            if isinstance(found, Exception):
                raise found
            keep_out_of_fold(config, features, work, folds, found)
            yield config, ""
        except (DivergedError, ValueError) as error:
            yield config, str(error)


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
