"""M2D's input image of log-mel patches, and its output patches as frames."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mmmos.extract.encoders.encoder import crop_samples, exact_div
from mmmos.extract.encoders.mel import MelPower, filterbank

SAMPLE_RATE_HZ = 16000
N_FFT = 400
HOP_SAMPLES = 160
BANDS = 80
MEL_LOW_HZ = 50.0
PATCH = 16
"""A patch is 16 bands by 16 spectra."""
SPECTRA = 1 + exact_div(crop_samples(SAMPLE_RATE_HZ), HOP_SAMPLES)  # 1001
FRAMES = SPECTRA // PATCH  # 62; the 9 spectra that do not fill a patch are dropped
FRAME_RATE_HZ = SAMPLE_RATE_HZ / (HOP_SAMPLES * PATCH)


class LogMelImage(nn.Module):
    """Waves [B, 160000] to normalised log-mel images [B, 1, 80, 992]."""

    def __init__(self, mean: float, std: float) -> None:
        super().__init__()
        bank = filterbank(
            SAMPLE_RATE_HZ, N_FFT, BANDS, MEL_LOW_HZ, SAMPLE_RATE_HZ / 2, scale="slaney", unit_area=True
        )
        self.mel = MelPower(bank, N_FFT, HOP_SAMPLES)
        self.mean, self.std = mean, std

    def log_mel(self, waves: Tensor) -> Tensor:
        """Before normalisation: [B, 80, 1001]."""
        return torch.log(self.mel(waves) + torch.finfo(torch.float32).eps)

    def forward(self, waves: Tensor) -> Tensor:
        image = (self.log_mel(waves) - self.mean) / self.std
        return image[:, None, :, : FRAMES * PATCH]


def patches_to_frames(state: Tensor) -> Tensor:
    """Class token and frequency-major patches [B, 1 + 5 * 62, W] to frames [B, 62, 5 * W]."""
    patches = state[:, 1:].unflatten(1, (BANDS // PATCH, FRAMES))
    return patches.transpose(1, 2).flatten(2)
