"""A bundle: what goes in comes out, other encoders and damage are refused."""

from __future__ import annotations

import json
import shutil
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file

from mmmos.heads.scoring.bundle import (
    ABOUT,
    CARD,
    REFERENCE,
    BundleError,
    SignatureMismatch,
    read_bundle,
    require_same,
    save_bundle,
)
from mmmos.store.schema import EncoderSpec
from tests.heads.scoring.experiment import Experiment, scoring_experiment
from tests.heads.scoring.made_bundle import SPEECH_AXES, logmel, made_bundle, unsealed


@pytest.fixture(scope="module")
def experiment() -> Experiment:
    return scoring_experiment()


@pytest.fixture
def copy(experiment: Experiment, tmp_path: Path) -> Path:
    return unsealed(Path(shutil.copytree(experiment.bundle, tmp_path / "bundle")))


def edit(folder: Path, **changes: Any) -> None:
    about = json.loads((unsealed(folder) / ABOUT).read_text())
    (folder / ABOUT).write_text(json.dumps({**about, **changes}))


def test_what_goes_in_comes_out(experiment: Experiment, tmp_path: Path) -> None:
    read = read_bundle(experiment.bundle)
    again = read_bundle(save_bundle(read, tmp_path / "again", "card"))
    assert again.id == read.id == json.loads((experiment.bundle / ABOUT).read_text())["id"]
    assert (again.intervals, again.weights, again.about) == (read.intervals, read.weights, read.about)
    assert again.caveats == ("synthetic audio", "untrained wavlm")
    assert {spec.name for spec in again.encoders} == {"wavlm", "logmel"}
    assert {path.name for path in (tmp_path / "again").iterdir()} == {ABOUT, CARD, "heads", REFERENCE}


def test_the_id_follows_everything_that_a_score_depends_on(experiment: Experiment) -> None:
    read = read_bundle(experiment.bundle)
    first = next(iter(read.heads.values()))
    changed = [
        replace(read, weights=(*read.weights[1:], 0.5)),
        replace(read, intervals=replace(read.intervals, base=(1.0,) * 4)),
    ]
    with torch.no_grad():
        changed.append(replace(read, reference=replace(read.reference, limit=9.0)))
        ids = {read.id, *(one.id for one in changed)}
        first.target_mean += 1e-9
    assert len({*ids, read.id}) == 5
    first.target_mean -= 1e-9


def test_other_axes_than_the_papers_go_in_and_come_out(tmp_path: Path) -> None:
    bundle = made_bundle([logmel()], SPEECH_AXES)
    again = read_bundle(save_bundle(bundle, tmp_path, ""))
    assert again.axes == SPEECH_AXES
    assert again.id == bundle.id
    edit(tmp_path, titles=["one"])
    with pytest.raises(BundleError, match="1 titles for 2 axes"):
        read_bundle(tmp_path)


@pytest.mark.parametrize(
    "field", [f.name for f in fields(EncoderSpec) if f.name not in ("name", "gflop", "licence")]
)
def test_other_encoders_are_refused_by_the_name_of_the_field(field: str) -> None:
    spec = logmel()
    value = getattr(spec, field)
    other = replace(spec, **{field: f"{value}x" if isinstance(value, str) else value + 1})
    with pytest.raises(SignatureMismatch, match=rf"logmel.*\n  {field}: .* here, .* there"):
        require_same([spec], [other])
    require_same([spec], [spec])


def flip(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 0x10
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda b: (b / ABOUT).unlink(), "not a bundle: bundle.json is missing"),
        (lambda b: (b / ABOUT).write_text("{"), "Expecting"),
        (lambda b: (b / ABOUT).write_text("[]"), "bundle"),
        (lambda b: edit(b, format="mmmos-bundle-9"), "mmmos-bundle-9"),
        (lambda b: edit(b, members=[]), "0 members"),
        (lambda b: edit(b, members=[{"run": "../../etc/passwd", "weight": 1}]), "not a run id"),
        (lambda b: edit(b, members=[{"run": "nobody", "weight": 1}]), "nobody.safetensors is missing"),
        (lambda b: edit(b, scale={"low": 0, "high": 5}), "its scale"),
        (lambda b: edit(b, axes=["PQ"]), "its axes"),
        (lambda b: edit(b, id="bundle-000000000000"), "damaged, or changed by hand"),
        (lambda b: edit(b, reference={"domains": ["a"], "limit": 1, "clips": 1}), "reference's arrays"),
        (lambda b: (b / "reference.safetensors").write_bytes(b"x" * 20), "whole bundle"),
        (lambda b: flip(b / "reference.safetensors", -5), "reference.safetensors is damaged"),
        (lambda b: flip(next((b / "heads").iterdir()), -7), "changed by hand|not finite"),
    ],
)
def test_what_is_not_a_whole_bundle_is_refused(copy: Path, damage: Any, message: str) -> None:
    damage(copy)
    with pytest.raises(BundleError, match=message):
        read_bundle(copy)


def test_a_bundle_holds_no_code_and_reading_one_runs_none(copy: Path) -> None:
    suffixes = {path.suffix for path in copy.rglob("*") if path.is_file()}
    assert suffixes == {".json", ".md", ".safetensors"}
    weights = json.loads((copy / ABOUT).read_text())["members"]
    edit(copy, members=[{**weights[0], "weight": float("inf")}, *weights[1:]])
    with pytest.raises(BundleError, match="Infinity is not a number"):
        read_bundle(copy)
    arrays = load_file(copy / "reference.safetensors")
    arrays[next(iter(arrays))].flat[0] = np.nan
    save_file(arrays, copy / "reference.safetensors")
    (copy / ABOUT).write_text((copy / ABOUT).read_text().replace("Infinity", str(weights[0]["weight"])))
    with pytest.raises(BundleError, match="not finite"):
        read_bundle(copy)


def test_a_changed_bit_in_any_file_is_found_and_named(experiment: Experiment, tmp_path: Path) -> None:
    whole = Path(shutil.copytree(experiment.bundle, tmp_path / "bundle"))
    for path in (whole / ABOUT, whole / REFERENCE, next((whole / "heads").iterdir())):
        kept = path.read_bytes()
        for at in (0, len(kept) // 3, len(kept) // 2, -1):
            flip(path, at)
            with pytest.raises(BundleError, match=path.name):
                read_bundle(whole)
            path.write_bytes(kept)
    read_bundle(whole)


def test_a_bundle_without_seals_as_0_1_wrote_them_is_read(copy: Path) -> None:
    arrays = load_file(copy / REFERENCE)
    save_file(arrays, copy / REFERENCE)
    assert read_bundle(copy).id == json.loads((copy / ABOUT).read_text())["id"]
