"""What a stranger writes into bundle.json ends in one line, before anything is loaded because of it."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from mmmos.heads.network.model import Head
from mmmos.heads.scoring.bundle import ABOUT, REFERENCE, BundleError, read_bundle, save_bundle
from tests.heads.scoring.made_bundle import logmel, made_bundle, unsealed


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    made = made_bundle([logmel()])
    made.about["golden"] = {"buzz": {"PQ": 5.0}}
    return unsealed(save_bundle(made, tmp_path / "bundle", "card"))


def edit(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    about = json.loads((folder / ABOUT).read_text())
    change(about)
    (folder / ABOUT).write_text(json.dumps(about))


def replaced(name: str, old: str, new: str) -> Callable[[Path], object]:
    def change(folder: Path) -> None:
        text = (folder / name).read_text()
        assert old in text
        (folder / name).write_text(text.replace(old, new))

    return change


def forged(**config: Any) -> Callable[[Path], object]:
    """A head whose description says something else."""

    def change(folder: Path) -> None:
        (path,) = (folder / "heads").iterdir()
        with safe_open(path, "pt") as file:
            about = json.loads(file.metadata()["head"])
        for name, value in config.items():
            (about["config"] if name in about["config"] else about["encoders"][0])[name] = value
        save_file(load_file(path), path, {"head": json.dumps(about)})

    return change


def piped(*names: str) -> Callable[[Path], object]:
    def change(folder: Path) -> None:
        for name in names:
            path = folder / name if "/" not in name else next((folder / "heads").iterdir())
            path.unlink()
            os.mkfifo(path)

    return change


def linked(folder: Path) -> None:
    (folder / ABOUT).unlink()
    (folder / ABOUT).symlink_to(folder / ABOUT)


def heads_as_a_pipe(folder: Path) -> None:
    shutil.rmtree(folder / "heads")
    os.mkfifo(folder / "heads")


def sparse(name: str, size: int) -> Callable[[Path], object]:
    return lambda folder: os.truncate(folder / name, size)


HOSTILE: dict[str, tuple[Callable[[Path], object], str]] = {
    "too many clips": (replaced(ABOUT, '"quantile": 0.99', '"quantile": 0.99, "x": 1e999'), "too large"),
    "clips that are no number": (lambda b: edit(b, lambda a: a["reference"].update(clips="9")), "clips"),
    "a key twice": (replaced(ABOUT, '"caveats"', '"caveats": [], "caveats"'), "occurs twice"),
    "deep": (lambda b: (b / ABOUT).write_text("[" * 100_000), "nested too deeply"),
    "no object": (lambda b: (b / ABOUT).write_text("[]"), "no JSON object"),
    "a scale of texts": (lambda b: edit(b, lambda a: a.update(scale={"low": "0", "high": "9"})), "scale"),
    "100,000 members": (
        lambda b: edit(
            b, lambda a: a.update(members=[{"run": f"r{i}", "weight": 1e-5} for i in range(100_000)])
        ),
        "100000 members; 1 to 1000",
    ),
    "weights beyond counting": (
        lambda b: edit(b, lambda a: a["members"][0].update(weight=1e308)),
        "sum to 1e",
    ),
    "a weight with 400 digits": (
        lambda b: edit(b, lambda a: a["members"][0].update(weight=10**400)),
        "too large a number",
    ),
    "a weight that is no number": (
        lambda b: edit(b, lambda a: a["members"][0].update(weight=True)),
        "numbers",
    ),
    "a weight of NaN": (replaced(ABOUT, '"weight": 1.0', '"weight": NaN'), "NaN is not a number"),
    "a run that is a list": (lambda b: edit(b, lambda a: a["members"][0].update(run=[])), "run is"),
    "golden texts": (lambda b: edit(b, lambda a: a.update(golden={"buzz": {"PQ": "5"}})), "golden"),
    "golden of nothing known": (lambda b: edit(b, lambda a: a.update(golden={"x": {}})), "golden"),
    "golden list": (lambda b: edit(b, lambda a: a.update(golden=[1])), "golden"),
    "golden axis": (lambda b: edit(b, lambda a: a.update(golden={"buzz": {"XX": 1}})), "golden"),
    "caveats as a text": (lambda b: edit(b, lambda a: a.update(caveats="none")), "caveats"),
    "titles of numbers": (lambda b: edit(b, lambda a: a.update(titles=[1, 2, 3, 4])), "titles"),
    "domains as a number": (lambda b: edit(b, lambda a: a["reference"].update(domains=7)), "domains"),
    "a limit as text": (lambda b: edit(b, lambda a: a["reference"].update(limit="x")), "limit|float"),
    "coverage of nothing": (lambda b: edit(b, lambda a: a["intervals"].update(coverage=[{}])), "missing"),
    "intervals as a list": (lambda b: edit(b, lambda a: a.update(intervals=[])), "list"),
    "width of text": (forged(width="x"), "width is 'x'"),
    "width 0 of a BLSTM": (forged(aggregator="blstm_t", width=0, frame_rate_hz=6.25), "width is 0"),
    "a rate of 0": (forged(aggregator="blstm_t", width=4, frame_rate_hz=0.0), "frame_rate_hz is 0"),
    "a rate of text": (forged(aggregator="blstm_t", width=4, frame_rate_hz="x"), "frame_rate_hz is 'x'"),
    "a rate of 6e7": (forged(aggregator="blstm_t", width=4, frame_rate_hz=6e7), "frame_rate_hz is 6"),
    "hidden as a float": (forged(hidden=1.5), "hidden is 1.5"),
    "a seed beyond counting": (forged(seed=10**30), "too large a number"),
    "an encoder without frames": (forged(frames=0), "not plausible"),
    "an encoder with a list as rate": (forged(sample_rate_hz=[]), "sample_rate_hz"),
    "a pipe as bundle.json": (piped(ABOUT), "not a regular file"),
    "a pipe as a head": (piped("heads/"), "not a regular file"),
    "a pipe as reference": (piped(REFERENCE), "not a regular file"),
    "a pipe as heads": (heads_as_a_pipe, "Not a directory"),
    "a link to itself": (linked, "Too many levels"),
    "a web page as reference": (
        lambda b: (b / REFERENCE).write_text("<html>"),
        rf"not a whole bundle: {REFERENCE}: ",
    ),
    "a reference of a terabyte": (sparse(REFERENCE, 1 << 40), "at most"),
    "a description of a terabyte": (sparse(ABOUT, 1 << 40), "at most"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_bundle_is_refused_in_one_line(
    case: str, copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    change, said = HOSTILE[case]
    change(copy)
    if said.endswith("members; 1 to 1000"):
        monkeypatch.setattr(Head, "load", lambda path: pytest.fail("the limit is asked first"))
    with pytest.raises(BundleError, match=said) as refused:
        read_bundle(copy)
    message = str(refused.value)
    assert message.startswith(str(copy))
    assert "\n" not in message
    assert len(message) < 700
