"""The recipes of docs/clusters.md for array jobs, run here as their schedulers would run each task."""

from __future__ import annotations

import csv
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.corpus import small_corpus
from tests.heads.scoring.experiment import scoring_experiment

yaml = pytest.importorskip("yaml", reason="comes with the extra [cluster]")

PAGE = (ROOT / "docs" / "clusters.md").read_text()
OF = 3


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A folder with the command `mmmos` on its path, clips.csv, one of whose files is gone, and a bundle."""
    (tmp_path / "bin").mkdir()
    command = tmp_path / "bin" / "mmmos"
    command.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} {ROOT}/pipeline.py "$@"\n')
    command.chmod(0o755)
    clips = small_corpus(tmp_path)
    lines = clips.read_text().replace("audio/", "").splitlines()
    clips.write_text("\n".join(lines[:13]) + "\n")
    (tmp_path / "audio" / "c04.wav").unlink()
    (tmp_path / "bundle").symlink_to(scoring_experiment().bundle)
    return tmp_path


def shell(home: Path, script: str, **environment: str) -> None:
    given = {
        **os.environ,
        "PATH": f"{home / 'bin'}:{os.environ['PATH']}",
        "MMMOS_ENCODERS": "logmel",
        "OMP_NUM_THREADS": "1",
        **environment,
    }
    done = subprocess.run(["sh", "-c", script], cwd=home, env=given, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_slurm_array_extracts_what_one_run_does(home: Path) -> None:
    (script,) = re.findall(r"^```sh\n(#!/bin/bash\n.*?)^```", PAGE, flags=re.M | re.S)
    assert "#SBATCH --array=1-64\n" in script
    assert script.count("/64") == 1
    # One clip in twelve cannot be read, more than the usual floor allows in a part of four.
    script = script.replace("/64", f"/{OF}").replace("extract ", "extract --min-coverage 0.5 ")
    for task in range(1, OF + 1):
        shell(home, script, SLURM_ARRAY_TASK_ID=str(task))
    merge = "mmmos store merge work/parts"
    assert f"&& {merge}\n" in PAGE
    shell(home, f"{merge} || [ $? -eq 3 ]")
    shell(
        home,
        "mmmos extract --clips clips.csv --audio-root audio --work one --min-coverage 0.5 || [ $? -eq 3 ]",
    )
    for name in ("clips.json", "rejects.csv", "extract.json"):
        assert (home / "work" / name).read_bytes() == (home / "one" / name).read_bytes()


def test_an_indexed_job_scores_what_one_run_does(home: Path) -> None:
    (text,) = re.findall(r"^```yaml\n(.*?)^```", PAGE, flags=re.M | re.S)
    job = yaml.safe_load(text)["spec"]
    assert (job["completionMode"], job["completions"]) == ("Indexed", 64)
    (container,) = job["template"]["spec"]["containers"]
    assert container["command"] == ["sh", "-c"]
    (script,) = container["args"]
    assert script.count("/64") == 1
    for index in range(OF):
        shell(home, script.replace("/64", f"/{OF}"), JOB_COMPLETION_INDEX=str(index))
    join = "mmmos predict --join -o scores.csv"
    assert join in PAGE
    shell(home, f"{join} || [ $? -eq 3 ]")
    given = "predict clips.csv --audio-root audio --bundle bundle -o one.csv"
    shell(home, f"mmmos {given} || [ $? -eq 3 ]")
    assert (home / "scores.csv").read_bytes() == (home / "one.csv").read_bytes()
    with (home / "scores.csv").open(newline="") as file:
        assert len(list(csv.DictReader(file))) == 12
