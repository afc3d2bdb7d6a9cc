"""A bundle: what goes in comes out, strangers and damage do not, and only what is needed is loaded."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file

from mmmos.extract.audio import AUDIO_RECIPE
from mmmos.extract.encoders import WeightsMissing, load_encoder
from mmmos.heads.config import HeadConfig
from mmmos.heads.ensemble import from_weights
from mmmos.heads.network.model import Head
from mmmos.heads.results.experiment import open_experiment
from mmmos.heads.scoring import bundle as module
from mmmos.heads.scoring.bundle import (
    ABOUT,
    CARD,
    REFERENCE,
    Bundle,
    BundleError,
    SignatureMismatch,
    load_bundle,
    read_bundle,
    require_same,
    save_bundle,
)
from mmmos.heads.scoring.export import bundle_of_work, collect
from mmmos.heads.scoring.golden import golden_scores, golden_waves
from mmmos.heads.scoring.hub import from_pretrained, push_to_hub
from mmmos.heads.scoring.intervals import LEVELS, Intervals
from mmmos.heads.scoring.model_card import model_card
from mmmos.heads.scoring.reference import Reference
from mmmos.store.schema import AXES, EncoderSpec, Scale
from tests.conftest import ROOT
from tests.heads.scoring.experiment import Experiment, scoring_experiment


@pytest.fixture(scope="module")
def experiment() -> Experiment:
    return scoring_experiment()


@pytest.fixture
def copy(experiment: Experiment, tmp_path: Path) -> Path:
    return Path(shutil.copytree(experiment.bundle, tmp_path / "bundle"))


def edit(folder: Path, **changes: Any) -> None:
    about = json.loads((folder / ABOUT).read_text())
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


def test_stale_heads_do_not_stay(experiment: Experiment, tmp_path: Path) -> None:
    opened = open_experiment(experiment.work)
    for run in opened.runs[:2]:
        bundle = collect(opened, from_weights("one", {run.id: 1.0}, opened.table.id), resamples=0)
        save_bundle(bundle, tmp_path, "")
        assert [path.stem for path in (tmp_path / "heads").iterdir()] == [run.id]


def test_a_work_folders_bundle_is_made_once_and_again_for_another_ensemble(
    experiment: Experiment, tmp_path: Path
) -> None:
    work = Path(shutil.copytree(experiment.work, tmp_path / "work"))
    folder = bundle_of_work(work)
    before = (folder / ABOUT).stat().st_mtime_ns
    assert bundle_of_work(work) == folder
    assert (folder / ABOUT).stat().st_mtime_ns == before
    opened = open_experiment(work)
    from_weights("one", {opened.runs[0].id: 1.0}, opened.table.id).save(work / "ensemble.json")
    assert len(read_bundle(bundle_of_work(work)).heads) == 1
    assert not (work / "test-scores").exists() or len(list((work / "test-scores").iterdir())) == 1


def test_only_the_encoders_of_the_members_are_loaded(
    experiment: Experiment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mmmos.extract import front

    loaded: list[str] = []
    real = front.load_encoder

    def spy(name: str, **options: Any) -> Any:
        loaded.append(name)
        return real(name, **options)

    monkeypatch.setattr(front, "load_encoder", spy)
    opened = open_experiment(experiment.work)
    run = next(run for run in opened.runs if run.encoders == ("logmel",))
    bundle = collect(opened, from_weights("one", {run.id: 1.0}, opened.table.id), resamples=0)
    load_bundle(save_bundle(bundle, tmp_path / "one", ""), device="cpu")
    assert loaded == ["logmel"]
    load_bundle(experiment.bundle, device="cpu")
    assert sorted(loaded[1:]) == ["logmel", "wavlm"]


@pytest.mark.parametrize("field", [field for field in EncoderSpec.__dataclass_fields__ if field != "name"])
def test_other_encoders_are_refused_by_the_name_of_the_field(field: str) -> None:
    spec = load_encoder("logmel", audio_recipe=AUDIO_RECIPE).spec
    value = getattr(spec, field)
    other = replace(spec, **{field: f"{value}x" if isinstance(value, str) else value + 1})
    with pytest.raises(SignatureMismatch, match=rf"logmel.*\n  {field}: .* here, .* there"):
        require_same([spec], [other])
    require_same([spec], [spec])


def test_a_changed_audio_recipe_is_refused_when_loading(
    experiment: Experiment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mmmos.extract.front.AUDIO_RECIPE", "another rule")
    with pytest.raises(SignatureMismatch, match="audio: 'another rule' here"):
        load_bundle(experiment.bundle, device="cpu")


def test_pretrained_weights_that_are_missing_are_asked_for_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    spec = EncoderSpec(
        "wavlm",
        "microsoft/wavlm-base-plus",
        "0" * 64,
        "full",
        "mean",
        16000,
        50.0,
        499,
        768,
        13,
        "fp32",
        1,
        AUDIO_RECIPE,
    )
    folder = save_bundle(made_bundle([spec]), tmp_path, "")
    with pytest.raises(WeightsMissing, match="wavlm"):
        load_bundle(folder, device="cpu", weights=tmp_path)


def made_bundle(specs: list[EncoderSpec], seed: int = 0) -> Bundle:
    """A bundle of one untrained head whose numbers come from a formula, the same on every machine."""
    config = HeadConfig("data-000000000000", tuple(spec.id for spec in specs), "mlp", "ut", hidden=8)
    head = Head(config, specs, AXES, Scale(1, 10))
    with torch.no_grad():
        for number, parameter in enumerate(head.parameters(), seed):
            wave = np.sin(1.7 * np.arange(parameter.numel()) + number) / np.sqrt(parameter.shape[-1])
            parameter.copy_(torch.from_numpy(wave.astype(np.float32)).view_as(parameter))
        head.target_mean.fill_(5.5)
    intervals = Intervals(AXES, (1.0,) * 4, {"": dict.fromkeys(LEVELS, (1.5,) * 4)}, {"": 50}, "nothing")
    reference = Reference(
        ("sound",),
        {spec.id: np.zeros((1, spec.frame_dim), np.float32) for spec in specs},
        {spec.id: np.ones(spec.frame_dim, np.float32) for spec in specs},
        10.0,
        1,
    )
    return Bundle({config.id: head.eval()}, (1.0,), intervals, reference, ("made up",), {"rule": "one"})


def test_golden_scores_come_out_on_every_machine(tmp_path: Path) -> None:
    """Of a head given by a formula over log-mel: a change here changes every released bundle's scores."""
    spec = load_encoder("logmel", audio_recipe=AUDIO_RECIPE).spec
    scorer = load_bundle(save_bundle(made_bundle([spec]), tmp_path, ""), device="cpu")
    found = golden_scores(scorer)
    path = ROOT / "tests" / "golden" / "scores.json"
    expected = json.loads(path.read_text())
    assert set(expected) == set(found) == set(golden_waves())
    for name, scores in expected.items():
        assert found[name] == pytest.approx(scores, abs=2e-4), name


