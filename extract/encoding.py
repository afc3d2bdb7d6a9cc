"""Run crops through an encoder in batches that fit into memory, and collect the results of one shard."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mmmos.extract.audio_info import Samples
from mmmos.extract.encoders import Encoder, summarise
from mmmos.store.features import FeatureStore
from mmmos.store.schema import Crop


@dataclass
class BatchSize:
    """How many crops go through an encoder at a time; `encode_batches` lowers it for good."""

    crops: int


def encode(encoder: Encoder, waves: Tensor, valid_s: Sequence[float]) -> tuple[Tensor, Tensor]:
    """One batch of crops through an encoder.

    Parameters
    ----------
    waves : Tensor
        [B, 10 s of samples] float32 at the encoder's rate.
    valid_s : sequence of float
        How much of each crop is audio.

    Returns
    -------
    frames, means : Tensor
        [B, T, frame_dim] by the spec's layer rule, and time means [B, L, D] over the valid frames; float32
        on the encoder's device.
    """
    valid = torch.tensor([encoder.spec.valid_frames(seconds) for seconds in valid_s])
    if encoder.device.type == "cuda":
        valid = valid.pin_memory()
    with torch.inference_mode():
        hidden = encoder.hidden_states(waves, valid)
        return summarise(hidden, encoder.spec.layer, valid.to(encoder.device, non_blocking=True))


def encode_batches(
    encoder: Encoder, waves: Sequence[dict[int, Samples]], valid_s: Sequence[float], size: BatchSize
) -> Iterator[tuple[Tensor, Tensor]]:
    """`encode` crops in batches of up to `size`, which is halved whenever memory does not suffice.

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
    rate_hz = encoder.spec.sample_rate_hz
    stacked = torch.stack([torch.from_numpy(wave[rate_hz]) for wave in waves])
    if encoder.device.type == "cuda":
        stacked = stacked.pin_memory()
    done = 0
    while done < len(waves):
        batch = slice(done, done + size.crops)
        count = len(stacked[batch])
        encoded = None
        try:
            encoded = encode(encoder, stacked[batch], valid_s[batch])
        except torch.OutOfMemoryError:
            if count == 1:
                raise
        if encoded is None:  # not in the except clause: its traceback would keep the memory in use
            size.crops = min(size.crops, count // 2)
            torch.cuda.empty_cache()
        else:
            yield encoded
            done += count


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
        self.cuda = state.encoder.device.type == "cuda"
        self.crops: list[Crop] = []
        self.frames = torch.empty(
            size, spec.frames, spec.frame_dim, dtype=torch.float16, pin_memory=self.cuda
        )
        self.means = torch.empty(size, spec.layers, spec.dim, pin_memory=self.cuda)
        self.copied: torch.cuda.Event | None = None

    def add(self, crops: Sequence[Crop], waves: Sequence[dict[int, Samples]]) -> None:
        """Encode crops and copy the results here; on CUDA the copies are queued, not awaited."""
        done = len(self.crops)
        valid_s = [crop.valid_s for crop in crops]
        for frames, means in encode_batches(self.state.encoder, waves, valid_s, self.state.batch):
            place = slice(done, done + len(frames))
            # Rounded on the device: a copy that also changes the type would wait for the device.
            self.frames[place].copy_(frames.to(torch.float16), non_blocking=True)
            self.means[place].copy_(means, non_blocking=True)
            done += len(frames)
        self.crops += crops

    def close(self) -> None:
        """Record the point in the device's work that `write` has to wait for."""
        if self.cuda:
            self.copied = torch.cuda.Event()
            self.copied.record(torch.cuda.current_stream(self.state.encoder.device))

    def write(self) -> None:
        """Append the crops to the store; nothing where all of them were rejected."""
        if self.copied is not None:
            self.copied.synchronize()
        if count := len(self.crops):
            self.state.store.append(self.crops, self.frames[:count].numpy(), self.means[:count].numpy())
            self.state.encoded += count
