"""Every command and every piece of Python in the README runs, in its order, in a folder like a new user's."""

from __future__ import annotations

import re
import shlex
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

from mmmos import pipeline
from mmmos.store.console import OK, REFUSED
from tests.conftest import ROOT
from tests.corpus import small_corpus

README = (ROOT / "README.md").read_text(encoding="utf-8")

# What a machine without the network or the corpora is told, in place of the outcome.
ELSEWHERE = {
    "prepare labels labels --download": "put them here",
    "prepare aes": "labels",
}


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, flags=re.M | re.S)


def commands() -> list[str]:
    lines = [line for block in blocks("bash") for line in block.splitlines()]
    return [
        line.removeprefix("python pipeline.py ") for line in lines if line.startswith("python pipeline.py")
    ]


def test_every_line_of_shell_is_one_that_is_run_here() -> None:
    lines = [line for block in blocks("bash") for line in block.splitlines() if line.strip()]
    assert [line for line in lines if not line.startswith("python pipeline.py")] == ["make demo"]
    assert len(commands()) > 10


def test_commands_and_python_run_as_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lay_out(tmp_path)
    monkeypatch.chdir(tmp_path)
    # Pretrained weights cannot be had everywhere; the log-mel encoder needs none.
    monkeypatch.setenv("MMMOS_ENCODERS", "logmel")
    monkeypatch.setattr("mmmos.extract.corpora.downloads.BASES", ())
    for command in commands():
        monkeypatch.setattr(sys, "argv", ["pipeline.py", *shlex.split(command)])
        with pytest.raises(SystemExit) as stop:
            pipeline.main()
        err = capsys.readouterr().err
        told = next((text for start, text in ELSEWHERE.items() if command.startswith(start)), None)
        if told is None:
            assert (stop.value.code or OK) == OK, f"{command}\n{err}"
        else:
            assert stop.value.code == REFUSED
            assert told in err, f"{command}\n{err}"
    waveform = np.random.default_rng(0).standard_normal(3 * 16000).astype(np.float32) * 0.1
    for block in blocks("python"):
        exec(compile(block, "README.md", "exec"), {"waveform": waveform, "sample_rate": 16000})


def lay_out(folder: Path) -> None:
    """clips.csv, audio/, audio_a/, audio_b/, a.wav and folder/, as the README names them."""
    table = small_corpus(folder)
    text = (
        table.read_text()
        .replace(",audio/c00.wav", ",audio/a1.wav")
        .replace(",audio/c01.wav", ",audio/a2.wav")
    )
    table.write_text(text.replace("audio/", ""))
    audio = folder / "audio"
    (audio / "c00.wav").rename(audio / "a1.wav")
    (audio / "c01.wav").rename(audio / "a2.wav")
    for name in ("audio_a", "audio_b", "folder"):
        (folder / name).mkdir()
        for number in range(2, 8):
            shutil.copy(audio / f"c{number:02d}.wav", folder / name)
    shutil.copy(audio / "a1.wav", folder / "a.wav")
