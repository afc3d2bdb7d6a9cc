"""Tiny networks with weights that any machine can make again, and excerpts of what they put out.

    python -m tests.extract.encoders.golden SHARED      writes tests/golden/encoders.npz anew

The log-mel excerpts come from the authors' own code (SHARED/reference); the hidden states from the
published implementations, at a time when those agreed with the authors' code to 6e-6.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch
from torch import nn

from mmmos.extract.encoders import m2d, muq, wavlm
from mmmos.extract.encoders.encoder import LoadOptions

FILE = Path(__file__).resolve().parents[2] / "golden" / "encoders.npz"
MODULES = {"wavlm": wavlm, "muq": muq, "m2d": m2d}
SPECTRA = (5, 12, 23, 38)
"""Which of the reference's spectra (every 25th) are excerpted; all far from the reflected ends."""
NEIGHBOURS = 10
"""Spectra on either side whose samples an excerpt carries, so that its own window is whole."""


def waveform(samples: int, rate_hz: int) -> torch.Tensor:
    """[1, samples]: a falling chirp, two partials that stop, and noise from numpy's frozen generator."""
    time_s = np.arange(samples) / rate_hz
    chirp = 0.2 * np.sin(2 * np.pi * (3000.0 - 140.0 * time_s) * time_s)
    partials = 0.1 * (np.sin(2 * np.pi * 220.0 * time_s) + np.sin(2 * np.pi * 663.0 * time_s)) * (time_s < 6)
    noise = 0.02 * np.random.RandomState(1).standard_normal(samples)
    return torch.from_numpy((chirp + partials + noise).astype(np.float32))[None]


def fill(network: nn.Module) -> None:
    """Weights of unit gain, norms near one, from numpy's frozen generator in the keys' order."""
    generator = np.random.RandomState(0)
    for key, tensor in sorted(network.state_dict().items()):
        values = generator.standard_normal(tuple(tensor.shape))
        if key.endswith(("running_var", "original0", "weight_g")) or (
            key.endswith("weight") and values.ndim == 1
        ):
            values = 1.0 + 0.2 * np.abs(values)
        elif values.ndim > 1:
            values /= np.sqrt(np.prod(values.shape[1:]))
        if tensor.is_floating_point() and not key.endswith("inv_freq"):
            tensor.copy_(torch.from_numpy(np.asarray(values)))


def states(name: str) -> np.ndarray:
    """Every 25th frame of the tiny network's hidden states, [L, T', D]."""
    module = MODULES[name]
    network = module.load(LoadOptions(random_seed=0, size="tiny", stock=True)).network.eval()
    with torch.inference_mode():
        fill(network)
        hidden = network(waveform(10 * module.SAMPLE_RATE_HZ, module.SAMPLE_RATE_HZ))
    return torch.stack([state[0, ::25] for state in hidden]).numpy()


def excerpts(reference: Path, wave_key: str, hop_samples: int) -> tuple[np.ndarray, np.ndarray]:
    """Pieces of the reference's waveform [4, samples] and its spectra at their middles [4, bands]."""
    arrays = np.load(reference / "expected.npz")
    pieces, spectra = [], []
    for spectrum in SPECTRA:
        start = (25 * spectrum - NEIGHBOURS) * hop_samples
        pieces.append(arrays[wave_key][0, start : start + 2 * NEIGHBOURS * hop_samples])
        spectra.append(arrays["log_mel"][0, :, spectrum])
    return np.stack(pieces), np.stack(spectra)


def main(shared: Path) -> None:
    arrays = {f"{name}_states": states(name) for name in MODULES}
    for name, wave_key, hop in (("muq", "waveform_24k", 240), ("m2d", "waveform_16k", 160)):
        pieces, spectra = excerpts(shared / "reference" / f"{name}_tiny", wave_key, hop)
        arrays |= {f"{name}_waves": pieces, f"{name}_log_mel": spectra}
    np.savez_compressed(FILE, **arrays)
    print(FILE, FILE.stat().st_size, {key: array.shape for key, array in arrays.items()})


if __name__ == "__main__":
    main(Path(sys.argv[1]))
