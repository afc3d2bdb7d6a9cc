"""Run crops through an encoder in batches that fit into memory, and collect the results of one shard."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mmmos.extract.audio_info import Samples
from mmmos.extract.encoders import Encoder
from mmmos.extract.encoders.encoder import Fence
from mmmos.store.device import BatchSize, in_batches
from mmmos.store.features import FeatureStore
from mmmos.store.schema import Crop


def encode_batches(
    encoder: Encoder,
    waves: Sequence[dict[int, Samples] | dict[int, Tensor]],
    valid_s: Sequence[float],
    size: BatchSize,
) -> Iterator[tuple[Tensor, Tensor]]:
    """`Encoder.encode` crops in batches of up to `size`, which is halved whenever memory does not suffice.

    Parameters
    ----------
    waves : sequence of dict
        {rate: float32 [10 * rate]} for each crop: arrays, or tensors on the encoder's device.

    Returns
    -------
    frames, means : iterator of tuple of Tensor
        Of one batch each; on CUDA the work is queued, not awaited.

    Raises
    ------
    torch.OutOfMemoryError
        A single crop does not fit.
    """
    rows = [wave[encoder.spec.sample_rate_hz] for wave in waves]

    def encode(batch: slice) -> tuple[Tensor, Tensor]:
        return encoder.encode(rows[batch], valid_s[batch])

    return in_batches(len(rows), size, encode, f"{encoder.spec.name} on {encoder.device}")


@dataclass
class EncoderState:
    """State of one encoder during an extraction: its store, its batch size, how many crops it has encoded."""

    encoder: Encoder
    store: FeatureStore
    batch: BatchSize
    encoded: int = 0


class ShardBuffer:
    """The results of one encoder for one shard: filled batch by batch, closed, and written whole."""

    def __init__(self, state: EncoderState, size: int) -> None:
        spec = state.encoder.spec
        self.state = state
        self.crops: list[Crop] = []
        pinned = state.encoder.device.type == "cuda" and torch.cuda.is_available()
        self.frames = torch.empty(size, spec.frames, spec.frame_dim, dtype=torch.float16, pin_memory=pinned)
        self.means = torch.empty(size, spec.layers, spec.dim, pin_memory=pinned)
        self.copied: Fence | None = None

    def add(self, crops: Sequence[Crop], waves: Sequence[dict[int, Samples]]) -> None:
        """Encode crops and copy the results here; on CUDA the copies are queued, not awaited."""
        done = len(self.crops)
        valid_s = [crop.valid_s for crop in crops]
        for frames, means in encode_batches(self.state.encoder, waves, valid_s, self.state.batch):
            place = slice(done, done + len(frames))
            self.frames[place].copy_(frames, non_blocking=True)
            self.means[place].copy_(means, non_blocking=True)
            done += len(frames)
        self.crops += crops

    def close(self) -> None:
        """Record the point in the device's work that `write` has to wait for."""
        self.copied = self.state.encoder.fence()

    def write(self) -> None:
        """Append the crops to the store; nothing where all of them were rejected."""
        if self.copied is not None:
            self.copied.synchronize()
        if count := len(self.crops):
            self.state.store.append(self.crops, self.frames[:count].numpy(), self.means[:count].numpy())
            self.state.encoded += count
