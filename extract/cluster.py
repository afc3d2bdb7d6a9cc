"""Stage one on many machines: some files to survey, or a shard, are a task for whichever worker is free.

The shards are cut and encoded by the same code as on a single machine, so they come out the same.  A worker
builds the encoders itself from the request, once; where their specs are not those that the run was started
for, it is refused before it encodes anything.
"""

from __future__ import annotations

import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from pathlib import Path

import torch

from mmmos.extract.audio import AUDIO_RECIPE
from mmmos.extract.compute import AUTO, Compute, processors
from mmmos.extract.encoding import EncoderState
from mmmos.extract.extraction import (
    SHARD_CROPS,
    ExtractionSummary,
    decoding_threads,
    encode_shards,
    state_of,
)
from mmmos.extract.progress import ClipProgress
from mmmos.extract.request import ExtractRequest, load_encoders
from mmmos.extract.survey import Reject, Seen, Surveyor, looking
from mmmos.extract.tasks import ShardTasks, by_shard, plan
from mmmos.store.clips import ClipTable
from mmmos.store.cluster import LOCAL, ClusterError, Workers, this_worker, workers_of
from mmmos.store.device import device_type
from mmmos.store.features import FeatureStore
from mmmos.store.names import differences
from mmmos.store.schema import Clip, EncoderSpec

SURVEYED_FILES = 64
"""Of one task."""
CARD_TASKS = 4
"""Tasks at once of a local worker with a card: one decoded, one encoded, one written, one in reserve."""


@dataclass(frozen=True)
class Machines:
    """The workers of a cluster, connected to when they are first asked for, and how each one computes."""

    workers: Callable[[], Workers]
    compute: Compute


@contextmanager
def machines(cluster: str, compute: Compute = AUTO) -> Iterator[Machines]:
    """A cluster (see `store.cluster`) to work on; ClusterError comes from its first use."""
    with ExitStack() as stack:

        @cache
        def workers() -> Workers:
            devices, at_once = _devices(compute.device), _tasks_at_once(compute.device)
            return stack.enter_context(workers_of(cluster, devices, at_once))

        yield Machines(workers, replace(compute, workers=_share(cluster, compute)))


def survey_on(there: Machines) -> Surveyor:
    """The audio of a survey looked at by the workers of a cluster."""

    def survey(clips: Sequence[Clip], audio_root: Path) -> Iterator[tuple[int, Seen]]:
        root, threads = audio_root.resolve(), there.compute.workers
        given = (
            (AUDIO_RECIPE, root, threads, at, tuple(clips[at : at + SURVEYED_FILES]))
            for at in range(0, len(clips), SURVEYED_FILES)
        )
        if clips:
            for at, seen in there.workers().each(survey_files, given):
                yield from enumerate(seen, at)

    return survey


def survey_files(
    recipe: str, audio_root: Path, threads: int | None, at: int, clips: Sequence[Clip]
) -> tuple[int, list[Seen]]:
    """A worker's task: look at some files; `at` goes with them."""
    if recipe != AUDIO_RECIPE:
        raise ClusterError(
            f"the worker on {this_worker()} decodes by other rules than this run: give it the same version"
        )
    own = int(os.environ.get("OMP_NUM_THREADS") or processors())
    return at, list(_readers(threads or own).map(looking(audio_root), clips))


@dataclass(frozen=True)
class Job:
    """What all tasks of a run have in common.

    Attributes
    ----------
    request : ExtractRequest
        How to build the encoders; its paths are absolute.
    specs : tuple of EncoderSpec
        What the encoders have to be.
    features : Path
        The folder of all stores.
    compute : Compute
        As for a single machine, on each worker.
    """

    request: ExtractRequest
    specs: tuple[EncoderSpec, ...]
    features: Path
    compute: Compute = AUTO


@dataclass(frozen=True)
class Done:
    """A finished task: its number, crops encoded by encoder name, clips that were rejected."""

    number: int
    encoded: dict[str, int]
    audio_s: float
    rejects: tuple[Reject, ...]


