"""Stage one on one machine: encode every crop that the encoders' stores are missing (paper III-A).

Crops are taken in the table's order, up to SHARD_CROPS for one shard of each encoder.  Threads decode ahead,
another writes behind (for a card one for each store), the encoders run in between.  At most the results of
two shards are held, of four for a card, so memory does not grow with the number of crops.  Because shards
are cut from what is missing in a fixed order, a run that was killed goes on with the same shards that an
unbroken one would have written.
"""

from __future__ import annotations

import itertools
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from mmmos.extract.audio_info import AudioError, Samples
from mmmos.extract.compute import AUTO, Compute, ahead
from mmmos.extract.decoding import read_crop
from mmmos.extract.encoders import Encoder
from mmmos.extract.encoders.encoder import staged
from mmmos.extract.encoding import EncoderState, ShardBuffer
from mmmos.extract.progress import ClipProgress
from mmmos.extract.survey import Reject
from mmmos.extract.tasks import ShardTasks, Task, by_shard, plan
from mmmos.store.clips import ClipTable
from mmmos.store.crops import resolve_audio
from mmmos.store.device import BatchSize
from mmmos.store.features import FeatureStore

SHARD_CROPS = 64
"""A killed run loses at most this much: some three minutes of the three full-size networks on two cores."""
WRITING_FOR_CARD = 3
"""Shards whose results may wait for the disk while a card goes on: a slow write is then no pause."""
DECODING_THREADS = 4
"""On a CPU, which the encoders need for themselves."""


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
    own, writing = ThreadPoolExecutor(threads), _Writing(states)
    tasks = itertools.chain.from_iterable(shards)
    waves = ahead(readers or own, lambda task: _read(task, audio_root, states), tasks, 2 * step + threads)
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
            writing.add(shard[0].stores, buffers)
        writing.finish()
    finally:
        own.shutdown(cancel_futures=True)
        writing.close()
    return list(rejects.values()), audio_s


def _read(task: Task, audio_root: Path, states: Sequence[EncoderState]) -> dict[int, Samples] | AudioError:
    try:
        path = resolve_audio(audio_root, task.path)
        encoders = [states[i].encoder for i in task.stores]
        waves = read_crop(path, task.crop, {encoder.spec.sample_rate_hz for encoder in encoders})
        return {rate_hz: staged(wave, encoders[0].device) for rate_hz, wave in waves.items()}
    except (AudioError, ValueError, OSError) as error:
        return AudioError(str(error))


class _Writing:
    """Writes shards behind the encoders, those of a store one after the other: a killed run leaves no gap."""

    def __init__(self, states: Sequence[EncoderState]) -> None:
        on_card = any(state.encoder.device.type != "cpu" for state in states)
        self.most = WRITING_FOR_CARD if on_card else 1
        self.writers = [ThreadPoolExecutor(1) for _ in (states if on_card else states[:1])]
        self.shards: deque[list[Future[None]]] = deque()

    def add(self, stores: Sequence[int], buffers: Sequence[ShardBuffer]) -> None:
        """Write the buffers of a shard, once no more than `most` shards are being written."""
        self.finish(left=self.most - 1)
        for buffer in buffers:
            buffer.close()
        writers = [self.writers[store % len(self.writers)] for store in stores]
        self.shards.append([w.submit(buffer.write) for w, buffer in zip(writers, buffers, strict=True)])

    def finish(self, left: int = 0) -> None:
        """Wait until only `left` shards are being written; raise what went wrong with the others."""
        while len(self.shards) > left:
            for future in self.shards.popleft():
                future.result()

    def close(self) -> None:
        for writer in self.writers:
            writer.shutdown()
