"""MuQ's front end: log-mel power in dB."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mmmos.extract.encoders.mel import MelPower, filterbank

BANDS = 128
N_FFT = 2048
HOP_SAMPLES = 240
POWER_FLOOR = 1e-10


class LogMel(nn.Module):
    """Waves [B, samples] to log-mel power in dB [B, 128, 1 + samples // 240], floor -100 dB.

    Takes the arguments of the package's MelSTFT, in whose place it stands.
    """

    def __init__(self, n_fft: int = N_FFT, hop_length: int = HOP_SAMPLES, is_db: bool = True) -> None:
        super().__init__()
        # The bank always spans 0-12 kHz, also where muq16k feeds it another rate.
        bank = filterbank(24000, n_fft, BANDS, 0.0, 12000.0, scale="htk")
        self.mel = MelPower(bank, n_fft, hop_length)

    def forward(self, waves: Tensor) -> Tensor:
        return 10.0 * torch.log10(self.mel(waves).clamp(min=POWER_FLOOR))
