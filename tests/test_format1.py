"""A work folder that was made by revision b6f18a7 loads today, and means the same to the last figures.

tests/golden/format1 holds the folder (table, features of four crops of a demonstration, three heads, an
ensemble, a bundle) and `expected.json`, what that revision's own code said of it.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import shutil
import tarfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mmmos import load_bundle
from mmmos.extract.compute import Compute
from mmmos.extract.decoding import survey_file
from mmmos.extract.demo_corpus import _render as render
from mmmos.extract.demo_corpus import renderings
from mmmos.extract.request import ExtractRequest
from mmmos.extract.run import run
from mmmos.heads.network.model import Head
from mmmos.heads.runs import Run
from mmmos.heads.scoring.golden import golden_waves
from mmmos.heads.training.data import Features
from mmmos.heads.training.outputs import predict
from mmmos.store.clips import load_table
from mmmos.store.features import list_stores
from mmmos.store.maintenance import verify
from mmmos.store.predictions import Predictions, average
from tests.conftest import ROOT

FOLDER = ROOT / "tests" / "golden" / "format1"
EXPECTED: dict[str, Any] = json.loads((FOLDER / "expected.json").read_text())
RUNS: dict[str, Any] = EXPECTED["runs"]


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("format1")
    with tarfile.open(FOLDER / "work.tar.xz") as archive:
        archive.extractall(folder, filter="data")
    return folder


def kept(work: Path, run: str, split: str) -> Predictions:
    return Predictions.load(work / "runs" / run / f"predictions-{split}.parquet")


def test_the_clip_table_has_the_id_it_had(work: Path) -> None:
    assert load_table(work / "clips.json").id == EXPECTED["table"]


def test_stored_features_are_read_bit_for_bit(work: Path) -> None:
    stores = {store.spec.id: store for store in list_stores(work / "features")}
    assert stores.keys() == EXPECTED["features"].keys()
    for spec_id, expected in EXPECTED["features"].items():
        frames, valid = stores[spec_id].frames(expected["crops"])
        means = stores[spec_id].means(expected["crops"])
        assert valid.tolist() == expected["valid_frames"]
        assert hashlib.sha256(frames.tobytes()).hexdigest() == expected["frames"]
        assert hashlib.sha256(means.tobytes()).hexdigest() == expected["means"]
        assert verify(stores[spec_id].folder, fraction=1.0).outcome == "clean"


@pytest.mark.parametrize("run", RUNS)
def test_kept_predictions_are_read_as_they_were_written(work: Path, run: str) -> None:
    for split, expected in RUNS[run]["splits"].items():
        read = kept(work, run, split)
        assert (len(read.clip_ids), list(read.caveats)) == (expected["clips"], expected["caveats"])
        assert read.values.sum(axis=0).tolist() == pytest.approx(expected["sum"], rel=1e-12)


@pytest.mark.parametrize("run", RUNS)
def test_a_head_predicts_from_stored_features_what_it_predicted(work: Path, run: str) -> None:
    table = load_table(work / "clips.json")
    expected: dict[str, list[float]] = RUNS[run]["clips"]
    stored = replace(table, clips=tuple(clip for clip in table.clips if clip.id in expected))
    features = Features(stored, list_stores(work / "features"))
    head = Head.load(Run.open(work / "runs" / run).head_path)
    assert head.config.id == run
    values = predict(head, features, np.arange(len(features.clips)))
    np.testing.assert_allclose(values, [expected[clip.id] for clip in features.clips], atol=1e-4)


def test_the_ensemble_weighs_its_members_as_it_did(work: Path) -> None:
    ensemble = json.loads((work / "ensemble.json").read_text())
    together = average([kept(work, run, "dev") for run in ensemble["members"]], ensemble["weights"])
    expected = EXPECTED["ensemble"]["dev"]
    np.testing.assert_allclose(together.of(list(expected)), list(expected.values()), rtol=1e-12)


def test_the_same_rule_makes_the_same_ensemble(work: Path, tmp_path: Path, cli: Any) -> None:
    before = json.loads((work / "ensemble.json").read_text())
    copy = shutil.copytree(work, tmp_path / "copy")
    assert cli("ensemble", "--work", copy, "--rule", before["rule"]).code == 0
    after = json.loads((copy / "ensemble.json").read_text())
    assert after["members"] == before["members"]
    assert after["weights"] == pytest.approx(before["weights"], rel=1e-6)
    assert before["id"] == EXPECTED["ensemble"]["id"]


def test_a_bundle_scores_the_golden_waveforms_as_it_did(work: Path) -> None:
    scorer = load_bundle(str(work / "bundle"))
    for name, (wave, rate_hz) in golden_waves().items():
        found, expected = scorer(wave, rate_hz, channels=True), EXPECTED["bundle"]["answers"][name]
        numbers = {key: value for key, value in expected.items() if isinstance(value, float)}
        assert len(numbers) == 4 * 6 + 1
        assert {key: found[key] for key in numbers} == pytest.approx(numbers, abs=2e-3)
        told = ("domain", "flags", "caveats", "bundle")
        assert [found[key] for key in told] == [expected[key] for key in told]


WHERE = {"dev-092": "audio/dev-092.wav", "dev-099": "audio/dev-099.flac", "test-130": "audio/test-130.wav"}
"""The clips whose features the folder holds; their content ids are xxh3-128, as all were then."""


def test_features_are_found_again_from_the_same_audio(work: Path, tmp_path: Path) -> None:
    """The table keeps its content ids, nothing is encoded again."""
    items = [list(item) for _, item in itertools.groupby(renderings(0), key=lambda clip: clip.group)]
    for number, item in enumerate(items):
        if {clip.id for clip in item} & WHERE.keys():
            render(tmp_path, item, 0, number)
    then = {clip.id: clip for clip in load_table(work / "clips.json") if clip.id in WHERE}
    if any(survey_file(tmp_path / path).old_id != then[name].audio for name, path in WHERE.items()):
        pytest.skip("this machine's arithmetic renders other samples than the one that made the folder")
    clips = tmp_path / "clips.csv"
    clips.write_text("id,path\n" + "".join(f"{name},{path}\n" for name, path in WHERE.items()))
    again = shutil.copytree(work, tmp_path / "work")
    assert run(ExtractRequest(clips, tmp_path, encoders="logmel"), again, Compute("cpu")) == 0
    table = load_table(again / "clips.json")
    assert {clip.id: clip.audio for clip in table} == {name: clip.audio for name, clip in then.items()}
    (store,) = [store for store in list_stores(again / "features") if store.spec.name == "logmel"]
    assert len(store) == len(EXPECTED["features"][store.spec.id]["crops"])
