"""Names are only names: whatever clips are called, every verb shows them inert and gives them back."""

from __future__ import annotations

import csv
import json
import re
import unicodedata
from pathlib import Path

import numpy as np
import pytest
import soundfile

from mmmos.heads.scoring.bundle import save_bundle
from mmmos.store.console import OK, REJECTS
from mmmos.store.escape import from_spreadsheet
from tests.heads.scoring.made_bundle import logmel, made_bundle
from tests.heads.scoring.published_audiobox import published

NAMES = (
    "=1+1", "@SUM(A1)", "-b", "$x^2_{$", "$\\frac{1}{0}$", "<script>alert(1)", "<b>bold",
    "[link](javascript:x)", "`code`|pipe", "**b** #1 ~t~", "[red]x[-red]", ":smile:", "a\u202egpj",
    "\u200bzero", "line\u2028sep", "tag\U000e0041", "nfc\u00e9", "\u65e5\u672c", "all", "'all'",
    "\\alpha", "&amp;", "%s{x}", "a'b\"c",
)  # fmt: skip
"""Formulas, mathtext, HTML, Markdown, console markup, marks that turn writing, words with a meaning."""

OF_AUDIO = "--audio-root audio --bundle bundle --device cpu"
VERBS: dict[str, tuple[str, ...]] = {
    "prepare": ("prepare table list.csv --audio audio -o out.csv",),
    "extract": (
        *(f"extract --clips list.csv --audio-root audio --encoders logmel --part {n}/2" for n in (1, 2)),
        "store merge work/parts",
        "store verify --all",
    ),
    "predict": (
        *(f"predict list.csv {OF_AUDIO} -o out.csv --part {n}/2" for n in (1, 2)),
        "predict --join -o out.csv",
    ),
    "shown": (f"predict list.csv {OF_AUDIO}",),
    "resume": (f"predict list.csv {OF_AUDIO} -o out.csv", f"predict list.csv {OF_AUDIO} -o out.csv --resume"),
    "compare": ("compare audio audio --bundle bundle --device cpu",),
    "calibrate": (f"calibrate --clips list.csv {OF_AUDIO} -o calibrated",),
    "audio-aes": ("audio-aes audio/in.jsonl --ckpt weights --device cpu",),
    "train": (
        "train list.csv --audio audio --work work --encoders logmel --jobs 1",
        "evaluate --baseline audiobox --weights weights --audio-root audio --device cpu",
        "ensemble --compare",
        "report",
    ),
}
"""Verb -> commands that hand on every name."""


@pytest.fixture
def corpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A second of noise of each name, whose domain, system and group have odd names too, and a bundle."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    (tmp_path / "audio").mkdir()
    rows = []
    for number, name in enumerate(NAMES):
        samples = (0.01 + 0.1 * rng.random()) * rng.standard_normal(16000)
        soundfile.write(tmp_path / "audio" / f"{name}.wav", samples, 16000)
        about = (NAMES[number % 3], NAMES[5 + number % 4], NAMES[number // 2], ("train", "test")[number % 2])
        rows.append((name, f"{name}.wav", *about, *rng.uniform(2, 8, 4).round(1)))
    with (tmp_path / "list.csv").open("w", newline="") as file:
        columns = ("id", "path", "domain", "system", "group", "split", "CE", "CU", "PC", "PQ")
        csv.writer(file).writerows([columns, *rows])
    lines = [json.dumps({"path": f"audio/{name}.wav"}) for name in (*NAMES, "caf\udce9", "a\0b", "x" * 5000)]
    (tmp_path / "audio" / "in.jsonl").write_text("\n".join(lines))
    save_bundle(made_bundle([logmel()]), tmp_path / "bundle", "card")
    published(tmp_path / "weights")
    return tmp_path


@pytest.mark.parametrize("verb", VERBS)
def test_whatever_clips_are_called_nothing_acts_and_nothing_is_lost(cli, corpus: Path, verb: str) -> None:
    there = set(corpus.rglob("*"))
    for words in VERBS[verb]:
        done = cli(*words.split())
        assert done.code == (REJECTS if verb == "audio-aes" else OK), done.err
        assert "Traceback" not in done.err
        if verb == "audio-aes":
            assert len([json.loads(line) for line in done.out.splitlines()]) == len(NAMES) + 3
        assert not acting(done.out)
        assert not acting(done.err)
    for path in set(corpus.rglob("*")) - there:
        if path.suffix in (".html", ".md"):
            text = path.read_text()
            assert not acting(text)
            assert not re.search("<script>alert|<b>bold", text), path
            assert path.suffix == ".html" or "[link](" not in text, path
        elif path.suffix == ".csv":
            assert not [cell for row in cells(path) for cell in row if re.match("[=+@]|-b", cell)], path
    if (corpus / "out.csv").exists():
        header, *rows = cells(corpus / "out.csv")
        assert [from_spreadsheet(row[header.index("id")]) for row in rows] == list(NAMES)


def acting(text: str) -> list[str]:
    """Characters that act on a terminal or turn what is read."""
    return [
        letter
        for letter in text
        if (unicodedata.category(letter) in ("Cc", "Cf", "Zl", "Zp") and letter not in "\n\t\u200c\u200d")
    ]


def cells(path: Path) -> list[list[str]]:
    with path.open(newline="") as file:
        return list(csv.reader(file))
