"""No command writes over what it did not make: every verb has its line here, or says why it needs none."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from mmmos.pipeline import app
from mmmos.store.work_folder import MARKS

MINE = "mine, and there is no other copy\n"

REFUSES: dict[str, tuple[tuple[str, str], ...]] = {
    "train": (
        ("{0}/ratings.csv --work {0}", "clips.csv"),
        ("{0}/ratings.csv --work {0}", "ensemble.json"),
        ("{0}/ratings.csv --work {0}", "prior/notes.txt"),
        ("{0}/ratings.csv --work {0}/w -o {0}/b", "b/README.md"),
    ),
    "prepare labels": (("{0} --download", "AES_PAM.jsonl"),),
    "prepare aes": (
        ("--audio-root {0} -o {0}/clips.csv", "clips.csv"),
        ("--audio-root {0} -o {0}/clips.csv", "clips-findings.csv"),
    ),
    "prepare table": (
        ("{0}/ratings.csv -o {0}/clips.csv", "clips.csv"),
        ("{0}/ratings.csv -o {0}/ratings.csv", "ratings.csv"),
        ("{0}/ratings.csv -o {0}/clips.csv", "clips.raters.csv"),
    ),
    "prepare audioeval": (
        ("{0}/set -o {0}/t.csv --no-download", "t.csv"),
        ("{0}/set -o {0}/t.csv --accept-licence", "set/mine.txt"),
    ),
    "prepare songeval": (
        ("{0}/set -o {0}/t.csv --no-download", "t.csv"),
        ("{0}/set -o {0}/t.csv --accept-licence", "set/mine.txt"),
    ),
    "prepare pam": (("{0}/set -o {0}/t.csv --no-download", "t.csv"),),
    "extract": tuple(("--clips {0}/ratings.csv --work {0}", name) for name in MARKS),
    "heads": (("--work {0}", "grids.json"), ("--work {0} --sweep", "sweep.journal")),
    "ensemble": (("--work {0}", "ensemble.json"), ("--work {0} --export {0}/b", "b/README.md")),
    "evaluate": (("--work {0}", "evaluation.csv"), ("--work {0}", "comparison.csv")),
    "report": (("--work {0}", "report.html"), ("--work {0} -o {0}/page.html", "page.html")),
    "reproduce": (("--clips {0}/ratings.csv --work {0}", "reproduction.json"),),
    "predict": (
        ("{0}/a.wav --work {0} -o {0}/out.csv", "out.csv"),
        ("{0}/a.wav --work {0}", "bundle/README.md"),
    ),
    "compare": (("{0}/a.wav {0}/a.wav --work {0}", "bundle/README.md"),),
    "calibrate": (
        ("--clips {0}/ratings.csv -o {0}/b", "b/README.md"),
        ("--clips {0}/ratings.csv --work {0}", "bundle/README.md"),
    ),
    "adopt": (("audiobox --work {0}", "grids.json"), ("audiobox --work {0}", "prior/notes.txt")),
    "sensitivity": (
        ("--audio {0}/a.wav -o {0}/s", "s/sensitivity.csv"),
        ("--audio {0}/a.wav -o {0}/s", "s/sensitivity.svg"),
        ("--audio {0}/a.wav --work {0}", "bundle/README.md"),
    ),
    "serve": (("--work {0}", "bundle/README.md"),),
    "demo": (("--work {0}", "mine.txt"),),
    "store export": (("--work {0}/w --npz {0}/n", "n/logmel-0.npz"),),
}
"""Verb -> options, and a file of somebody else's that stands in the way; {0} is the folder."""

WRITES_NOTHING_OF_THAT_NAME = {
    "weights": "fetches what is missing into a folder of its own, and takes what lies there as it is",
    "push": "uploads, and writes nothing here",
    "audio-aes": "prints",
    "store info": "prints",
    "store verify": "prints",
    "store gc": "removes temporaries of dead writers, told by the 32 random digits of their names",
    "store merge": "adds shards, whose names are hashes of what is in them",
}
"""Verb -> why it cannot meet a file of somebody else's."""


def verbs(command: Any, name: str = "") -> Iterator[str]:
    """Every verb of the command line: "train", "store gc", ..."""
    if hasattr(command, "commands"):
        for below, one in command.commands.items():
            yield from verbs(one, f"{name} {below}".strip())
    else:
        yield name


def test_every_verb_has_its_line() -> None:
    listed = [*REFUSES, *WRITES_NOTHING_OF_THAT_NAME]
    assert sorted(listed) == sorted(verbs(typer.main.get_command(app)))


@pytest.mark.parametrize(
    ("verb", "words", "name"), [(verb, *case) for verb, cases in REFUSES.items() for case in cases]
)
def test_what_somebody_else_put_there_stays(
    cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, verb: str, words: str, name: str
) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    monkeypatch.chdir(tmp_path)
    (folder / "ratings.csv").write_text("id,path,PQ\na,a.wav,5\n")
    (folder / "a.wav").write_bytes(b"")
    if verb == "store export":
        pytest.importorskip("h5py")
        stored(folder / "w")
        (store,) = (folder / "w" / "features").iterdir()
        name = f"n/{store.name}.npz"
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_text(MINE)
    before = everything(folder)
    done = cli(*verb.split(), *(word.format(folder) for word in words.split()))
    assert done.code == 2, done.err
    assert Path(name).name in done.err
    assert everything(folder) == before
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def everything(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def stored(work: Path) -> None:
    """A table without clips and an empty store."""
    from mmmos.store.clips import ClipTable, save_table
    from mmmos.store.schema import Clip
    from mmmos.store.specs import write_spec
    from tests.heads.scoring.made_bundle import logmel

    save_table(ClipTable((Clip("a", "a.wav"),)), work / "clips.json")
    write_spec(work / "features" / logmel().id, logmel())
