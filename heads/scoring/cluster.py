"""Scoring on many machines: some files are a task for whichever worker is free, encoders and heads together.

A worker opens the bundle and its encoders itself, once.  Answers come in the order that was asked for, and
are those of one machine.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from mmmos.extract.front import Compute, Machines
from mmmos.heads.scoring.answers import Answer
from mmmos.heads.scoring.opening import load_scorer
from mmmos.heads.scoring.requests import AudioRequest
from mmmos.heads.scoring.scorer import Scorer
from mmmos.store.cluster import ClusterError, this_worker

TASK_FILES = 32
"""The most files of one task."""
TASKS_A_WORKER = 4
"""So many at least, where there are files enough: none waits for the last one for long."""


@dataclass(frozen=True)
class Meant:
    """The bundle of a run as `load_scorer` takes it, the weights of its encoders, and how they are run."""

    bundle: str
    weights: Path | None
    compute: Compute


class ClusterScorer:
    """What the command line needs of a `Scorer`, by the workers of a cluster.

    Raises
    ------
    ClusterError
        There is no cluster, or the first worker cannot open the bundle.
    """

    def __init__(self, there: Machines, bundle: str, weights: Path | None = None) -> None:
        name = str(Path(bundle).resolve()) if Path(bundle).exists() else bundle
        self.meant = Meant(name, weights and weights.resolve(), there.compute)
        self.there = there
        ((self.id, self.axes, self.caveats, self.with_intervals),) = self._each(describe, [()])

    def check(self) -> list[str]:
        """See `Scorer.check`."""
        (lines,) = self._each(check, [()])
        return list(lines)

    def stream(
        self,
        requests: Sequence[AudioRequest],
        *,
        hop_s: float | None = None,
        loudness_lufs: float | None = None,
    ) -> Iterator[Answer]:
        """See `Scorer.stream`; ClusterError where a worker has another bundle, or cannot open it."""
        here = [replace(request, file=request.file.absolute()) for request in requests]
        wanted = TASKS_A_WORKER * max(1, self.there.workers().count)
        size = max(1, min(TASK_FILES, len(here) // wanted))
        tasks = (
            (self.id, hop_s, loudness_lufs, at, here[at : at + size]) for at in range(0, len(here), size)
        )
        early: dict[int, list[Answer]] = {}
        due = 0
        for at, answers in self._each(score_files, tasks):
            early[at] = answers
            while due in early:
                yield from early.pop(due)
                due += size

    def _each(self, task: Callable[..., Any], arguments: Iterable[tuple[Any, ...]]) -> Iterator[Any]:
        return self.there.workers().each(task, ((self.meant, *one) for one in arguments))


def describe(meant: Meant) -> tuple[str, tuple[str, ...], tuple[str, ...], bool]:
    """A worker's task: the bundle's id, axes and caveats, and whether it has intervals."""
    scorer = _scorer(meant)
    intervals = any(scorer.bundle.intervals.clips.values())
    return scorer.id, tuple(scorer.axes), tuple(scorer.caveats), intervals


def check(meant: Meant) -> list[str]:
    """A worker's task: compare its golden scores."""
    return _scorer(meant).check()


def score_files(
    meant: Meant,
    bundle_id: str,
    hop_s: float | None,
    loudness_lufs: float | None,
    at: int,
    requests: Sequence[AudioRequest],
) -> tuple[int, list[Answer]]:
    """A worker's task: the answers for some files; `at` goes with them."""
    scorer = _scorer(meant)
    if scorer.id != bundle_id:
        raise ClusterError(
            f"the worker on {this_worker()} has bundle {scorer.id}, where this run has {bundle_id}: give it "
            "the same files, or stop it, and go on by --resume"
        )
    return at, list(scorer.stream(requests, hop_s=hop_s, loudness_lufs=loudness_lufs))


_LOADING = threading.Lock()


def _scorer(meant: Meant) -> Scorer:
    with _LOADING:  # a worker with several threads loads it once all the same
        return _load(meant)


@lru_cache(maxsize=1)
def _load(meant: Meant) -> Scorer:
    given = meant.compute
    return load_scorer(
        meant.bundle,
        device=given.device,
        weights=meant.weights,
        batch=given.batch,
        workers=given.workers,
    )
