"""Scoring new audio, from training to the answer."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from mmmos import load_bundle
from mmmos.heads.ensemble import from_weights
from mmmos.heads.results.chosen import load_ensemble
from mmmos.heads.results.experiment import open_experiment
from mmmos.heads.scoring.bundle import save_bundle
from mmmos.heads.scoring.export import collect
from mmmos.store.schema import AES_AXES
from tests.conftest import ROOT
from tests.heads.scoring.experiment import Experiment, scoring_experiment


@pytest.fixture(scope="module")
def experiment() -> Experiment:
    return scoring_experiment()


def test_new_audio_gets_the_scores_that_training_predicted(experiment: Experiment) -> None:
    opened = open_experiment(experiment.work)
    stored = load_ensemble(opened).predict(opened.runs, "test")
    scorer = load_bundle(experiment.bundle, device="cpu")
    answers = scorer.files(experiment.paths("test"))
    expected = np.clip(stored.values, scorer.bundle.scale.low, scorer.bundle.scale.high)
    found = [[answer[axis] for axis in AES_AXES.names] for answer in answers]
    np.testing.assert_allclose(found, expected, atol=1e-4, rtol=0)


LONG = """
import resource, sys
from mmmos import load_bundle
from mmmos.heads.scoring.requests import list_requests
bundle, short, long = sys.argv[1:]
scorer = load_bundle(bundle, device="cpu")
def peak(path, hop_s):
    (answer,) = scorer.stream(list_requests([path]), hop_s=hop_s)
    assert "error" not in answer, answer
    return answer["seconds"], resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
peak(short, None)
before = peak(short, None)
after = peak(long, None)
print(before[0], before[1], after[0], after[1])
"""


def sparse_recording(path: Path, seconds: float, rate_hz: int) -> None:
    """A recording of mostly nothing: some noise every half hour and at its end, holes on disk between."""
    samples = round(seconds * rate_hz)
    soundfile.write(path, np.zeros(1, np.int16), rate_hz)
    head = bytearray(path.read_bytes()[:44])
    head[4:8] = (36 + 2 * samples).to_bytes(4, "little")
    head[40:44] = (2 * samples).to_bytes(4, "little")
    sound = np.random.default_rng(0).integers(-3000, 3000, rate_hz).astype("<i2").tobytes()
    with path.open("wb") as file:
        file.write(head)
        for start_s in [*np.arange(0, seconds - 1, 1800), seconds - 1]:
            file.seek(44 + 2 * round(start_s * rate_hz))
            file.write(sound)


@pytest.mark.slow
def test_three_hours_take_no_more_memory_than_a_minute(experiment: Experiment, tmp_path: Path) -> None:
    logmel_only = tmp_path / "bundle"
    opened = open_experiment(experiment.work)
    run = next(run for run in opened.runs if run.encoders == ("logmel",))
    save_bundle(
        collect(opened, from_weights("one", {run.id: 1.0}, opened.table.id), accuracy=False), logmel_only, ""
    )
    sparse_recording(tmp_path / "short.wav", 60, 16000)
    sparse_recording(tmp_path / "long.wav", 3 * 3600, 16000)
    words = [sys.executable, "-c", LONG, logmel_only, tmp_path / "short.wav", tmp_path / "long.wav"]
    done = subprocess.run(list(map(str, words)), cwd=ROOT, capture_output=True, text=True, check=True)
    short_s, before_mb, long_s, after_mb = map(float, done.stdout.split())
    assert (short_s, long_s) == (60.0, 10800.0)
    assert after_mb < before_mb + 25, (before_mb, after_mb)
