"""Log-mel statistics of the whole audible band: a deterministic encoder without weights.

As `logmel`, but up to 22.05 kHz, and with what a time mean of levels cannot show: how fast groups of
bands fluctuate, whether they fluctuate together, overall level, flatness, roll-off and flux.  Each 40 ms
frame holds means of four spectra.  `COLUMNS` names every number of a frame.
"""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn

from mmmos.extract.encoders.encoder import Loaded, LoadOptions, crop_samples, exact_div
from mmmos.extract.encoders.mel import MelPower, corners_hz, filterbank, level_names
from mmmos.extract.encoders.published import Origin

SAMPLE_RATE_HZ = 44100
BANDS = 80
N_FFT = 1024
HOP_SAMPLES = 441
SPECTRA_PER_FRAME = 4
SPECTRUM_RATE_HZ = SAMPLE_RATE_HZ / HOP_SAMPLES  # 100
FRAME_RATE_HZ = SPECTRUM_RATE_HZ / SPECTRA_PER_FRAME
FRAMES = exact_div(crop_samples(SAMPLE_RATE_HZ), HOP_SAMPLES * SPECTRA_PER_FRAME)  # 250
RECIPE = 1
GFLOP_A_CROP = 0.2
PUBLISHED = None

FLOOR = 1e-12
"""-120 dB below a full-scale sine: under the noise of 16-bit audio in any one band."""

GROUPS = 8
"""Groups of ten neighbouring bands, whose mean levels are followed over time."""

WINDOWS = (1, 3, 6, 12, 25, 50, 100, 200)
"""Lengths of moving averages in spectra.  The difference of two neighbours passes about one octave: a
moving average of n seconds falls by 3 dB at 0.44 / n Hz, so the octaves begin near 0.22 Hz and end near
44 Hz (the first average is the spectrum itself)."""

TOGETHER = 100
"""Spectra (1 s) around each moment over which groups are correlated."""

EDGES_HZ = corners_hz(SAMPLE_RATE_HZ, BANDS)

OCTAVES_HZ = ("16-32", "8-16", "4-8", "2-4", "1-2", "0.5-1", "0.25-0.5")


def _column_names() -> tuple[str, ...]:
    width = BANDS // GROUPS
    groups = [f"{EDGES_HZ[n * width]:.0f}-{EDGES_HZ[(n + 1) * width + 1]:.0f} Hz" for n in range(GROUPS)]
    return (
        *level_names(SAMPLE_RATE_HZ, BANDS),
        *(f"modulation {octave} Hz of {group}" for octave in OCTAVES_HZ for group in groups),
        *(f"correlation of {one} with {other}" for one, other in itertools.combinations(groups, 2)),
        "overall level",
        "flatness",
        "roll-off of 85 % of the power",
        "roll-off of 99 % of the power",
        "flux",
    )


COLUMNS = _column_names()
"""What each number of a frame is."""


def load(options: LoadOptions) -> Loaded:
    """The encoder; it has no weights, so seed, size and weight folder make no difference."""
    return Loaded(FullBand(), Origin("none", "none", "no weights"), dim=len(COLUMNS), layers=1, masked=True)


