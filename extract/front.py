"""All encoders behind one door, for scoring: audio in, features of its windows out, nothing stored.

The frames are rounded to half precision on the way, as the feature store does, so that a head sees here what
it saw in training.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mmmos.extract import stream
from mmmos.extract.audio import AUDIO_RECIPE
from mmmos.extract.encoders import Encoder, WeightsMissing, load_encoder
from mmmos.extract.extraction import choose_device
from mmmos.extract.lanes import encode
from mmmos.extract.measure import AudioError, AudioInfo
from mmmos.extract.perturb import CHANGES, changed_piece
from mmmos.extract.pieces import Listening, Sound, file_piece, wave_piece
from mmmos.extract.stream import Event, Window
from mmmos.store.schema import EncoderSpec

__all__ = [
    "CHANGES",
    "AudioError",
    "AudioInfo",
    "Encoded",
    "Encoder",
    "Event",
    "Front",
    "Listening",
    "Sound",
    "WeightsMissing",
    "Window",
    "changed_piece",
    "file_piece",
    "rebuild",
    "wave_piece",
]

CPU_BATCH, CUDA_BATCH = 1, 32
"""As in extraction: batches do not pay on a CPU, and memory halves them on CUDA."""

Encoded = dict[str, tuple[Tensor, Tensor]]
"""Spec id -> frames [B, T, frame_dim] float16, time means [B, L, D] float32, on the encoders' device."""


class Front:
    """Encoders on one device, how many windows they take at a time, and how audio is opened for them."""

    def __init__(self, encoders: Sequence[Encoder], batch: int | None = None, workers: int = 2) -> None:
        self.encoders = tuple(encoders)
        self.device = self.encoders[0].device
        self.batch = batch or (CUDA_BATCH if self.device.type == "cuda" else CPU_BATCH)
        self.workers = workers

    @property
    def specs(self) -> tuple[EncoderSpec, ...]:
        return tuple(encoder.spec for encoder in self.encoders)

    def listen(self, openers: Sequence[Listening], hop_s: float | None = None) -> Iterator[tuple[int, Event]]:
        """See `stream.listen`; every window at the rates of all encoders, cut once."""
        rates_hz = sorted({spec.sample_rate_hz for spec in self.specs})
        return stream.listen(openers, rates_hz, hop_s, self.workers)

    def encode(self, windows: Sequence[Window]) -> Encoded:
        """The windows through every encoder; where memory does not suffice the batch is halved, for good."""
        if len(windows) > self.batch:
            parts = [self.encode(windows[at : at + self.batch]) for at in range(0, len(windows), self.batch)]
            return {
                name: (torch.cat([p[name][0] for p in parts]), torch.cat([p[name][1] for p in parts]))
                for name in parts[0]
            }
        try:
            return {encoder.spec.id: self._encode(encoder, windows) for encoder in self.encoders}
        except torch.OutOfMemoryError:
            if len(windows) == 1:
                raise
        self.batch = len(windows) // 2  # not in the except clause: its traceback keeps the memory alive
        torch.cuda.empty_cache()
        return self.encode(windows)

    def _encode(self, encoder: Encoder, windows: Sequence[Window]) -> tuple[Tensor, Tensor]:
        rate_hz = encoder.spec.sample_rate_hz
        waves = torch.stack([torch.from_numpy(window.waves[rate_hz]) for window in windows])
        frames, means = encode(encoder, waves, [window.valid_s for window in windows])
        return frames.half(), means


def rebuild(spec: EncoderSpec, *, weights: Path | None, device: str, stock: bool = False) -> Encoder:
    """An encoder built as `spec` says: random weights from their seed, others from `weights` or the hub.

    Its own spec may still differ (other weight file, newer code): that is for the caller to compare.
    WeightsMissing says which file to put where.
    """
    options: dict[str, Any] = {"weights": weights}
    if spec.is_random:
        options = {"random_seed": int(spec.weights.partition(":")[2])}
    return load_encoder(
        spec.name,
        audio_recipe=AUDIO_RECIPE,
        size=spec.size,
        layer=spec.layer,
        precision=spec.precision,
        device=choose_device(device),
        stock=stock,
        **options,
    )
