"""`evaluate --baseline audiobox`: predictions by hearing the clips, or from stored features."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from mmmos import load_bundle
from mmmos.heads.results.experiment import open_experiment
from mmmos.heads.results.published import predictions_path
from mmmos.store.console import OK, REFUSED
from mmmos.store.predictions import Predictions
from tests.corpus import small_corpus
from tests.heads.scoring.published_audiobox import AXES, published

QUICK = ("--aggregator", "mlp", "--loss", "ut", "--epochs", "2", "--jobs", "1")


@pytest.fixture
def work(cli, tmp_path, monkeypatch):
    """A work folder with features of log-mel and of `aes`, and one head; its audio lies in data/."""
    published(tmp_path / "weights" / "aes")
    monkeypatch.setenv("MMMOS_WEIGHTS", str(tmp_path / "weights"))
    clips, folder = small_corpus(tmp_path / "data"), tmp_path / "work"
    made = cli("extract", "--clips", clips, "--work", folder, "--encoders", "logmel,aes", "--device", "cpu")
    assert made.code == OK, made.err
    assert cli("heads", "--work", folder, *QUICK).code == OK
    return folder


def stored(work, split: str) -> Predictions:
    return Predictions.load(predictions_path(open_experiment(work), "audiobox", split))


def test_by_hearing_the_clips_and_from_stored_features(cli, work, tmp_path):
    heard = cli("evaluate", "--work", work, "--baseline", "audiobox")
    assert heard.code == OK, heard.err
    assert "Against audiobox" in heard.out
    assert "MSE lower by" in heard.out
    assert "not the published ones" in heard.out + heard.err
    by_audio = stored(work, "test")
    scorer = load_bundle("audiobox", device="cpu")
    paths = {clip.id: tmp_path / "data" / clip.path for clip in open_experiment(work).table.of("test")}
    (answer,) = scorer.files([paths[by_audio.clip_ids[0]]])
    np.testing.assert_allclose(by_audio.values[0], [answer[axis] for axis in AXES], atol=1e-4)

    again = cli("report", "--work", work, "--baseline", "audiobox")
    assert again.code == OK, again.err
    assert "Against audiobox" in (work / "report.html").read_text(encoding="utf-8")
    assert "audiobox on" not in again.err, "what is stored is not made again"

    shutil.rmtree(work / "baselines")
    (tmp_path / "data").rename(tmp_path / "elsewhere")
    assert cli("evaluate", "--work", work, "--baseline", "audiobox").code == OK
    by_features = stored(work, "test").values
    np.testing.assert_allclose(by_features, by_audio.values, atol=0.05)
    assert not np.array_equal(by_features, by_audio.values)

    shutil.rmtree(work / "baselines")
    root = ("--audio-root", tmp_path / "elsewhere")
    assert cli("evaluate", "--work", work, "--baseline", "audiobox", *root).code == OK
    assert np.array_equal(stored(work, "test").values, by_audio.values)


def test_without_audio_and_features_it_says_what_is_wanted(cli, work, tmp_path):
    (tmp_path / "data").rename(tmp_path / "elsewhere")
    for folder in (work / "features").glob("aes-*"):
        shutil.rmtree(folder)
    refused = cli("evaluate", "--work", work, "--baseline", "audiobox")
    assert refused.code == REFUSED
    assert "--audio-root" in refused.err
    unknown = cli("evaluate", "--work", work, "--baseline", "nisqa")
    assert (unknown.code, "known: audiobox" in unknown.err) == (REFUSED, True)
