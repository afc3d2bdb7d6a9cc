"""Log-mel statistics: a deterministic encoder without weights.

Each 40 ms frame holds the mean of four log-mel spectra and their mean absolute change.  They show
level, band limits, noise floors and drop-outs.  A baseline for the learned encoders.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mmmos.extract.encoders.encoder import Loaded, LoadOptions, crop_samples, exact_div
from mmmos.extract.encoders.mel import MelPower, filterbank, level_names
from mmmos.extract.encoders.published import Origin

SAMPLE_RATE_HZ = 24000
BANDS = 80
N_FFT = 1024
HOP_SAMPLES = 240
SPECTRA_PER_FRAME = 4
FRAME_RATE_HZ = SAMPLE_RATE_HZ / (HOP_SAMPLES * SPECTRA_PER_FRAME)
FRAMES = exact_div(crop_samples(SAMPLE_RATE_HZ), HOP_SAMPLES * SPECTRA_PER_FRAME)  # 250
RECIPE = 1
GFLOP_A_CROP = 0.1
PUBLISHED = None

FLOOR = 1e-12
"""-120 dB below a full-scale sine: under the noise of 16-bit audio in any one band."""


COLUMNS = level_names(SAMPLE_RATE_HZ, BANDS)
"""What each number of a frame is."""


def load(options: LoadOptions) -> Loaded:
    """The encoder; it has no weights, so seed, size and weight folder make no difference."""
    return Loaded(LogMel(), Origin("none", "none", "no weights"), dim=len(COLUMNS), layers=1)


class LogMel(nn.Module):
    """Waves [B, 240000] in -1..1 to one state [B, 250, 160]: 80 levels, then 80 changes.

    Both in units of 20 dB, levels counted from -60 dB below a full-scale sine: silence is -3, the
    loudest 3, which half precision stores well.
    """

    def __init__(self) -> None:
        super().__init__()
        bank = filterbank(SAMPLE_RATE_HZ, N_FFT, BANDS, 0.0, SAMPLE_RATE_HZ / 2, scale="slaney")
        self.mel = MelPower(bank, N_FFT, HOP_SAMPLES)
        self.full_scale = (N_FFT / 4) ** 2  # a sine of amplitude 1 under a Hann window, at its bin

    def forward(self, waves: Tensor) -> list[Tensor]:
        power = self.mel(waves)[..., :-1] / self.full_scale
        level = (torch.log10(power.clamp(min=FLOOR)) + 6.0) / 2.0
        # From the spectrum before, so that no frame depends on a later one; the first one changes by 0.
        change = torch.diff(level, dim=2, prepend=level[..., :1]).abs()
        both = torch.cat([level, change], dim=1)
        frames = both.unflatten(2, (-1, SPECTRA_PER_FRAME)).mean(dim=3)
        return [frames.transpose(1, 2)]
