"""The demonstration runs, can be learned from, and says everywhere what it is."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mmmos import pipeline
from mmmos.heads.ensemble import Ensemble
from mmmos.heads.grids import grid
from mmmos.heads.metrics import srcc
from mmmos.heads.results.assess import evaluate_runs
from mmmos.heads.results.evaluation import EVERYWHERE
from mmmos.heads.results.experiment import open_experiment
from mmmos.heads.results.scores import score
from mmmos.heads.training.data import Features
from mmmos.heads.training.fit import fit
from mmmos.heads.training.outputs import predict
from mmmos.store.clips import ClipTable, load_table, save_table
from mmmos.store.features import list_stores
from tests.heads.made_up import find

CAVEATS = ("synthetic audio", "untrained wavlm", "untrained muq", "untrained m2d")


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The demonstration's work folder, and what it printed on stdout."""
    work = tmp_path_factory.mktemp("demo")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["pipeline.py", "demo", "--work", str(work)])
        printed: list[str] = []
        patch.setattr(sys.stdout, "write", printed.append)
        with pytest.raises(SystemExit) as stop:
            pipeline.main()
    assert not stop.value.code
    return work, "".join(printed)


def test_it_leaves_everything_where_it_says(demo: tuple[Path, str]) -> None:
    work, printed = demo
    assert len(list((work / "runs").glob("*/head.safetensors"))) == 16
    assert {store.spec.name for store in list_stores(work / "features")} == {"wavlm", "muq", "m2d", "logmel"}
    for name in ("clips.json", "ensemble.json", "corpus/clips.csv", "bundle/bundle.json"):
        assert (work / name).exists()
    assert "submitted: dev top 12 and PAM top 12" in printed
    assert "Three test files" in printed


def test_every_table_says_that_encoders_are_untrained_and_audio_synthetic(demo: tuple[Path, str]) -> None:
    work, printed = demo
    titles = [line for line in printed.splitlines() if "(" in line and "synthetic audio" in line]
    tables = printed.count("┏")
    assert len(titles) == tables > 3
    assert all(caveat in titles[-1] for caveat in CAVEATS)
    for run in (work / "runs").iterdir():
        assert "synthetic audio" in json.loads((run / "record.json").read_text())["caveats"]
    assert set(CAVEATS) <= set(evaluate_runs(open_experiment(work), intervals=False).caveats)


def test_the_ensemble_learned_the_corpus(demo: tuple[Path, str]) -> None:
    """Utterance-level composite SRCC on test: 0.7 at least.  It says nothing about real audio."""
    experiment = open_experiment(demo[0])
    ensemble = Ensemble.load(demo[0] / "ensemble.json")
    rows = score(ensemble, experiment, "test", intervals=False).rows
    row = find(rows, level="utterance", domain=EVERYWHERE, axis="composite", metric="srcc")
    assert row.value is not None
    assert row.value >= 0.7


def test_a_head_that_learned_shuffled_labels_knows_nothing(demo: tuple[Path, str], tmp_path: Path) -> None:
    """Whole score rows are dealt out anew among the train and dev clips; test keeps its own."""
    table = load_table(demo[0] / "clips.json")
    (tmp_path / "features").symlink_to(demo[0] / "features")
    found = []
    for seed in range(3):
        learned = [clip for clip in table if clip.split in ("train", "dev")]
        order = np.random.default_rng(seed).permutation(len(learned))
        dealt = {
            clip.id: replace(clip, scores=learned[other].scores, ratings=learned[other].ratings)
            for clip, other in zip(learned, order, strict=True)
        }
        shuffled = ClipTable(tuple(dealt.get(clip.id, clip) for clip in table), table.scale, table.caveats)
        save_table(shuffled, tmp_path / "clips.json")
        features = Features.open(tmp_path)
        specs = [store.spec for store in list_stores(tmp_path / "features")]
        config, *_ = grid("paper", specs, shuffled.id, losses=["ut"], **pipeline.DEMO_VALUES)
        test = features.of("test")
        predicted = predict(fit(config, features).head, features, test).mean(axis=1)
        found.append(srcc(predicted, features.truth[test].mean(axis=1)) or 0.0)
    assert abs(float(np.mean(found))) < 0.35
