"""The encoders' arithmetic, held to numbers that travel with the repository."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from mmmos.extract.encoders.m2d_patches import LogMelImage
from mmmos.extract.encoders.mel import MuqLogMel
from tests.extract.encoders import golden


@pytest.fixture(scope="module")
def arrays() -> dict[str, np.ndarray]:
    return dict(np.load(golden.FILE))


@pytest.mark.parametrize("name", golden.MODULES)
def test_hidden_states(name, arrays):
    expected = arrays[f"{name}_states"]
    assert np.abs(golden.states(name) - expected).max() <= 1e-4 * np.abs(expected).max()


@pytest.mark.parametrize(
    ("name", "log_mel"), [("muq", MuqLogMel()), ("m2d", LogMelImage(0.0, 1.0).log_mel)], ids=["muq", "m2d"]
)
def test_the_authors_log_mel(name, log_mel, arrays):
    expected = arrays[f"{name}_log_mel"]
    spectra = log_mel(torch.from_numpy(arrays[f"{name}_waves"]))[..., golden.NEIGHBOURS].numpy()
    assert np.abs(spectra - expected).max() <= 1e-5 * np.abs(expected).max()
