"""Stage one on many machines: every block of missing crops is a task for whichever worker is free.

The blocks are the ones that a single machine would cut, and go through the same code, so the shards come out
the same.  A worker builds the encoders by itself from the request, once; where they are not the ones that the
run was started for, by their signature, it is refused before it encodes anything.
"""

from __future__ import annotations

import os
import threading
import time
from collections import Counter
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from pathlib import Path

import torch

from mmmos.extract.blocks import Block, blocks, plan
from mmmos.extract.commands import Request, load_encoders
from mmmos.extract.extraction import SHARD_CROPS, ExtractionSummary, encode_blocks, lane_of
from mmmos.extract.lanes import Lane
from mmmos.extract.progress import Progress
from mmmos.extract.survey import Reject
from mmmos.store.clips import ClipTable
from mmmos.store.cluster import ClusterError, this_worker, workers_of
from mmmos.store.features import FeatureStore
from mmmos.store.names import differences
from mmmos.store.schema import EncoderSpec


@dataclass(frozen=True)
class Job:
    """What every task of a run has in common: how to build the encoders, and what they have to be.

    request: its paths are absolute; device, batch, workers, stock: as for a single machine, on each worker.
    """

    request: Request
    specs: tuple[EncoderSpec, ...]
    features: Path
    device: str = "auto"
    batch: int | None = None
    workers: int | None = None
    stock: bool = False


@dataclass(frozen=True)
class Done:
    """A finished task: the number of its block, crops encoded by encoder name, clips that were rejected."""

    block: int
    encoded: dict[str, int]
    audio_s: float
    rejects: tuple[Reject, ...]


def extract_on(
    cluster: str,
    table: ClipTable,
    request: Request,
    features_root: Path,
    specs: tuple[EncoderSpec, ...],
    *,
    device: str = "auto",
    batch: int | None = None,
    workers: int | None = None,
    stock: bool = False,
    shard_crops: int = SHARD_CROPS,
    quiet: bool = False,
) -> ExtractionSummary:
    """`extraction.extract` by the workers of a cluster, see `store.cluster`; `specs` are the request's.

    ClusterError where there is no cluster, or a worker's encoders are others than `specs`.
    """
    started_s = time.monotonic()
    job = Job(_absolute(request), specs, features_root.resolve(), device, batch, workers, stock)
    crops, tasks = plan(table, [FeatureStore(job.features, spec) for spec in specs])
    todo = list(blocks(tasks, shard_crops))
    encoded = Counter({spec.name: 0 for spec in specs})
    rejects: dict[str, Reject] = {}
    audio_s = 0.0
    if todo:
        with (
            workers_of(cluster, _devices(device)) as there,
            Progress("encode", "crops", Counter(task.clip_id for task in tasks), quiet=quiet) as progress,
        ):
            for done in there.each(encode_block, ((job, n, tuple(block)) for n, block in enumerate(todo))):
                encoded.update(done.encoded)
                rejects.update((reject.id, reject) for reject in done.rejects)
                audio_s += done.audio_s
                for task in todo[done.block]:
                    progress.advance(task.clip_id, task.crop.valid_s)
    return ExtractionSummary(
        len(table.clips), crops, dict(encoded), audio_s, time.monotonic() - started_s, tuple(rejects.values())
    )


def encode_block(job: Job, number: int, block: Block) -> Done:
    """A worker's task: encode a block and return when it is written; nothing where it is stored already."""
    kept = _lanes(job)
    # Lanes of this task alone count what it encodes; the encoders, stores and batches stay.
    lanes = [replace(lane, encoded=0) for lane in kept]
    crops = [task.crop for task in block]
    left = tuple(i for i in block[0].stores if lanes[i].store.missing(crops))
    rejects: list[Reject] = []
    audio_s = 0.0
    if left:
        todo = [replace(task, stores=left) for task in block]
        rejects, audio_s = encode_blocks([todo], lanes, job.request.audio_root, workers=job.workers)
    for lane, one in zip(kept, lanes, strict=True):
        lane.batch = min(lane.batch, one.batch)
    encoded = {lane.encoder.spec.name: lane.encoded for lane in lanes}
    return Done(number, encoded, audio_s, tuple(rejects))


_LOADING = threading.Lock()


def _lanes(job: Job) -> list[Lane]:
    with _LOADING:  # a worker with several threads loads its encoders once all the same
        return _load(job)


@lru_cache(maxsize=1)
def _load(job: Job) -> list[Lane]:
    """The encoders of a job on this worker's device; ClusterError where they are not what it asks for."""
    encoders = load_encoders(job.request, device=job.device, stock=job.stock)
    lines = [
        f"{wanted.name}: {line}"
        for wanted, encoder in zip(job.specs, encoders, strict=True)
        for line in differences(asdict(wanted), asdict(encoder.spec))
    ]
    if lines:
        raise ClusterError(
            f"the worker on {this_worker()} has other encoders than this run asks for: {'; '.join(lines)}. "
            "Give it the same weights and version, or stop it, and run again; what was finished is kept"
        )
    return [lane_of(encoder, job.features, job.batch) for encoder in encoders]


def _absolute(request: Request) -> Request:
    paths = {name: value.resolve() for name, value in vars(request).items() if isinstance(value, Path)}
    return replace(request, **paths)  # type: ignore[arg-type]


def _devices(device: str) -> list[str]:
    """One CUDA device for each local worker in turn, where they are not told which one to take."""
    if device not in ("auto", "cuda") or not torch.cuda.device_count():
        return []
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    return visible.split(",") if visible else [str(n) for n in range(torch.cuda.device_count())]
