"""From waves to one shard: a batch through an encoder, and the block of results that is written whole."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mmmos.extract.audio import Samples
from mmmos.extract.encoders import Encoder, summarise
from mmmos.store.features import FeatureStore
from mmmos.store.schema import Crop


def encode(encoder: Encoder, waves: Tensor, valid_s: Sequence[float]) -> tuple[Tensor, Tensor]:
    """Crops [B, 10 s of samples] float32 to frames [B, T, frame_dim] by the spec's layer rule and time means
    [B, L, D] over the valid frames, both float32 on the encoder's device."""
    valid = torch.tensor([encoder.spec.valid_frames(seconds) for seconds in valid_s])
    if encoder.device.type == "cuda":
        valid = valid.pin_memory()
    with torch.inference_mode():
        hidden = encoder.hidden_states(waves)
        return summarise(hidden, encoder.spec.layer, valid.to(encoder.device, non_blocking=True))


@dataclass
class Lane:
    """One encoder on its way through a table: its store, the batch it can take, and what it has done."""

    encoder: Encoder
    store: FeatureStore
    batch: int
    encoded: int = 0


class Shard:
    """A lane's part of a block of crops: filled batch by batch, closed, and written whole."""

    def __init__(self, lane: Lane, size: int) -> None:
        spec = lane.encoder.spec
        self.lane = lane
        self.cuda = lane.encoder.device.type == "cuda"
        self.crops: list[Crop] = []
        self.frames = torch.empty(
            size, spec.frames, spec.frame_dim, dtype=torch.float16, pin_memory=self.cuda
        )
        self.means = torch.empty(size, spec.layers, spec.dim, pin_memory=self.cuda)
        self.copied: torch.cuda.Event | None = None

    def add(self, crops: Sequence[Crop], waves: Sequence[dict[int, Samples]]) -> None:
        """Encode crops and copy the outcome here; on CUDA both are only asked for, not awaited.

        Where memory does not suffice the lane's batch is halved, for good.
        """
        lane, rate_hz = self.lane, self.lane.encoder.spec.sample_rate_hz
        batch = torch.stack([torch.from_numpy(wave[rate_hz]) for wave in waves])
        if self.cuda:
            batch = batch.pin_memory()
        done = 0
        while done < len(crops):
            piece = crops[done : done + lane.batch]
            encoded = None
            try:
                encoded = encode(
                    lane.encoder, batch[done : done + len(piece)], [crop.valid_s for crop in piece]
                )
            except torch.OutOfMemoryError:
                if lane.batch == 1:
                    raise
            if encoded is None:  # not in the except clause: its traceback would keep the memory alive
                lane.batch = max(1, min(lane.batch, len(piece)) // 2)
                torch.cuda.empty_cache()
                continue
            place = slice(len(self.crops), len(self.crops) + len(piece))
            # Rounded on the device: a copy that also changes the type would wait for the device.
            self.frames[place].copy_(encoded[0].to(torch.float16), non_blocking=True)
            self.means[place].copy_(encoded[1], non_blocking=True)
            self.crops += piece
            done += len(piece)

    def close(self) -> None:
        """Note the point in the device's work that `write` has to wait for."""
        if self.cuda:
            self.copied = torch.cuda.Event()
            self.copied.record(torch.cuda.current_stream(self.lane.encoder.device))

    def write(self) -> None:
        if self.copied is not None:
            self.copied.synchronize()
        if count := len(self.crops):
            self.lane.store.append(self.crops, self.frames[:count].numpy(), self.means[:count].numpy())
            self.lane.encoded += count
