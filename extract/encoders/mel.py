"""Mel spectrograms by the conventions of the encoders' own front ends.

Two mel scales are in use: HTK (torchaudio's default, MuQ) and the one of Slaney's Auditory Toolbox
(librosa's default, M2D).  Filter banks are computed in float64 and rounded to float32 once.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor, nn

SLANEY_BREAK_HZ = 1000.0
SLANEY_HZ_PER_MEL = 200.0 / 3.0
SLANEY_LOG_STEP = math.log(6.4) / 27.0
"""Slaney's scale is linear below 1 kHz and logarithmic above: 27 mels from 1 kHz to 6.4 kHz."""


def hz_to_mel(hz: np.ndarray, scale: str) -> np.ndarray:
    """Hz to mel on the "htk" or the "slaney" scale, element by element."""
    if scale == "htk":
        return 2595.0 * np.log10(1.0 + hz / 700.0)
    above = np.log(np.maximum(hz, SLANEY_BREAK_HZ) / SLANEY_BREAK_HZ) / SLANEY_LOG_STEP
    return np.minimum(hz, SLANEY_BREAK_HZ) / SLANEY_HZ_PER_MEL + above


def mel_to_hz(mel: np.ndarray, scale: str) -> np.ndarray:
    """The inverse of hz_to_mel."""
    if scale == "htk":
        return 700.0 * (10.0 ** (mel / 2595.0) - 1.0)
    break_mel = SLANEY_BREAK_HZ / SLANEY_HZ_PER_MEL
    return (
        np.minimum(mel, break_mel)
        * SLANEY_HZ_PER_MEL
        * np.exp(SLANEY_LOG_STEP * np.maximum(mel - break_mel, 0.0))
    )


def filterbank(
    sample_rate_hz: int,
    n_fft: int,
    bands: int,
    low_hz: float,
    high_hz: float,
    *,
    scale: str,
    unit_area: bool = False,
) -> Tensor:
    """Triangular mel filters over the bins of an FFT.

    The corners of the triangles lie at equal distances on the mel scale; each triangle is linear in Hz.

    Parameters
    ----------
    low_hz, high_hz : float
        First and last corner.
    scale : {"htk", "slaney"}
        Which mel scale.
    unit_area : bool
        Divide each filter by half its width in Hz (librosa's norm="slaney").

    Returns
    -------
    Tensor
        [bands, n_fft // 2 + 1], float32.
    """
    bins_hz = np.linspace(0.0, sample_rate_hz / 2, n_fft // 2 + 1)
    ends = hz_to_mel(np.array([low_hz, high_hz], dtype=np.float64), scale)
    corners_hz = mel_to_hz(np.linspace(ends[0], ends[1], bands + 2), scale)
    left, centre, right = (corners_hz[i : i + bands, None] for i in range(3))
    rising = (bins_hz - left) / (centre - left)
    falling = (right - bins_hz) / (right - centre)
    bank = np.maximum(0.0, np.minimum(rising, falling))
    if unit_area:
        bank *= 2.0 / (right - left)
    return torch.from_numpy(bank.astype(np.float32))


def corners_hz(sample_rate_hz: int, bands: int) -> np.ndarray:
    """[bands + 2] corners of the triangles of a "slaney" bank over the whole band: n rises from corner n to
    n + 1 and falls to n + 2."""
    return mel_to_hz(np.linspace(0, hz_to_mel(np.array(sample_rate_hz / 2), "slaney"), bands + 2), "slaney")


def level_names(sample_rate_hz: int, bands: int) -> tuple[str, ...]:
    """Names of the levels of such bands, then of their changes."""
    centres = [f"{hz:.0f} Hz" for hz in corners_hz(sample_rate_hz, bands)[1:-1]]
    return (*(f"level at {centre}" for centre in centres), *(f"change at {centre}" for centre in centres))


class MelPower(nn.Module):
    """Waveforms [B, samples] to mel power [B, bands, 1 + samples // hop].

    Periodic Hann window of n_fft samples, centred frames with reflected ends, power 2.
    """

    bank: Tensor
    window: Tensor

    def __init__(self, bank: Tensor, n_fft: int, hop_samples: int) -> None:
        super().__init__()
        self.n_fft = n_fft
        self.hop_samples = hop_samples
        # Not persistent: both follow from the constants, and no checkpoint carries them.
        self.register_buffer("bank", bank, persistent=False)
        self.register_buffer("window", torch.hann_window(n_fft), persistent=False)

    # Powers span ten decades: under autocast the bank's product would keep three digits of them.
    @torch.autocast("cpu", enabled=False)  # type: ignore[untyped-decorator]
    @torch.autocast("cuda", enabled=False)  # type: ignore[untyped-decorator]
    def forward(self, waves: Tensor) -> Tensor:
        spectrum = torch.stft(
            waves.float(),
            self.n_fft,
            self.hop_samples,
            window=self.window,
            center=True,
            pad_mode="reflect",
            return_complex=True,
        )
        power = spectrum.real.square() + spectrum.imag.square()
        return torch.matmul(self.bank, power)


MUQ_SAMPLE_RATE_HZ = 24000
MUQ_BANDS = 128
MUQ_N_FFT = 2048
MUQ_HOP_SAMPLES = 240
MUQ_POWER_FLOOR = 1e-10


class MuqLogMel(nn.Module):
    """MuQ's front end: waves [B, samples] to log-mel power in dB [B, 128, 1 + samples // 240], at least -100.

    It takes the arguments of the package's MelSTFT, which it replaces.
    """

    def __init__(self, n_fft: int = MUQ_N_FFT, hop_length: int = MUQ_HOP_SAMPLES, is_db: bool = True) -> None:
        super().__init__()
        # The bank always spans 0 to 12 kHz of 24 kHz audio, also where muq16k feeds it another rate.
        bank = filterbank(MUQ_SAMPLE_RATE_HZ, n_fft, MUQ_BANDS, 0.0, MUQ_SAMPLE_RATE_HZ / 2, scale="htk")
        self.mel = MelPower(bank, n_fft, hop_length)

    def forward(self, waves: Tensor) -> Tensor:
        return 10.0 * torch.log10(self.mel(waves).clamp(min=MUQ_POWER_FLOOR))
