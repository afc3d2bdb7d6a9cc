"""Waveforms that are tensors already: windows cut and resampled on the encoders' device, no audio on the CPU.

soxr, which resamples files, runs on CPUs only.  Here the same low-pass filter is applied in the frequency
domain: a sinc under a Kaiser window whose stop band begins at the lower Nyquist frequency.  Loud white noise
comes out within 4e-4 of full scale of what soxr makes of it, audio within 3e-4, but for the first millisecond
of a crop, where soxr's own filters start at some pairs of rates (44.1 to 16 kHz): up to 0.02 there.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mmmos.extract.audio_info import MAX_PEAK, AudioError, check_shape
from mmmos.extract.stream import Window, is_window
from mmmos.store.schema import CROP_SECONDS

PASS_BAND = 0.9137
"""Where the transition band of soxr's HQ setting begins, as a share of the lower Nyquist frequency."""

STOP_BAND_DB = 126.4
"""Attenuation of that setting: 21 bits."""

HALF_WIDTH = 196
"""Of the filter, in samples at twice the lower rate.  Kaiser's rule says 191; with 196 the gain is that of
soxr's answer to an impulse within 0.004 at all frequencies, where soxr's own gains at several pairs of rates
differ by 0.005."""

MARGIN_S = 1
"""Silence behind a crop while it is filtered: what rings over its end must not reach its beginning."""

Cut = tuple[list[int], list[Window]]
"""The numbers of clips, and a window of each."""


def cut(
    waves: Sequence[Tensor],
    rate_hz: int,
    rates_hz: Sequence[int],
    device: torch.device,
    *,
    batch: int,
    whole: bool = False,
) -> Iterator[Cut]:
    """The crops of clips, as `stream.windows` cuts them from files, `batch` at a time.

    Their lengths and peaks alone are copied to the CPU, once for all of them.

    Parameters
    ----------
    waves : sequence of Tensor
        [channels, n] each: floats of full scale 1, int16 or int32, on any device.
    rates_hz : sequence of int
        Sample rates of the windows, whose `waves` are tensors on `device`.
    whole : bool
        Leave nothing out: neither a short last piece nor trailing silence (see `audio.WHOLE_RECIPE`).

    Raises
    ------
    AudioError
        Naming the clip, before any window, where one cannot be used.
    """
    clips = [_as_floats(wave, rate_hz, number).to(device) for number, wave in enumerate(waves)]
    ends = _ends(clips, whole=whole)
    mono = [clip[0] if len(clip) == 1 else clip.mean(dim=0) for clip in clips]
    size = round(CROP_SECONDS * rate_hz)
    places = [
        (number, start, min(size, end - start))
        for number, end in enumerate(ends)
        for start in range(0, end, size)
        if is_window(start, end, rate_hz, whole=whole)
    ]
    for first in range(0, len(places), batch):
        some = places[first : first + batch]
        padded = torch.zeros(len(some), size, device=device)
        for row, (number, start, count) in zip(padded, some, strict=True):
            row[:count] = mono[number][start : start + count]
        counts = [count for _, _, count in some]
        at_rate = {target_hz: resample(padded, rate_hz, target_hz, counts) for target_hz in set(rates_hz)}
        windows = [
            Window(
                start / rate_hz, count / rate_hz, True, False, {rate: at_rate[rate][row] for rate in at_rate}
            )
            for row, (_, start, count) in enumerate(some)
        ]
        yield [number for number, _, _ in some], windows


def _as_floats(wave: Tensor, rate_hz: int, number: int) -> Tensor:
    """[channels, n] as float32 of full scale 1; AudioError for what is not a waveform."""
    if wave.ndim != 2 or not wave.numel():
        raise AudioError(f"clip {number}: a waveform of the shape {list(wave.shape)} holds no audio")
    try:
        check_shape(wave.shape[1], rate_hz, wave.shape[0])
    except AudioError as reason:
        raise AudioError(f"clip {number}: {reason}") from None
    if wave.dtype in (torch.int16, torch.int32):
        return wave.float() / 2 ** (8 * wave.element_size() - 1)
    if not wave.is_floating_point():
        raise AudioError(
            f"clip {number}: samples are floats (full scale 1.0), int16 or int32, not {wave.dtype}"
        )
    return wave.detach().float()


def _ends(clips: Sequence[Tensor], *, whole: bool) -> list[int]:
    """Samples of each clip [channels, n] without trailing silence, or all of them where it is `whole` or
    nothing but silence; AudioError for samples that no audio has."""
    if not clips:
        return []
    louds = [clip.abs().amax(dim=0) for clip in clips]
    silent = torch.stack([(loud != 0).flip(0).to(torch.uint8).argmax() for loud in louds]).tolist()
    ends = []
    for number, peak in enumerate(torch.stack([loud.amax() for loud in louds]).tolist()):
        if not math.isfinite(peak):
            raise AudioError(f"clip {number}: a sample that is not a number")
        if peak > MAX_PEAK:
            raise AudioError(
                f"clip {number}: samples up to {peak:g} where full scale is 1: integers stored as floats?"
            )
        ends.append(clips[number].shape[1] - (0 if whole else silent[number]))
    return ends


@lru_cache
def _response() -> tuple[NDArray[Any], NDArray[Any]]:
    """Frequencies as a share of the lower Nyquist frequency, 0 to 2, and the filter's gain there."""
    # The sinc's cutoff is the transition's middle, the window's shape Kaiser's for this attenuation.
    cutoff = (1 + PASS_BAND) / 4
    window = np.kaiser(2 * HALF_WIDTH + 1, 0.1102 * (STOP_BAND_DB - 8.7))
    kernel = window * np.sinc(cutoff * np.arange(-HALF_WIDTH, HALF_WIDTH + 1))
    gains = np.abs(np.fft.rfft(kernel / kernel.sum(), 1 << 16))
    return np.linspace(0, 2, len(gains)), gains


@lru_cache
def _gains(lower_hz: int, kept: int) -> Tensor:
    """[kept] the filter's gain at the first frequencies of a spectrum, float32."""
    shares = np.arange(kept) / (round(CROP_SECONDS) + MARGIN_S) / (lower_hz / 2)
    return torch.from_numpy(np.interp(shares, *_response()).astype(np.float32))


def resample(waves: Tensor, rate_hz: int, target_hz: int, counts: Sequence[int]) -> Tensor:
    """Crops at another rate, on their device.

    Parameters
    ----------
    waves : Tensor
        [B, 10 s of samples] float32.
    counts : sequence of int
        [B] how many samples of each are audio; zeros follow them here and in what is returned.

    Returns
    -------
    Tensor
        [B, 10 * target_hz] float32.
    """
    if rate_hz == target_hz:
        return waves
    seconds, lower_hz = round(CROP_SECONDS) + MARGIN_S, min(rate_hz, target_hz)
    kept = lower_hz * seconds // 2 + 1
    gains = _gains(lower_hz, kept).to(waves.device, non_blocking=True) * (target_hz / rate_hz)
    spectrum = torch.fft.rfft(waves, n=seconds * rate_hz)[:, :kept] * gains
    resampled = torch.fft.irfft(spectrum, n=seconds * target_hz)[:, : round(CROP_SECONDS * target_hz)]
    ends = torch.tensor([(2 * count * target_hz + rate_hz) // (2 * rate_hz) for count in counts])
    inside = torch.arange(resampled.shape[1], device=waves.device) < ends.to(waves.device)[:, None]
    return resampled * inside
