"""Frames of several encoders brought to one common rate, without ever touching padding.

A frame k at rate r covers the seconds [k / r, (k + 1) / r).  An encoder faster than the common rate
is averaged down (once, when the features are read); a slower one holds each frame (inside the head,
after its projection).
"""

from __future__ import annotations

import torch
from torch import Tensor

from mmmos.store.schema import CROP_SECONDS, EncoderSpec


def valid_steps(valid_s: Tensor, rate_hz: float) -> Tensor:
    """[B] int64: how many frames at a rate lie wholly inside `valid_s` [B] seconds; at least one."""
    return (valid_s.double() * rate_hz + 1e-6).long().clamp(1, int(CROP_SECONDS * rate_hz))


def held_rate(spec: EncoderSpec, rate_hz: float) -> float:
    """The lower of the encoder's own frame rate and the common one."""
    return min(spec.frame_rate_hz, rate_hz)


def _whole_ratio(spec: EncoderSpec, rate_hz: float) -> int:
    fast, slow = max(spec.frame_rate_hz, rate_hz), min(spec.frame_rate_hz, rate_hz)
    ratio = round(fast / slow)
    if abs(fast / slow - ratio) > 1e-9:
        raise ValueError(
            f"{spec.name} has {spec.frame_rate_hz} frames a second: neither a whole multiple "
            f"nor a whole part of the common rate {rate_hz}"
        )
    return ratio


def average_down(frames: Tensor, spec: EncoderSpec, valid: Tensor, rate_hz: float) -> Tensor:
    """Frames at the lower of the encoder's own rate and `rate_hz`: [B, T_e, D] fp16.

    Each new frame is the mean (in fp32) of the valid frames that fall into it, 0 where none does.

    Parameters
    ----------
    frames
        [B, T, D] at the encoder's rate.
    valid
        [B] valid frames at the encoder's rate.
    """
    ratio = _whole_ratio(spec, rate_hz) if spec.frame_rate_hz > rate_hz else 1
    batch, length, dim = frames.shape
    steps = min(-(-length // ratio), int(CROP_SECONDS * rate_hz)) if ratio > 1 else length
    kept = torch.zeros(batch, steps * ratio, dim, device=frames.device)
    length = min(length, steps * ratio)
    kept[:, :length] = frames[:, :length]
    on_host = valid.device.type == "cpu"  # a look at a card would wait for it
    if not (on_host and bool((valid >= length).all())):
        beyond = torch.arange(steps * ratio, device=frames.device) >= valid[:, None]
        kept.masked_fill_(beyond[:, :, None], 0.0)
    if ratio > 1:
        counts = (valid[:, None] - ratio * torch.arange(steps, device=frames.device)).clamp(1, ratio)
        kept = kept.unflatten(1, (steps, ratio)).sum(2) / counts[:, :, None]
    return kept.half()


def to_common(x: Tensor, spec: EncoderSpec, rate_hz: float, valid_s: Tensor) -> Tensor:
    """x [B, T_e, G] at the encoder's held rate -> [B, T, G] at the common rate.

    T is the longest valid length in the batch; on a card, which a look would wait for, that of a crop.
    A slow encoder's frame is held; behind its last valid frame the last valid one is held, so that no
    padding is read.
    """
    on_host = valid_s.device.type == "cpu"
    steps = int(valid_steps(valid_s, rate_hz).max()) if on_host else int(CROP_SECONDS * rate_hz)
    held = held_rate(spec, rate_hz)
    ratio = _whole_ratio(spec, rate_hz) if held < rate_hz else 1
    if ratio == 1 and steps <= x.shape[1]:
        return x[:, :steps]
    last = valid_steps(valid_s, held).clamp(max=x.shape[1]) - 1
    index = torch.arange(steps, device=x.device) // ratio
    index = torch.minimum(index.expand(len(x), -1), last[:, None])
    return x.gather(1, index[:, :, None].expand(-1, -1, x.shape[-1]))


BLOCK = 16
"""So many steps are added one after the other, then so many of their sums, and so on."""


def sum_over_time(x: Tensor) -> Tensor:
    """x [T, ...] -> [...]; its bits depend neither on zeros behind a sequence nor on what stands beside it.

    The order is that of torch's own sum, which takes another one for the last few columns, whatever column of
    whichever sequence these are, and there for every T.
    """
    while len(x) > 1:
        sums = x[::BLOCK].clone()
        for n in range(1, min(BLOCK, len(x))):
            part = x[n::BLOCK]
            sums[: len(part)] += part
        x = sums
    return x.sum(0)


def mean_and_deviation(frames: Tensor, valid: Tensor) -> Tensor:
    """frames [B, T, D], valid [B] -> [B, 2 D] fp32: mean and (population) standard deviation over time."""
    inside = (torch.arange(frames.shape[1], device=frames.device) < valid[:, None])[:, :, None]
    kept = torch.where(inside, frames.float(), 0.0)
    count = valid[:, None].float()
    mean = sum_over_time(kept.transpose(0, 1)) / count
    squares = torch.where(inside, kept - mean[:, None], 0.0).square()
    deviation = (sum_over_time(squares.transpose(0, 1)) / count).sqrt()
    return torch.cat((mean, deviation), dim=-1)
