"""Stage one: every crop of a clip table through every encoder that has not seen it yet (paper III-A).

Crops are taken in the table's order, in blocks of up to SHARD_CROPS that become one shard for each encoder.
A few threads decode ahead, one writes behind, the encoders run in between; two blocks of results are all
that is held, so memory does not grow with the number of crops.  Because blocks are cut from what is missing
in a fixed order, a run that was killed goes on with the very shards that an unbroken one would have written.
"""

from __future__ import annotations

import itertools
import os
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch

from mmmos.extract.audio import AudioError, Samples, read_crop
from mmmos.extract.blocks import Block, Task, blocks, plan
from mmmos.extract.encoders import Encoder
from mmmos.extract.lanes import Lane, Shard, encode
from mmmos.extract.progress import Progress
from mmmos.extract.survey import (
    MIN_COVERAGE,
    CoverageError,
    Reject,
    check_coverage,
    shared_audio,
    survey,
    write_rejects,
)
from mmmos.store.clips import ClipTable
from mmmos.store.crops import resolve_audio
from mmmos.store.features import FeatureStore

__all__ = [
    "MIN_COVERAGE",
    "CoverageError",
    "ExtractionSummary",
    "Reject",
    "check_coverage",
    "choose_device",
    "encode",
    "encode_blocks",
    "extract",
    "shared_audio",
    "survey",
    "write_rejects",
]

SHARD_CROPS = 64
"""A killed run loses at most this much: some three minutes of the three full-size networks on two cores."""
CUDA_BATCH = 32
"""Where a CUDA batch starts; it is halved whenever memory does not suffice.  Both numbers are powers of two,
so that batches never straddle two shards."""
CPU_BATCH = 1
"""Batches do not pay on a CPU: WavLM gets slower from 4."""

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True)
class ExtractionSummary:
    """What one call did.

    crops:   distinct crops of the table; `encoded` says how many were new, by encoder name.
    audio_s: seconds of audio in the crops that were read; seconds: wall time.
    rejects: clips of which a crop could not be read any more; their other crops may be stored.
    """

    clips: int
    crops: int
    encoded: dict[str, int]
    audio_s: float
    seconds: float
    rejects: tuple[Reject, ...] = ()


def choose_device(name: str = "auto") -> torch.device:
    """ "auto" is CUDA where there is one, else the CPU; "cpu", "cuda", "cuda:1" are taken at their word.

    ValueError where the name means nothing or the device does not exist.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    kind, _, index = name.partition(":")
    if kind not in ("cpu", "cuda") or (index and not index.isdecimal()):
        raise ValueError(f"unknown device {name!r}; known: auto, cpu, cuda, cuda:K")
    if kind == "cuda" and int(index or 0) >= torch.cuda.device_count():
        raise ValueError(f"device {name!r} is not here: {torch.cuda.device_count()} CUDA devices found")
    return torch.device(name)


def extract(
    table: ClipTable,
    audio_root: Path,
    encoders: Sequence[Encoder],
    features_root: Path,
    *,
    batch: int | None = None,
    workers: int | None = None,
    shard_crops: int = SHARD_CROPS,
    quiet: bool = False,
) -> ExtractionSummary:
    """Encode what the encoders' stores below `features_root` are missing of a surveyed table.

    batch:   crops per forward pass; None finds it: one on a CPU, as many as fit on CUDA.
    workers: decoding threads (default: one per CPU, at most four).
    A crop that can no longer be read rejects its clip; the others go on.
    """
    started_s = time.monotonic()
    lanes = [lane_of(encoder, features_root, batch) for encoder in encoders]
    crops, tasks = plan(table, [lane.store for lane in lanes])
    with Progress("encode", "crops", Counter(task.clip_id for task in tasks), quiet=quiet) as progress:
        rejects, audio_s = encode_blocks(
            list(blocks(tasks, shard_crops)),
            lanes,
            audio_root,
            workers=workers,
            on_crop=lambda task: progress.advance(task.clip_id, task.crop.valid_s),
        )
    encoded = {lane.encoder.spec.name: lane.encoded for lane in lanes}
    return ExtractionSummary(
        len(table.clips), crops, encoded, audio_s, time.monotonic() - started_s, tuple(rejects)
    )


def encode_blocks(
    todo: Sequence[Block],
    lanes: Sequence[Lane],
    audio_root: Path,
    *,
    workers: int | None = None,
    on_crop: Callable[[Task], None] = lambda task: None,
) -> tuple[list[Reject], float]:
    """Every block through its lanes, reading ahead and writing behind; all is written on return.

    on_crop: called with each task that is encoded or rejected.
    Returns the rejected clips, and the seconds of audio that were read.
    """
    rejects: dict[str, Reject] = {}
    audio_s = 0.0
    step = max((lane.batch for lane in lanes), default=1)
    threads = workers or min(4, os.cpu_count() or 1)
    readers, writer = ThreadPoolExecutor(threads), ThreadPoolExecutor(1)
    tasks = itertools.chain.from_iterable(todo)
    waves = _ahead(readers, lambda task: _read(task, audio_root, lanes), tasks, step + threads)
    writing: list[Future[None]] = []
    try:
        for block in todo:
            shards = [Shard(lanes[i], len(block)) for i in block[0].stores]
            for start in range(0, len(block), step):
                some = block[start : start + step]
                read = list(zip(some, itertools.islice(waves, len(some)), strict=True))
                good = [(task.crop, wave) for task, wave in read if not isinstance(wave, AudioError)]
                if good:
                    for shard in shards:
                        shard.add([crop for crop, _ in good], [wave for _, wave in good])
                for task, wave in read:
                    if isinstance(wave, AudioError):
                        rejects[task.clip_id] = Reject(task.clip_id, task.path, str(wave))
                    on_crop(task)
                audio_s += sum(crop.valid_s for crop, _ in good)
            _finish(writing)
            for shard in shards:
                shard.close()
                writing.append(writer.submit(shard.write))
        _finish(writing)
    finally:
        readers.shutdown(cancel_futures=True)
        writer.shutdown()
    return list(rejects.values()), audio_s


def lane_of(encoder: Encoder, features_root: Path, batch: int | None) -> Lane:
    """An encoder with its store, and the batch that it starts with."""
    start = CUDA_BATCH if encoder.device.type == "cuda" else CPU_BATCH
    return Lane(encoder, FeatureStore(features_root, encoder.spec), batch or start)


def _read(task: Task, audio_root: Path, lanes: Sequence[Lane]) -> dict[int, Samples] | AudioError:
    try:
        path = resolve_audio(audio_root, task.path)
        return read_crop(path, task.crop, {lanes[i].encoder.spec.sample_rate_hz for i in task.stores})
    except (AudioError, ValueError, OSError) as error:
        return AudioError(str(error))


def _ahead(
    pool: ThreadPoolExecutor, work: Callable[[Item], Result], items: Iterable[Item], depth: int
) -> Iterator[Result]:
    """work(item) in the items' order, while up to `depth` later ones are under way."""
    waiting: deque[Future[Result]] = deque()
    for item in items:
        waiting.append(pool.submit(work, item))
        if len(waiting) > depth:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def _finish(writing: list[Future[None]]) -> None:
    """Wait for the writes under way, raise what went wrong in them, forget them."""
    while writing:
        writing.pop(0).result()
