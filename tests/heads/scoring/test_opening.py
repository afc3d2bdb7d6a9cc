"""Which bundle the commands of scoring take, and what they load for it."""

from __future__ import annotations

import csv
import subprocess
import sys

import numpy as np
import pytest
import soundfile

from mmmos import pipeline
from mmmos.heads.scoring.bundle import save_bundle
from mmmos.store.console import OK, REFUSED
from tests.conftest import ROOT
from tests.heads.scoring.made_bundle import logmel, made_bundle
from tests.heads.scoring.published_audiobox import AXES, published


@pytest.fixture
def audio(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    soundfile.write("a.wav", 0.1 * np.random.default_rng(0).standard_normal(16000), 16000)


def predict(monkeypatch, *words: str) -> int:
    monkeypatch.setattr(sys, "argv", ["mmmos", "predict", *words])
    with pytest.raises(SystemExit) as stop:
        pipeline.main()
    return int(stop.value.code or OK)


def test_without_a_bundle_and_a_work_folder_it_is_audiobox_and_says_so(tmp_path, audio, monkeypatch, capsys):
    monkeypatch.setenv("MMMOS_WEIGHTS", str(tmp_path))
    published(tmp_path / "aes")
    assert predict(monkeypatch, "a.wav", "-o", "scores.csv") == OK
    said = capsys.readouterr().err
    assert "scoring with audiobox" in said
    assert "mmmos calibrate" in said
    (row,) = csv.DictReader((tmp_path / "scores.csv").open())
    assert all(float(row[axis]) for axis in AXES)
    assert {row["PQ_80_low"], row["CE_95_high"]} == {""}


@pytest.mark.parametrize("words", [("--work", "elsewhere"), ()])
def test_a_work_folder_that_is_named_or_there_is_not_passed_over(tmp_path, audio, monkeypatch, capsys, words):
    (tmp_path / "work").mkdir()
    assert predict(monkeypatch, "a.wav", *words) == REFUSED
    assert "has no clips.json" in capsys.readouterr().err


NOT_NEEDED = """
import sys
from mmmos.pipeline import main
sys.argv = ["mmmos", "predict", *sys.argv[1:]]
try:
    main()
finally:
    heavy = ("matplotlib", "optuna", "pandas", "pyarrow", "sklearn", "transformers")
    print(*(name for name in heavy if name in sys.modules))
"""


def test_scoring_loads_no_more_than_it_needs(tmp_path, audio):
    save_bundle(made_bundle([logmel()]), tmp_path / "bundle", "")
    words = [sys.executable, "-c", NOT_NEEDED, tmp_path / "a.wav", "--bundle", tmp_path / "bundle"]
    words += ["-o", tmp_path / "scores.csv"]
    done = subprocess.run(list(map(str, words)), cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.split()) == (OK, []), done.stderr