def test_an_installation_can_check_itself(experiment: Experiment, copy: Path) -> None:
    assert load_bundle(copy, device="cpu").check() == []
    golden = json.loads((copy / ABOUT).read_text())["golden"]
    golden["chord"]["PQ"] += 0.02
    edit(copy, golden=golden)
    (line,) = load_bundle(copy, device="cpu").check()
    assert line.startswith("chord PQ: ")
    edit(copy, golden={})
    assert "no golden scores" in load_bundle(copy, device="cpu").check()[0]


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
        (lambda b: flip(b / "reference.safetensors", -5), "changed by hand"),
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
    with pytest.raises(BundleError, match="not all positive"):
        read_bundle(copy)
    arrays = load_file(copy / "reference.safetensors")
    arrays[next(iter(arrays))].flat[0] = np.nan
    save_file(arrays, copy / "reference.safetensors")
    edit(copy, members=weights)
    with pytest.raises(BundleError, match="not finite"):
        read_bundle(copy)


class FakeHub:
    """What is called of huggingface_hub, onto a folder; its cache is made of links, as the hub's is."""

    def __init__(self, root: Path) -> None:
        self.root, self.private = root, None

    def create_repo(self, repo: str, private: bool, exist_ok: bool) -> None:
        self.private = private

    def upload_folder(
        self, repo_id: str, folder_path: str, allow_patterns: list[str], commit_message: str
    ) -> str:
        folder = Path(folder_path)
        for pattern in allow_patterns:
            for path in folder.glob(pattern):
                blob = self.root / "blobs" / str(path.relative_to(folder)).replace("/", "-")
                blob.parent.mkdir(parents=True, exist_ok=True)
                blob.write_bytes(path.read_bytes())
                link = self.root / "snapshot" / path.relative_to(folder)
                link.parent.mkdir(parents=True, exist_ok=True)
                link.symlink_to(blob)
        return f"https://hub/{repo_id}"


def test_to_the_hub_and_back(experiment: Experiment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub = FakeHub(tmp_path)
    monkeypatch.setattr("mmmos.heads.scoring.hub.HfApi", lambda: hub)
    monkeypatch.setattr(
        "mmmos.heads.scoring.hub.snapshot_download", lambda *a, **k: str(tmp_path / "snapshot")
    )
    assert push_to_hub(experiment.bundle, "somebody/scores") == "https://hub/somebody/scores"
    assert hub.private is True
    assert from_pretrained("somebody/scores", device="cpu").id == read_bundle(experiment.bundle).id
    with pytest.raises(BundleError):
        push_to_hub(tmp_path, "somebody/nothing")


def test_what_the_hub_does_not_have_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(*args: Any, **options: Any) -> str:
        raise ConnectionError("no network")

    monkeypatch.setattr("mmmos.heads.scoring.hub.snapshot_download", gone)
    with pytest.raises(BundleError, match=r"neither a folder here nor to be had from the hub.*no network"):
        from_pretrained("somebody/scores")


def test_the_card_says_what_the_numbers_rest_on(experiment: Experiment) -> None:
    card = (experiment.bundle / "README.md").read_text()
    about = json.loads((experiment.bundle / ABOUT).read_text())
    assert card.startswith("---\nlibrary_name: mmmos\n")
    assert "untrained-encoders" in card.split("---")[1]
    for words in (
        "synthetic audio",
        "untrained wavlm",
        about["id"],
        about["data"],
        "random:0",
        "| 80% |",
        "| 95% |",
    ):
        assert words in card, words
    assert {row["split"] for rows in about["accuracy"].values() for row in rows} == {"dev", "pam", "test"}
    assert asdict(read_bundle(experiment.bundle).encoders[0]).items() <= about["encoders"][0].items()


def test_the_card_says_which_intervals_cannot_be_had() -> None:
    bundle = made_bundle([load_encoder("logmel", audio_recipe=AUDIO_RECIPE).spec])
    assert "left empty" not in model_card(bundle)
    few = {"": {0.8: (1.5,) * 4, 0.95: (None,) * 4}}
    card = model_card(replace(bundle, intervals=replace(bundle.intervals, quantiles=few)))
    assert "left empty: CE 95%, CU 95%, PC 95%, PQ 95%." in card


def test_scoring_needs_both_stages_only_when_it_is_asked_for() -> None:
    assert "extract" not in vars(module), "imported inside load_bundle alone"
