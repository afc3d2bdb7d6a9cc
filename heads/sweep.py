"""Many heads: a grid in parallel."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from joblib import Parallel, delayed

from heads.config import HeadConfig
from heads.data import Features, spare_memory_bytes
from heads.runs import is_whole, run_folder, train_run
from heads.training import DivergedError

Progress = Callable[[str, int, int], None]
"""Called with (run id, runs done, runs in all) as each run ends."""


@dataclass(frozen=True)
class GridResult:
    """Run ids of a grid: trained now, there before, and failed with the reason."""

    trained: tuple[str, ...]
    kept: tuple[str, ...]
    failed: dict[str, str]


def train_grid(
    configs: Sequence[HeadConfig], work: Path, *, jobs: int = 0, progress: Progress | None = None
) -> GridResult:
    """Train those configs whose runs are missing in the work folder.

    jobs: processes, each with one thread (0: one per processor); the heads do not depend on it.
    A config that cannot be trained fails alone; everything else is kept.
    """
    missing = [config for config in configs if not is_whole(run_folder(work, config))]
    kept = tuple(config.id for config in configs if config not in missing)
    trained, failed = [], {}
    for done, (run, reason) in enumerate(_outcomes(missing, Path(work), jobs or os.cpu_count() or 1), 1):
        if reason:
            failed[run] = reason
        else:
            trained.append(run)
        if progress is not None:
            progress(run, done, len(missing))
    return GridResult(tuple(trained), kept, failed)


def _outcomes(configs: Sequence[HeadConfig], work: Path, jobs: int) -> Iterator[tuple[str, str]]:
    """(run id, reason of failure or "") as the runs end."""
    jobs = max(1, min(jobs, len(configs)))
    if jobs == 1:
        limit = spare_memory_bytes() // 2
        yield from (_train(config, work, limit) for config in configs)
        features_of.cache_clear()
        return
    limit = spare_memory_bytes() // (2 * jobs)
    # Long ones first, so that no process is left alone with one at the end.
    ordered = sorted(configs, key=lambda config: -config.frame_rate_hz)
    pool = Parallel(n_jobs=jobs, return_as="generator_unordered")
    yield from pool(delayed(_train)(config, work, limit) for config in ordered)


def _train(config: HeadConfig, work: Path, limit_bytes: int) -> tuple[str, str]:
    try:
        train_run(config, features_of(work, limit_bytes), work)
    except (DivergedError, ValueError) as error:
        return config.id, str(error)
    return config.id, ""


@lru_cache(maxsize=1)
def features_of(work: Path, limit_bytes: int) -> Features:
    """The features of a work folder, opened once per process: every run of a grid reads the same."""
    return Features.open(work, limit_bytes)
