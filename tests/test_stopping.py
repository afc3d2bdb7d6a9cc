"""SIGTERM ends a command and its workers with the promised line; odd settings of Python do not matter."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from mmmos.store.stopping import MESSAGE
from tests.conftest import ROOT
from tests.heads.small import M2D, WAVLM, work_folder

ENDLESS = ("--jobs", "2", "--epochs", "200000", "--patience", "200000")
WORDS = {
    "heads": ("heads", "--aggregator", "mlp", *ENDLESS),
    "sweep": ("heads", "--sweep", "--aggregator", "mlp", "--loss", "ut", "--trials", "9", *ENDLESS),
}


@pytest.mark.parametrize("name", WORDS)
def test_sigterm_ends_a_training_and_its_workers(tmp_path: Path, name: str) -> None:
    work = work_folder(tmp_path, count=36, specs=(WAVLM, M2D))
    words = (sys.executable, "pipeline.py", *WORDS[name], "--work", str(work))
    with subprocess.Popen(
        words, cwd=ROOT, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as command:
        process = psutil.Process(command.pid)
        while command.poll() is None and len(workers := busy(process)) < 2:
            time.sleep(0.2)
        command.send_signal(signal.SIGTERM)
        _, said = command.communicate(timeout=60)
    assert said.splitlines()[-1] == MESSAGE, said
    assert "Traceback" not in said
    assert command.returncode == 143
    assert not [one for one in workers if one.is_running() and one.status() != psutil.STATUS_ZOMBIE]


def busy(process: psutil.Process) -> list[psutil.Process]:
    return [
        one for one in process.children(recursive=True) if "resource_tracker" not in " ".join(one.cmdline())
    ]


LATIN = {"LC_ALL": "en_US.ISO-8859-1", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


@pytest.mark.parametrize("setting", [{"PYTHONOPTIMIZE": "2"}, LATIN])
def test_the_command_line_begins_anew_where_python_was_told_what_it_cannot_work_with(
    setting: dict[str, str],
) -> None:
    done = subprocess.run(
        [sys.executable, "pipeline.py", "ensemble", "--help"],
        cwd=ROOT, env={**os.environ, **setting}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "--rule" in done.stdout
