"""Every recipe of CONTRIBUTING.md works: applied to a copy of the tree, its contract holds there."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

PAGE = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
COPIED = ("mmmos", "store", "extract", "heads", "tests", "pipeline.py", "pyproject.toml", "CONTRIBUTING.md")

STEP = re.compile(
    r"^(?:In `(?P<file>[^`]+)`, (?P<place>above|in|beside) (?:the other imports|`(?P<name>\w+)`)"
    r"(?:, with[^:]*)?"
    r"|A new file, `(?P<new>[^`]+)`):\n\n```\w+\n(?P<code>.*?)^```",
    flags=re.M | re.S,
)
CONTRACT = re.compile(r"The contract:\n\n```sh\npython -m pytest (?P<tests>[^`]*?)\n```")


def recipes() -> dict[str, str]:
    """Title of a recipe ("A loss") -> its text."""
    _, *parts = re.split(r"^### ", PAGE.partition("\n## Recipes\n")[2], flags=re.M)
    return {title: text for title, _, text in (part.partition("\n") for part in parts)}


def apply(step: re.Match[str], tree: Path) -> None:
    """Do to the copy what one step of a recipe says."""
    code = step["code"]
    if step["new"]:
        (tree / step["new"]).write_text(code, encoding="utf-8")
        return
    path = tree / step["file"]
    text = path.read_text(encoding="utf-8")
    if step["place"] == "beside":
        where = max(found.end() for found in re.finditer(r"^from mmmos.* import .*\n", text, flags=re.M))
    else:
        (literal,) = re.finditer(rf"^{step['name']}\b.*?^[}}\])]", text, flags=re.M | re.S)
        where = literal.start() if step["place"] == "above" else literal.end() - 1
    code = f"{code}\n\n" if step["place"] == "above" else code
    path.write_text(text[:where] + code + text[where:], encoding="utf-8")


@pytest.mark.slow
@pytest.mark.parametrize("title", recipes())
def test_a_recipe_carried_out_passes_its_contract(title: str, tmp_path: Path) -> None:
    for name in COPIED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, tmp_path)
    text = recipes()[title]
    steps, contract = list(STEP.finditer(text)), CONTRACT.search(text)
    blocks = len(re.findall(r"^```(?:python|json|text)\n", text, flags=re.M))
    assert len(steps) == blocks > 0, f"{title}: no sentence above a block of code says where it goes"
    assert contract, f"{title} names no contract tests"
    for step in steps:
        apply(step, tmp_path)
    words = shlex.split(contract["tests"])
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "-p", "no:xdist", *words],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]