def extract_on(
    there: Machines,
    table: ClipTable,
    request: ExtractRequest,
    features_root: Path,
    specs: tuple[EncoderSpec, ...],
    *,
    shard_crops: int = SHARD_CROPS,
    quiet: bool = False,
) -> ExtractionSummary:
    """`extraction.extract` by the workers of a cluster.

    Parameters
    ----------
    there : Machines
        Asked for workers only where there is something to encode.
    specs : tuple of EncoderSpec
        Of the request's encoders.

    Raises
    ------
    ClusterError
        There is no cluster, or a worker's encoders are others than `specs`.
    """
    started_s = time.monotonic()
    job = Job(request.absolute(), specs, features_root.resolve(), there.compute)
    crops, tasks = plan(table, [FeatureStore(job.features, spec) for spec in specs])
    shards = [tuple(shard) for shard in by_shard(tasks, shard_crops)]
    encoded = Counter({spec.name: 0 for spec in specs})
    rejects: dict[str, Reject] = {}
    audio_s = 0.0
    if shards:
        steps = Counter(task.clip_id for task in tasks)
        with ClipProgress("encode", "crops", steps, quiet=quiet) as progress:
            given = ((job, n, shard) for n, shard in enumerate(shards))
            for done in there.workers().each(encode_shard, given):
                encoded.update(done.encoded)
                rejects.update((reject.id, reject) for reject in done.rejects)
                audio_s += done.audio_s
                for task in shards[done.number]:
                    progress.advance(task.clip_id, task.crop.valid_s)
    return ExtractionSummary(
        len(table.clips), crops, dict(encoded), audio_s, time.monotonic() - started_s, tuple(rejects.values())
    )


def encode_shard(job: Job, number: int, shard: ShardTasks) -> Done:
    """A worker's task: encode a shard and return when it is written; nothing where it is stored already."""
    # Each task counts what it encodes; the encoders, stores and batch sizes are the worker's.
    states = [replace(state, encoded=0) for state in _states(job)]
    crops = [task.crop for task in shard]
    left = tuple(i for i in shard[0].stores if states[i].store.missing(crops))
    todo = [[replace(task, stores=left) for task in shard]] if left else []
    threads = decoding_threads(states, job.compute)
    rejects, audio_s = encode_shards(
        todo, states, job.request.audio_root, threads=threads, readers=_readers(threads)
    )
    encoded = {state.encoder.spec.name: state.encoded for state in states}
    return Done(number, encoded, audio_s, tuple(rejects))


@lru_cache(maxsize=1)
def _readers(threads: int) -> ThreadPoolExecutor:
    """The decoding threads of this worker, for all of its tasks."""
    return ThreadPoolExecutor(threads)


_LOADING = threading.Lock()


def _states(job: Job) -> list[EncoderState]:
    with _LOADING:  # a worker with several threads loads its encoders once all the same
        return _load(job)


@lru_cache(maxsize=1)
def _load(job: Job) -> list[EncoderState]:
    """The encoders of a job on this worker's device; ClusterError where they are not what it asks for."""
    encoders = load_encoders(job.request, job.compute, stored=job.specs)
    lines = [
        f"{wanted.name}: {line}"
        for wanted, encoder in zip(job.specs, encoders, strict=True)
        for line in differences(wanted.settings, encoder.spec.settings)
    ]
    if lines:
        raise ClusterError(
            f"the worker on {this_worker()} has other encoders than this run asks for: {'; '.join(lines)}. "
            "Give it the same weights and version, or stop it, and run again; what was finished is kept"
        )
    return [state_of(encoder, job.features, job.compute) for encoder in encoders]


def _tasks_at_once(device: str) -> int:
    """While a card encodes one task, others are decoded and written."""
    return CARD_TASKS if device_type(device) == "cuda" else 1


def _share(cluster: str, compute: Compute) -> int | None:
    """Decoding threads of each worker: local workers with a card share the processors of this machine."""
    local = LOCAL.fullmatch(cluster)
    if compute.workers or local is None or device_type(compute.device) != "cuda":
        return compute.workers
    return max(2, processors() // int(local[1]))


def _devices(device: str) -> list[str]:
    """One CUDA device for each local worker in turn, where they are not told which one to take."""
    if device not in ("auto", "cuda") or not torch.cuda.device_count():
        return []
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    return visible.split(",") if visible else [str(n) for n in range(torch.cuda.device_count())]
