"""What many tests share: where real data may lie, and a seeded generator."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parent.parent
SHARED = Path(os.environ.get("MMMOS_SHARED", ROOT.parent / "shared"))
"""A folder of real labels, real rated audio and reference outputs; never part of the repository."""

os.environ["MMMOS_WEIGHTS"] = str(ROOT / "tests" / "no-weights")
"""Whatever weights the user of this machine has must not change what tests see."""


def shared(path: str) -> Path:
    """A path below SHARED; skips the calling test, with the reason, where it is absent."""
    full = SHARED / path
    if not full.exists():
        pytest.skip(f"needs {path} in a shared data folder (set MMMOS_SHARED), which is not here")
    return full


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


class Outcome:
    """Exit code and what was printed."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Outcome]:
    """Call the command line in this process, as a shell would."""
    from mmmos import pipeline

    def call(*words: object) -> Outcome:
        monkeypatch.setattr(sys, "argv", ["pipeline.py", *map(str, words)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as stop:
            pipeline.main()
        shown = capsys.readouterr()
        return Outcome(int(stop.value.code or 0), shown.out, shown.err)

    return call
