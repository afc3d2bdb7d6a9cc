"""Stage one on one machine: encode every crop that the encoders' stores are missing (paper III-A).

Crops are taken in the table's order, up to SHARD_CROPS for one shard of each encoder.  Threads decode ahead,
one for each store writes behind, the encoders run in between.  At most the results of two shards are held,
so memory does not grow with the number of crops.  Because shards are cut from what is missing in a fixed
order, a run that was killed goes on with the same shards that an unbroken one would have written.
"""

from __future__ import annotations

import itertools
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from mmmos.extract.audio_info import AudioError, Samples
from mmmos.extract.compute import AUTO, Compute
from mmmos.extract.decoding import read_crop
from mmmos.extract.encoders import Encoder
from mmmos.extract.encoders.encoder import staged
from mmmos.extract.encoding import BatchSize, EncoderState, ShardBuffer
from mmmos.extract.progress import ClipProgress
from mmmos.extract.survey import Reject
from mmmos.extract.tasks import ShardTasks, Task, by_shard, plan
from mmmos.store.clips import ClipTable
from mmmos.store.crops import resolve_audio
from mmmos.store.features import FeatureStore

SHARD_CROPS = 64
"""A killed run loses at most this much: some three minutes of the three full-size networks on two cores."""
DECODING_THREADS = 4
"""On a CPU, which the encoders need for themselves."""

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True)
class ExtractionSummary:
    """What one extraction did.

    Attributes
    ----------
    clips, crops : int
        Of the table; crops that several clips share count once.
    encoded : dict of str to int
        New crops by encoder name.
    audio_s : float
        Seconds of audio in the crops that were read.
    seconds : float
        Wall time.
    rejects : tuple of Reject
        Clips of which a crop could not be read any more; their other crops may be stored.
    """

    clips: int
    crops: int
    encoded: dict[str, int]
    audio_s: float
    seconds: float
    rejects: tuple[Reject, ...] = ()


def extract(
    table: ClipTable,
    audio_root: Path,
    encoders: Sequence[Encoder],
    features_root: Path,
    compute: Compute = AUTO,
    *,
    shard_crops: int = SHARD_CROPS,
    quiet: bool = False,
) -> ExtractionSummary:
    """Encode what the encoders' stores below `features_root` are missing of a surveyed table.

    A crop that can no longer be read rejects its clip; the others go on.

    Parameters
    ----------
    compute : Compute
        Its batch and its workers; the device is the encoders' own.
    shard_crops : int
        The most crops of one shard.
    """
    started_s = time.monotonic()
    states = [state_of(encoder, features_root, compute) for encoder in encoders]
    crops, tasks = plan(table, [state.store for state in states])
    with ClipProgress("encode", "crops", Counter(task.clip_id for task in tasks), quiet=quiet) as progress:
        rejects, audio_s = encode_shards(
            list(by_shard(tasks, shard_crops)),
            states,
            audio_root,
            threads=decoding_threads(states, compute),
            on_crop=lambda task: progress.advance(task.clip_id, task.crop.valid_s),
        )
    encoded = {state.encoder.spec.name: state.encoded for state in states}
    return ExtractionSummary(
        len(table.clips), crops, encoded, audio_s, time.monotonic() - started_s, tuple(rejects)
    )


def state_of(encoder: Encoder, features_root: Path, compute: Compute) -> EncoderState:
    """An encoder with its store, and the batch that it starts with."""
    store = FeatureStore(features_root, encoder.spec)
    return EncoderState(encoder, store, BatchSize(compute.batch_on(encoder.device)))


def decoding_threads(states: Sequence[EncoderState], compute: Compute) -> int:
    """How many crops are decoded at the same time."""
    return compute.threads(states[0].encoder.device, DECODING_THREADS) if states else 1


def encode_shards(
    shards: Sequence[ShardTasks],
    states: Sequence[EncoderState],
    audio_root: Path,
    *,
    threads: int,
    readers: ThreadPoolExecutor | None = None,
    on_crop: Callable[[Task], None] = lambda task: None,
) -> tuple[list[Reject], float]:
    """Encode and write shards, while crops are decoded ahead; all is written on return.

    Parameters
    ----------
    shards : sequence of ShardTasks
        Their `stores` are positions in `states`.
    threads : int
        That decode.
    readers : ThreadPoolExecutor, optional
        Such threads, shared with other calls; None starts them for this one.
    on_crop : callable
        Called with each task that is encoded or rejected.

    Returns
    -------
    (list of Reject, float)
        The rejected clips, and the seconds of audio that were read.
    """
    rejects: dict[str, Reject] = {}
    audio_s = 0.0
    step = max((state.batch.crops for state in states), default=1)
    own, writer = ThreadPoolExecutor(threads), ThreadPoolExecutor(max(1, len(states)))
    tasks = itertools.chain.from_iterable(shards)
    waves = _ahead(readers or own, lambda task: _read(task, audio_root, states), tasks, 2 * step + threads)
    writing: list[Future[None]] = []
    try:
        for shard in shards:
            buffers = [ShardBuffer(states[i], len(shard)) for i in shard[0].stores]
            for start in range(0, len(shard), step):
                some = shard[start : start + step]
                read = list(zip(some, itertools.islice(waves, len(some)), strict=True))
                good = [(task.crop, wave) for task, wave in read if not isinstance(wave, AudioError)]
                if good:
                    for buffer in buffers:
                        buffer.add([crop for crop, _ in good], [wave for _, wave in good])
                for task, wave in read:
                    if isinstance(wave, AudioError):
                        rejects[task.clip_id] = Reject(task.clip_id, task.path, str(wave))
                    on_crop(task)
                audio_s += sum(crop.valid_s for crop, _ in good)
            _finish(writing)
            for buffer in buffers:
                buffer.close()
                writing.append(writer.submit(buffer.write))
        _finish(writing)
    finally:
        own.shutdown(cancel_futures=True)
        writer.shutdown()
    return list(rejects.values()), audio_s


def _read(task: Task, audio_root: Path, states: Sequence[EncoderState]) -> dict[int, Samples] | AudioError:
    try:
        path = resolve_audio(audio_root, task.path)
        encoders = [states[i].encoder for i in task.stores]
        waves = read_crop(path, task.crop, {encoder.spec.sample_rate_hz for encoder in encoders})
        return {rate_hz: staged(wave, encoders[0].device) for rate_hz, wave in waves.items()}
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
