"""What many tests share: where real data may lie, and a seeded generator."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parent.parent
SHARED = Path(os.environ.get("MMMOS_SHARED", ROOT.parent / "shared"))
"""A folder of real labels, real rated audio and reference outputs; never part of the repository."""


def shared(path: str) -> Path:
    """A path below SHARED; skips the calling test, with the reason, where it is absent."""
    full = SHARED / path
    if not full.exists():
        pytest.skip(f"needs {path} in a shared data folder (set MMMOS_SHARED), which is not here")
    return full


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)
