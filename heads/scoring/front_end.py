"""What a scorer needs of the encoders' side, so that it can be given them without importing them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import torch
from numpy.typing import ArrayLike
from torch import Tensor

from mmmos.store.schema import EncoderSpec

Encoded = Mapping[str, tuple[Tensor, Tensor]]
"""Spec id -> frames [B, T, frame_dim] float16, time means [B, L, D] float32."""


class Window(Protocol):
    """Up to 10 s of audio, see extract.stream.Window."""

    start_s: float
    valid_s: float
    grid: bool
    hop: bool


class FrontEnd(Protocol):
    """What a scorer needs of the encoders, see extract.front.Front."""

    batch: int
    device: torch.device
    changes: tuple[str, ...]

    @property
    def specs(self) -> tuple[EncoderSpec, ...]: ...
    def listen(self, pieces: Sequence[Any], hop_s: float | None = None) -> Iterator[tuple[int, Any]]: ...
    def encode(self, windows: Sequence[Any]) -> Encoded: ...
    def file_piece(self, path: Path, start_s: float | None, end_s: float | None) -> Any: ...
    def wave_piece(self, wave: ArrayLike, sample_rate_hz: int) -> Any: ...
    def changed_piece(self, path: Path, change: str | None) -> Any: ...