class FullBand(nn.Module):
    """Waves [B, 441000] in -1..1 to one state [B, 250, len(COLUMNS)].

    Levels, changes and modulations are in units of 20 dB, levels counted from -60 dB below a full-scale
    sine; correlations run from -1 to 1; flatness and roll-off are logarithms to the base 10.
    """

    pairs: Tensor
    log_hz: Tensor

    def __init__(self) -> None:
        super().__init__()
        bank = filterbank(SAMPLE_RATE_HZ, N_FFT, BANDS, 0.0, SAMPLE_RATE_HZ / 2, scale="slaney")
        self.mel = MelPower(bank, N_FFT, HOP_SAMPLES)
        self.full_scale = (N_FFT / 4) ** 2  # a sine of amplitude 1 under a Hann window, at its bin
        self.register_buffer("pairs", torch.triu_indices(GROUPS, GROUPS, 1), persistent=False)
        centres = torch.from_numpy(EDGES_HZ[1:-1]).float()
        self.register_buffer("log_hz", torch.log10(centres / 1000.0), persistent=False)

    def forward(self, waves: Tensor, valid_frames: Tensor | None = None) -> list[Tensor]:
        power = self.mel(waves)[..., :-1] / self.full_scale
        level = (torch.log10(power.clamp(min=FLOOR)) + 6.0) / 2.0
        # Moving averages look ahead; they must not see the padding behind the audio.
        spectra = torch.arange(level.shape[2], device=level.device)
        count = (
            torch.full((len(waves),), FRAMES, device=level.device) if valid_frames is None else valid_frames
        )
        inside = (spectra < count[:, None] * SPECTRA_PER_FRAME)[:, None].to(level.dtype)
        # From the spectrum before, so that no change depends on a later one; the first one is 0.
        change = torch.diff(level, dim=2, prepend=level[..., :1])
        groups = level.unflatten(1, (GROUPS, -1)).mean(dim=2)
        parts = [level, change.abs(), _modulations(groups, inside), self._correlations(groups, inside)]
        parts.append(self._overall(power, change))
        frames = torch.cat(parts, dim=1).unflatten(2, (-1, SPECTRA_PER_FRAME)).mean(dim=3)
        return [frames.transpose(1, 2)]

    def _correlations(self, groups: Tensor, inside: Tensor) -> Tensor:
        """[B, G, T] -> [B, pairs, T]: how groups go together within the second around each moment."""
        gaps = (groups - _moving_average(groups, inside, TOGETHER)) * inside
        one, other = gaps[:, self.pairs[0]], gaps[:, self.pairs[1]]
        product = _moving_average(one * other, inside, TOGETHER)
        power = _moving_average(gaps.square(), inside, TOGETHER)
        # 1e-4 is the square of 0.2 dB: steadier groups count as uncorrelated rather than as noise.
        return product / (power[:, self.pairs[0]] * power[:, self.pairs[1]]).clamp(min=0).sqrt().add(1e-4)

    def _overall(self, power: Tensor, change: Tensor) -> Tensor:
        """[B, 5, T]: level, flatness, two roll-offs and flux of whole spectra."""
        kept = power.clamp(min=FLOOR)
        level = (torch.log10(kept.mean(dim=1)) + 6.0) / 2.0
        flatness = torch.log10(kept).mean(dim=1) - torch.log10(kept.mean(dim=1))
        # Shares of a cumulated power are steps from band to band: averages over time make them smooth.
        share = kept.cumsum(dim=1) / kept.sum(dim=1, keepdim=True)
        rolled = [self.log_hz[(share < part).sum(dim=1).clamp(max=BANDS - 1)] for part in (0.85, 0.99)]
        flux = change.clamp(min=0).mean(dim=1)
        return torch.stack([level, flatness, *rolled, flux], dim=1)


def _modulations(groups: Tensor, inside: Tensor) -> Tensor:
    """[B, G, T] -> [B, octaves * G, T]: size of each group's fluctuation in each octave."""
    smooth = [_moving_average(groups, inside, length) for length in WINDOWS]
    return torch.cat([(a - b).abs() for a, b in itertools.pairwise(smooth)], dim=1)


def _moving_average(x: Tensor, inside: Tensor, length: int) -> Tensor:
    """Means over `length` spectra around each, those outside the audio left out: [B, C, T]."""
    if length == 1:
        return x
    before = (length - 1) // 2
    pad = (before, length - 1 - before)
    # Sums of 32-bit floats over a whole crop would lose the small differences that are looked for.
    kept = nn.functional.pad(torch.cat([x * inside, inside], dim=1).double(), (pad[0] + 1, pad[1]))
    total = kept.cumsum(dim=2)
    sums = total[..., length:] - total[..., :-length]
    return (sums[:, :-1] / sums[:, -1:].clamp(min=1.0)).to(x.dtype)
