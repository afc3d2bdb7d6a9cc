"""Run crops through an encoder in batches that fit into memory, and collect the results of one shard."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mmmos.extract.audio_info import Samples
from mmmos.extract.encoders import Encoder
from mmmos.extract.encoders.encoder import Fence
from mmmos.store.features import FeatureStore
from mmmos.store.schema import Crop


@dataclass
class BatchSize:
    """How many crops go through an encoder at a time; `encode_batches` lowers it for good."""

    crops: int


def encode_batches(
    encoder: Encoder, waves: Sequence[dict[int, Samples]], valid_s: Sequence[float], size: BatchSize
) -> Iterator[tuple[Tensor, Tensor]]:
    """`Encoder.encode` crops in batches of up to `size`, which is halved whenever memory does not suffice.

    Parameters
    ----------
    waves : sequence of dict
        {rate: float32 [10 * rate]} for each crop.

    Yields
    ------
    frames, means : Tensor
        Of one batch; on CUDA the work is queued, not awaited.

    Raises
    ------
    torch.OutOfMemoryError
        A single crop does not fit.
    """
    rows = [wave[encoder.spec.sample_rate_hz] for wave in waves]
    done = 0
    while done < len(rows):
        batch = slice(done, done + size.crops)
        count = len(rows[batch])
        encoded = None
        try:
            encoded = encoder.encode(rows[batch], valid_s[batch])
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            if count == 1:
                raise torch.OutOfMemoryError(
                    f"one crop of {encoder.spec.name} does not fit into the memory of {encoder.device}: "
                    f"{error}"
                ) from error
        if encoded is None:  # not in the except clause: its traceback would keep the memory in use
            size.crops = min(size.crops, count // 2)
            torch.cuda.empty_cache()
        else:
            yield encoded
            done += count


OUT_OF_MEMORY = re.compile(
    r"out of memory|_ALLOC_FAILED|(?:can't|cannot|failed to|unable to) allocate|not enough memory",
    re.IGNORECASE,
)
"""In messages of torch (CUDA, HIP, MPS, the CPU's allocator), of the driver, of cuBLAS, cuDNN and cuFFT."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether less at a time may help: most libraries say so only in the text of a RuntimeError."""
    known = isinstance(error, torch.OutOfMemoryError | MemoryError)
    return known or bool(OUT_OF_MEMORY.search(str(error)))


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
