"""Resident memory does not grow with the number of crops."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from mmmos.extract.audio import write_audio

PROGRAM = """
import resource, sys
from dataclasses import replace
from pathlib import Path
from mmmos.extract.audio import AUDIO_RECIPE
from mmmos.extract.decoding import survey_file
from mmmos.extract.encoders import load_encoder
from mmmos.extract.extraction import extract
from mmmos.store.clips import ClipTable
from mmmos.store.schema import Clip
root, crops, name = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
info = survey_file(root / "a.wav")
clips = tuple(Clip(str(i), "a.wav", audio=f"{i:032x}", duration_s=info.duration_s) for i in range(crops))
encoder = load_encoder(name, audio_recipe=AUDIO_RECIPE, random_seed=0, size="tiny")
summary = extract(ClipTable(clips), root, [encoder], root / f"{name}-{crops}", quiet=True)
assert summary.encoded == {name: crops}
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def peak_kib(root: Path, crops: int, name: str) -> int:
    """Peak resident KiB of a process of its own that encodes `crops` crops."""
    command = [sys.executable, "-c", PROGRAM, str(root), str(crops), name]
    repository = Path(__file__).resolve().parents[2]
    done = subprocess.run(command, cwd=repository, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


@pytest.mark.slow
def test_a_thousand_crops_take_the_memory_of_a_hundred(tmp_path: Path) -> None:
    write_audio(tmp_path / "a.wav", 0.1 * np.random.default_rng(0).standard_normal((24000, 1)), 24000)
    small, large = peak_kib(tmp_path, 100, "logmel"), peak_kib(tmp_path, 1000, "logmel")
    assert large < 1.05 * small
