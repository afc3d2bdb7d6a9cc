"""SIGTERM ends a command and its workers with the promised line, and the same command goes on.

Odd settings of Python do not matter.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
import soundfile

from mmmos.heads.scoring.bundle import save_bundle
from mmmos.store.stopping import MESSAGE
from tests.conftest import ROOT
from tests.heads.scoring.made_bundle import logmel, made_bundle
from tests.heads.scoring.published_audiobox import published
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


COUNT = 60
GOES_ON = {
    "extract": ("extract --clips list.csv --audio-root . --encoders logmel --work w", "w"),
    "predict": ("predict list.csv --bundle bundle -o out.csv --resume --device cpu", "out.csv"),
    "audio-aes": ("audio-aes list.jsonl --ckpt weights --device cpu", "said"),
}
"""Verb -> a command, and what shows that it has begun."""


@pytest.mark.parametrize("verb", GOES_ON)
def test_after_sigterm_the_same_command_goes_on_to_its_end(tmp_path: Path, verb: str) -> None:
    rng = np.random.default_rng(0)
    names = [f"{number}.wav" for number in range(COUNT)]
    for name in names:
        soundfile.write(tmp_path / name, 0.1 * rng.standard_normal(32000), 16000)
    (tmp_path / "list.csv").write_text("\n".join(["path", *names]) + "\n")
    (tmp_path / "list.jsonl").write_text("".join(f'{{"path": "{name}"}}\n' for name in names))
    save_bundle(made_bundle([logmel()]), tmp_path / "bundle", "card")
    (tmp_path / "weights").mkdir()
    published(tmp_path / "weights")
    words, begun = GOES_ON[verb]
    command = begin(tmp_path, words)
    while command.poll() is None and not has_begun(tmp_path / begun):
        time.sleep(0.02)
    command.send_signal(signal.SIGTERM)
    _, said = command.communicate(timeout=60)
    assert (command.returncode, said.splitlines()[-1]) == (143, MESSAGE), said
    again = begin(tmp_path, words)
    _, said = again.communicate(timeout=120)
    assert again.returncode == 0, said
    if verb == "predict":
        assert len((tmp_path / "out.csv").read_text().splitlines()) == 1 + COUNT


def begin(folder: Path, words: str) -> subprocess.Popen[str]:
    with (folder / "said").open("w") as said:
        return subprocess.Popen(
            [sys.executable, str(ROOT / "pipeline.py"), *words.split()],
            cwd=folder, stdout=said, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip


def has_begun(path: Path) -> bool:
    return path.is_dir() or (path.is_file() and path.stat().st_size > 0)


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
