"""The rate at which this machine encodes, measured before a long extraction is begun."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from mmmos.extract.audio_info import AudioError
from mmmos.extract.compute import Compute
from mmmos.extract.decoding import read_crop
from mmmos.extract.encoders import Encoder
from mmmos.extract.encoding import encode_batches
from mmmos.extract.tasks import Task
from mmmos.store.console import say
from mmmos.store.device import BatchSize

TIMED = 2
"""Batches that a rate is measured on, after one that does not count."""


def seconds_a_crop(
    encoder: Encoder, tasks: Sequence[Task], audio_root: Path, compute: Compute
) -> float | None:
    """How long an encoder takes for one crop here, measured on the first of these.

    Parameters
    ----------
    tasks
        What is to be encoded; TIMED batches of the size that an extraction starts with are read.

    Returns
    -------
    Seconds, without reading the file; None where there is nothing to encode, or nothing could be read.
    """
    size = BatchSize(compute.batch_on(encoder.device))
    waves, valid_s = [], []
    for task in tasks[: size.crops * TIMED]:
        try:
            waves.append(read_crop(audio_root / task.path, task.crop, {encoder.spec.sample_rate_hz}))
            valid_s.append(task.crop.valid_s)
        except (AudioError, OSError, ValueError):
            continue  # the extraction will say which clip it was and why
    if not waves:
        return None
    say(f"measuring {encoder.spec.name} on {len(waves)} crops")
    for _ in encode_batches(encoder, waves[: size.crops], valid_s[: size.crops], size):
        pass
    _await(encoder)
    started_s = time.perf_counter()
    for _ in encode_batches(encoder, waves, valid_s, size):
        pass
    _await(encoder)
    return (time.perf_counter() - started_s) / len(waves)


def _await(encoder: Encoder) -> None:
    fence = encoder.fence()
    if fence is not None:
        fence.synchronize()
