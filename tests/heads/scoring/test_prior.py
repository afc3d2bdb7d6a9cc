"""Heads that start from another bundle read its scores, in training and wherever they score."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from mmmos.extract.audio import AUDIO_RECIPE
from mmmos.extract.compute import Compute
from mmmos.extract.encoders import load_encoder
from mmmos.extract.extraction import extract
from mmmos.extract.survey import survey
from mmmos.heads.config import BUNDLE
from mmmos.heads.grids import configure
from mmmos.heads.network.model import Head
from mmmos.heads.results.chosen import load_ensemble, select_ensemble
from mmmos.heads.results.experiment import open_experiment
from mmmos.heads.scoring.audiobox import ready_bundle
from mmmos.heads.scoring.bundle import BundleError, SignatureMismatch, read_bundle
from mmmos.heads.scoring.export import export_bundle
from mmmos.heads.scoring.loading import load_bundle
from mmmos.heads.scoring.prior import FOLDER, adopt, encoders_with, forget, open_source
from mmmos.heads.training.data import Features
from mmmos.heads.training.outputs import predict
from mmmos.heads.training.parallel import train_grid
from mmmos.store.clips import ClipTable, load_table, save_table
from mmmos.store.features import FeatureStore
from mmmos.store.schema import Clip
from tests.heads.scoring.experiment import Experiment, scoring_experiment
from tests.heads.scoring.published_audiobox import published


@pytest.fixture(scope="module")
def experiment() -> Experiment:
    return scoring_experiment()


@pytest.fixture
def work(experiment: Experiment, tmp_path: Path) -> Path:
    """A work folder of the clips whose ratings are to be learnt."""
    return Path(shutil.copytree(experiment.work, tmp_path / "work"))


@pytest.fixture
def started(experiment: Experiment, work: Path) -> Path:
    """A work folder whose heads started from the bundle: one on its scores alone, one beside log-mel."""
    spec = adopt(work, read_bundle(experiment.bundle))
    logmel = next(spec for spec in Features.open(work).specs if spec.name == "logmel")
    data = load_table(work / "clips.json").id
    configs = [
        configure(data, [spec.id], "ridge", reads="means"),
        configure(data, [logmel.id, spec.id], "kernel_ridge", reads="profile"),
    ]
    assert not train_grid(configs, work, jobs=1).failed
    select_ensemble(open_experiment(work).over(f"encoders={BUNDLE}|logmel+{BUNDLE}"), "all")
    return work


def test_what_is_kept_are_the_bundles_own_scores(experiment: Experiment, work: Path) -> None:
    spec = adopt(work, read_bundle(experiment.bundle))
    features = Features.open(work)
    opened = open_experiment(experiment.work)
    expected = load_ensemble(opened).predict(opened.everything, "test")
    clips = features.of("test")
    means = FeatureStore(work / "features", spec).means([crop.id for crop in features.crops])[:, 0]
    for clip in clips:
        rows = features.rows(np.array([clip]))
        mean = np.average(means[rows], axis=0, weights=features.valid_s[rows])
        assert mean == pytest.approx(expected.of([features.clips[clip].id])[0], abs=1e-3)


def test_new_audio_is_scored_as_the_clips_were_in_training(
    experiment: Experiment, started: Path, tmp_path: Path
) -> None:
    made = export_bundle(started, tmp_path / "made", golden=False)
    shutil.rmtree(started / FOLDER)  # it needs the work folder no longer
    scorer = load_bundle(Path(shutil.move(tmp_path / "made", tmp_path / "elsewhere")), device="cpu")
    features = Features.open(started)
    clips = features.of("test")[:3]
    heads = [Head.load(started / "runs" / run / "head.safetensors") for run in made.heads]
    expected = np.mean([predict(head, features, clips) for head in heads], axis=0)
    answers = scorer.files([experiment.corpus / features.clips[n].path for n in clips])
    found = [[answer[axis] for axis in scorer.axes] for answer in answers]
    np.testing.assert_allclose(found, expected, atol=2e-3)
    assert {spec.name for spec in made.encoders} == {"logmel", "wavlm"}


def test_a_bundle_without_the_one_that_it_started_from_is_refused(started: Path, tmp_path: Path) -> None:
    export_bundle(started, tmp_path / "made", golden=False, accuracy=False)
    other = read_bundle(tmp_path / "made" / "prior")
    assert read_bundle(tmp_path / "made").prior.id == other.id  # type: ignore[union-attr]
    shutil.rmtree(tmp_path / "made" / "prior")
    with pytest.raises(BundleError):
        read_bundle(tmp_path / "made")


def test_one_that_itself_started_from_another_is_refused(started: Path, tmp_path: Path) -> None:
    export_bundle(started, tmp_path / "made", golden=False, accuracy=False)
    with pytest.raises(ValueError, match="itself started from"):
        open_source(str(tmp_path / "made"))


def test_only_the_last_bundle_stays(experiment: Experiment, work: Path) -> None:
    bundle = read_bundle(experiment.bundle)
    first = adopt(work, bundle)
    shards = {path: path.stat().st_mtime_ns for path in (work / "features" / first.id).glob("*.h5")}
    assert adopt(work, bundle).id == first.id
    assert {path: path.stat().st_mtime_ns for path in shards} == shards
    one = next(iter(bundle.heads))
    second = adopt(work, replace(bundle, heads={one: bundle.heads[one]}, weights=(1.0,)))
    assert [spec.id for spec in Features.open(work).specs if spec.name == BUNDLE] == [second.id]
    forget(work)
    assert not any(spec.name == BUNDLE for spec in Features.open(work).specs)
    assert not (work / FOLDER).exists()


def test_untrained_networks_are_nothing_to_start_from(experiment: Experiment) -> None:
    with pytest.raises(ValueError, match="untrained networks"):
        open_source(str(experiment.bundle))


@pytest.mark.parametrize(
    ("name", "lack"),
    [
        ("nowhere", "there is no such folder"),
        (__file__, "there is no such folder"),
        (".", "bundle.json is missing"),
    ],
)
def test_what_is_no_bundle_is_refused(name: str, lack: str) -> None:
    with pytest.raises(BundleError, match=f"not a bundle: {lack}"):
        open_source(name)


def test_features_that_it_reads_have_to_be_there(experiment: Experiment, work: Path) -> None:
    bundle = read_bundle(experiment.bundle)
    for folder in (work / "features").glob("wavlm-*"):
        shutil.rmtree(folder)
    with pytest.raises(SignatureMismatch, match="reads wavlm, which is not extracted here"):
        adopt(work, bundle)
    assert encoders_with("fullband", bundle).split(",")[0] == "fullband"
    assert sorted(encoders_with("logmel", bundle).split(",")) == ["logmel", "wavlm"]


def test_audiobox_hears_the_crops_of_training(tmp_path: Path) -> None:
    """Its own windows end otherwise than crops do only where silence or a last short piece ends a file."""
    folder, corpus, work = published(tmp_path / "weights"), tmp_path / "corpus", tmp_path / "work"
    corpus.mkdir()
    soundfile.write(corpus / "a.wav", np.random.default_rng(0).normal(0, 0.1, 16000 * 13), 16000)
    table, _ = survey(ClipTable((Clip("a", "a.wav", split="train"),)), corpus, quiet=True)
    save_table(table, work / "clips.json")
    aes = load_encoder("aes", audio_recipe=AUDIO_RECIPE, weights=folder)
    extract(table, corpus, [aes], work / "features", quiet=True)
    bundle, encoder = ready_bundle(folder, Compute("cpu"))
    assert encoder.spec.id != aes.spec.id
    spec = adopt(work, bundle)
    features = Features.open(work)
    means = FeatureStore(work / "features", spec).means([crop.id for crop in features.crops])[:, 0]
    (answer,) = load_bundle("audiobox", weights=folder, device="cpu").files([corpus / "a.wav"])
    mean = np.average(means, axis=0, weights=features.valid_s)
    assert mean == pytest.approx([answer[axis] for axis in bundle.axes], abs=2e-3)
