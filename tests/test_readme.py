"""Every command and every piece of Python in the README and in docs/ runs, in a folder like a new user's."""

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
from tests.heads.scoring.published_audiobox import published

PAGES = {
    path.name: path.read_text(encoding="utf-8")
    for path in (ROOT / "README.md", *sorted(ROOT.glob("docs/*.md")))
}
"""The README comes first: the pages of docs/ go on with the work folder that its commands leave."""

# What a machine without the network or the corpora is told, in place of the outcome.
ELSEWHERE = {
    "prepare labels labels --download": "put them here",
    "prepare aes": "labels",
}


def blocks(language: str, page: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGES[page], flags=re.M | re.S)


def lines_of_shell(page: str) -> list[str]:
    """Lines of the blocks marked as bash; those marked as sh are for several machines and are only shown."""
    return [line for block in blocks("bash", page) for line in block.splitlines() if line.strip()]


def commands(page: str) -> list[str]:
    start = "python pipeline.py "
    return [line.removeprefix(start) for line in lines_of_shell(page) if line.startswith(start)]


@pytest.mark.parametrize("page", PAGES)
def test_every_line_of_shell_is_one_that_is_run_here(page: str) -> None:
    others = [line for line in lines_of_shell(page) if not line.startswith("python pipeline.py")]
    assert others == (["make demo", "source .venv/bin/activate"] if page == "README.md" else [])


def test_the_readme_is_short_and_shows_the_whole_way() -> None:
    assert len(PAGES["README.md"].splitlines()) <= 170
    verbs = {command.split()[0] for command in commands("README.md")}
    assert verbs >= {
        "extract",
        "heads",
        "ensemble",
        "evaluate",
        "report",
        "predict",
        "compare",
        "prepare",
        "weights",
    }


@pytest.mark.parametrize("page", [*PAGES, "CONTRIBUTING.md", "CHANGELOG.md"])
def test_every_link_leads_to_a_file_that_is_there(page: str) -> None:
    folder = ROOT if (ROOT / page).is_file() else ROOT / "docs"
    links = re.findall(r"\]\((?!https?:)([^)#]*)", (folder / page).read_text(encoding="utf-8"))
    assert [link for link in links if not (folder / link).exists()] == []


def test_commands_and_python_run_as_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lay_out(tmp_path)
    monkeypatch.chdir(tmp_path)
    # Pretrained weights cannot be had everywhere; the log-mel encoder needs none, and audiobox' are made up.
    monkeypatch.setenv("MMMOS_ENCODERS", "logmel")
    monkeypatch.setattr("mmmos.extract.corpora.downloads.BASES", ())
    published(tmp_path / "weights" / "aes")
    monkeypatch.setenv("MMMOS_WEIGHTS", str(tmp_path / "weights"))
    waveform = np.random.default_rng(0).standard_normal(3 * 16000).astype(np.float32) * 0.1
    for page in PAGES:
        for command in commands(page):
            monkeypatch.setattr(sys, "argv", ["pipeline.py", *shlex.split(command)])
            with pytest.raises(SystemExit) as stop:
                pipeline.main()
            err = capsys.readouterr().err
            told = next((text for start, text in ELSEWHERE.items() if command.startswith(start)), None)
            if told is None:
                assert (stop.value.code or OK) == OK, f"{page}: {command}\n{err}"
            else:
                assert stop.value.code == REFUSED
                assert told in err, f"{page}: {command}\n{err}"
        for block in blocks("python", page):
            exec(compile(block, page, "exec"), {"waveform": waveform, "sample_rate": 16000})


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
