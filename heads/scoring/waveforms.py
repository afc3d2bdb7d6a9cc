"""Waveforms that callers give, with the meaning of their axes settled, and scores that stay on a device.

Two axes may be clips and samples or channels and samples.  No rule of thumb tells [4, 16000] apart, so
channels are only what a caller calls so.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from mmmos.heads.scoring.answers import reach
from mmmos.store.schema import Scale

Waves = Tensor | NDArray[Any] | Sequence[ArrayLike | Tensor]


def one_clip(wave: ArrayLike | Tensor, *, channels: bool) -> NDArray[Any]:
    """One waveform [n], or [channels, n] where `channels` says so.

    Raises
    ------
    ValueError
        For several rows that nobody called channels, and for more channels than samples.
    """
    array = wave.detach().cpu().numpy() if isinstance(wave, Tensor) else np.asarray(wave)
    if array.ndim == 2:
        _check_channels(array.shape)
        rows = len(array)
        if not channels and rows > 1:
            raise ValueError(
                f"{list(array.shape)} may be {rows} clips or {rows} channels: say channels=True for one clip "
                f"of {rows} channels, or call scores(waves, sample_rate) for {rows} clips"
            )
    return array


def many_clips(waves: Waves, *, channels: bool) -> list[Tensor]:
    """A batch [B, n] or a list of [n] as one tensor [channels, n] a clip, on the device where it is.

    Parameters
    ----------
    channels
        The batch is [B, channels, n], or the list holds [channels, n].

    Raises
    ------
    ValueError
        For anything else; the message says what to do.
    """
    batched = isinstance(waves, Tensor | np.ndarray)
    clips = [wave if isinstance(wave, Tensor) else torch.as_tensor(np.asarray(wave)) for wave in waves]
    for clip in clips:
        if clip.ndim == (2 if channels else 1):
            if channels:
                _check_channels(clip.shape)
            continue
        shape = list(waves.shape) if isinstance(waves, Tensor | np.ndarray) else list(clip.shape)
        wanted = ("[B, channels, n]" if channels else "[B, n]") if batched else "waveforms [n] in a list"
        if channels and not batched:
            wanted = "waveforms [channels, n] in a list"
        help_ = "one clip alone is wave[None]" if clip.ndim < 1 + channels else "channels need channels=True"
        raise ValueError(f"scores takes {wanted}, not the shape {shape}: {help_}")
    return [clip if channels else clip[None] for clip in clips]


def believable(means: Tensor, scale: Scale, bounded: bool) -> Tensor:
    """Means [B, A] held to the scale where they are `bounded`; NaN for clips that `answers.beyond_scale`
    refuses."""
    least, most = reach(scale, bounded)
    inside = ((means >= least) & (means <= most)).all(dim=1, keepdim=True)
    kept = torch.where(inside, means, torch.nan)
    if not bounded:
        return kept
    low, high = (torch.tensor(ends, dtype=means.dtype) for ends in (scale.lows, scale.highs))
    return kept.clamp(low.to(means.device), high.to(means.device))


def _check_channels(shape: Sequence[int]) -> None:
    if shape[0] > shape[1]:
        raise ValueError(
            f"a waveform is [n] or [channels, n]; {list(shape)} has more channels than samples: transpose it"
        )
