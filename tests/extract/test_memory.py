"""Resident memory does not grow with the number of crops."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import resource, sys
from pathlib import Path
import numpy as np
from mmmos.extract.audio import AUDIO_RECIPE, write_audio
from mmmos.extract.encoders import load_encoder
from mmmos.extract.extraction import extract
from mmmos.extract.survey import survey
from mmmos.store.clips import ClipTable
from mmmos.store.schema import Clip
root, crops, name = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
folder = root / str(crops)
folder.mkdir()
for i in range(crops):
    write_audio(folder / f"{i}.wav", np.full((24000, 1), (i + 1) / 2000), 24000)
table, _ = survey(ClipTable(tuple(Clip(str(i), f"{i}.wav") for i in range(crops))), folder, quiet=True)
encoder = load_encoder(name, audio_recipe=AUDIO_RECIPE, random_seed=0, size="tiny")
summary = extract(table, folder, [encoder], root / f"{name}-{crops}", quiet=True)
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
    small, large = peak_kib(tmp_path, 100, "logmel"), peak_kib(tmp_path, 1000, "logmel")
    assert large < 1.05 * small
