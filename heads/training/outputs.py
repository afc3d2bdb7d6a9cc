"""What heads say of clips: all crops of a clip, averaged by their seconds of audio."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mmmos.heads.config import CLOSED_FORM
from mmmos.heads.network.model import Head
from mmmos.heads.network.reading import weighted_mean
from mmmos.heads.training.data import Features, Indices, sent
from mmmos.heads.training.memory import keep_freed_memory
from mmmos.heads.training.waves import asked_by, read
from mmmos.store.device import BatchSize, float32_products, in_batches

EVALUATION_CROPS = {"means": 1024, "layers": 64, "statistics": 1024, "profile": 256, "frames": 32}
"""Crops per forward pass without gradients, so that memory stays flat."""


@dataclass(frozen=True)
class Seen:
    """What a head as it stands gives for some clips.

    Parameters
    ----------
    clips
        [N] their numbers.
    outputs
        What `clip_outputs` returned for them.
    """

    clips: Indices
    outputs: Tensor


@torch.no_grad()
def clip_outputs(heads: Sequence[Head], features: Features, clips: Indices) -> list[Tensor]:
    """What the loss of each head takes for each clip [N, A] (or [N, A, RATING_LEVELS]): the clip's crops
    averaged by `valid_s`, on the device, in double precision.

    Distributions are averaged as probabilities and returned as their logarithm.
    """
    rows, counts = features.rows(clips), features.counts[clips]
    owner, asked = np.repeat(np.arange(len(clips)), counts), asked_by(heads)
    for head in heads:
        head.eval()

    def outputs(part: slice) -> list[Tensor]:
        wave = read(features, asked, owner[part], rows[part])
        return [head.for_loss(wave.batch(head)) for head in heads]

    size = BatchSize(min(EVALUATION_CROPS[head.reading.kind] for head in heads))
    parts = list(in_batches(len(rows), size, outputs, f"{len(heads)} heads on {features.device}"))
    owners, seconds = (sent(torch.from_numpy(x), features.device) for x in (owner, features.valid_s[rows]))
    found = []
    for head, of_head in zip(heads, zip(*parts, strict=True), strict=True):
        crops = torch.cat(of_head).double()
        crops = crops.softmax(-1) if head.loss.distribution else crops
        mean = weighted_mean(crops, owners, seconds, len(clips))
        found.append(mean.clamp(min=1e-30).log() if head.loss.distribution else mean)
    return found


def predict(head: Head, features: Features, clips: Indices, seen: Seen | None = None) -> NDArray[np.float64]:
    """Scores [N, A] of clips on the labels' scale, one column per axis of the head.

    Where just these clips were `seen`, by this head as it stands, they are not looked at again.
    """
    if head.config.aggregator in CLOSED_FORM:
        features = features.on_host()
    with arithmetic(features.device):
        head.to(features.device)
        if seen is not None and np.array_equal(seen.clips, clips):
            outputs = seen.outputs
        else:
            (outputs,) = clip_outputs([head], features, clips)
        return head.to_scale(head.z_scores(outputs)).cpu().numpy()


@contextmanager
def arithmetic(device: torch.device) -> Iterator[None]:
    """One thread on the CPU, where sums (and so the bits of a head) must not depend on how many processors
    there are; IEEE single precision on a card."""
    keep_freed_memory()
    with one_thread(), float32_products(device):
        yield


@contextmanager
def one_thread() -> Iterator[None]:
    """torch works with one thread inside the block."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
