"""Sweeps: first the paper's values, seeded, pruned, shared, and resumed after any crash."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mmmos.heads.config import HeadConfig
from mmmos.heads.grids import grid
from mmmos.heads.network.model import Head
from mmmos.heads.runs import Run
from mmmos.heads.training.data import Features
from mmmos.heads.training.outputs import predict
from mmmos.heads.training.parallel import train_grid
from mmmos.heads.tuning.objective import Objective
from mmmos.heads.tuning.space import paper_params
from mmmos.heads.tuning.study import Result, plans
from mmmos.heads.tuning.sweep import sweep, watched
from tests.conftest import ROOT
from tests.heads.small import M2D, WAVLM, work_folder
from tests.heads.tuning.dying import killed


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return work_folder(tmp_path_factory.mktemp("sweep"), count=36, specs=(WAVLM, M2D))


def cells(work: Path, **overrides: object) -> tuple[HeadConfig, ...]:
    features = Features.open(work)
    return grid(
        "paper",
        features.specs,
        features.table.id,
        aggregators=["mlp"],
        losses=["ut"],
        **{"epochs": 2, **overrides},
    )[:1]


def told(result: Result) -> list[tuple[object, ...]]:
    return [(t.number, t.state, t.value, t.params, t.run) for t in result.trials]


def test_the_first_trial_is_the_papers_and_results_are_kept(work: Path) -> None:
    (result,) = sweep(cells(work), work, trials=6, jobs=1)
    assert len(result.trials) == 6
    assert result.first is not None
    assert result.first.params == paper_params(cells(work))
    assert {trial.number for trial in result.trials} == set(range(6))
    best = max(t.value for t in result.trials if t.value is not None)
    assert result.best is not None
    assert result.best.value == best
    assert result.first.state == "complete"
    # Twelve clips are too few to hold any back.
    assert result.difference is None or result.best == result.first
    for trial in result.trials:
        assert (work / "runs" / trial.run / "record.json").exists() == (trial.state == "complete")
    kept = json.loads((work / "sweeps" / f"{result.study}.json").read_text())
    assert kept["best"]["run"] == result.best.run
    again = sweep(cells(work), work, trials=6, jobs=1)
    assert again == (result,)
    more = sweep(cells(work), work, trials=7, jobs=1)
    assert told(more[0])[:6] == told(result)


def test_other_axes_are_trained_folded_kept_and_tuned(tmp_path: Path) -> None:
    other = work_folder(tmp_path, count=36, specs=(WAVLM, M2D), names=("MOS", "SIG"), ratings=True)
    configs = cells(other, epochs=20, learning_rate=3e-3)
    assert not train_grid(configs, other, jobs=1, folds=2).failed
    run = Run.of(other, configs[0])
    features, head = Features.open(other), Head.load(run.head_path)
    assert head.axes == run.predictions("oof").axes == run.predictions("test").axes == ("MOS", "SIG")
    assert (predict(head, features, features.of("test")) == run.predictions("test").values).all()
    truth = features.table.scores([features.clips[n] for n in features.of("train")], ("SIG",))[:, 0]
    ids = [features.clips[n].id for n in features.of("train")]
    assert np.corrcoef(run.predictions("oof").of(ids)[:, 1], truth)[0, 1] > 0.3
    (result,) = sweep(configs, other, trials=2, jobs=1, objective="oof:srcc", folds=2)
    assert [trial.state for trial in result.trials] == ["complete"] * 2


def test_a_trials_run_is_an_ordinary_run(work: Path) -> None:
    (result,) = sweep(cells(work), work, trials=2, jobs=1, seed=1)
    config = Run.open(work / "runs" / result.trials[0].run).config
    plan = plans(cells(work), Objective.parse("pam:srcc"), "cell", 1, 5)[0]
    assert config == replace(cells(work)[0], seed=plan.trial_seed(0))
    assert result.trials[0].run != sweep(cells(work), work, trials=1, jobs=1, seed=2)[0].trials[0].run


def test_what_dies_is_repeated_and_the_study_ends_as_if_nothing_had(work: Path, tmp_path: Path) -> None:
    whole = sweep(cells(work), work, trials=5, jobs=1, seed=3)[0]
    other = work_folder(tmp_path, count=36, specs=(WAVLM, M2D))
    journal = other / "sweep.journal"
    code = f"""
import os, sys
from pathlib import Path
from mmmos.heads.tuning import trials
from tests.heads.tuning.test_sweep import cells
from mmmos.heads.tuning.sweep import sweep
kept, calls = trials.fit, []
def fit(*a, **k):
    calls.append(1)
    if len(calls) == int(sys.argv[1]):
        with open({str(journal)!r}, "ab") as file:
            file.write(b'{{"op_code":4,"torn')
        os._exit(9)
    return kept(*a, **k)
trials.fit = fit
work = Path({str(other)!r})
sweep(cells(work), work, trials=5, jobs=1, seed=3)
"""
    for at in (1, 2):
        dead = subprocess.run([sys.executable, "-c", code, str(at)], cwd=ROOT, check=False)
        assert dead.returncode == 9
    resumed = sweep(cells(other), other, trials=5, jobs=1, seed=3)[0]
    assert told(resumed) == told(whole)


def test_whatever_a_kill_cuts_off_the_study_ends_as_if_nothing_had(tmp_path: Path) -> None:
    """At every kind of write: as a trial is made, between two draws, after a report, before its end."""
    settings = {"trials": 3, "seed": 3}
    whole = work_folder(tmp_path / "whole", count=36, specs=(WAVLM, M2D))
    (expected,) = sweep(cells(whole), whole, jobs=1, **settings)
    for torn, places in ((False, (4, 9, 13, 14, 20, 23)), (True, (10, 21))):
        for at in places:
            other = work_folder(tmp_path / f"{at}-{torn}", count=36, specs=(WAVLM, M2D))
            assert killed(cells(other), other, at, torn, **settings)
            (resumed,) = sweep(cells(other), other, jobs=1, **settings)
            assert told(resumed) == told(expected), (at, torn)


def test_several_workers_share_one_study(work: Path) -> None:
    seen: list[tuple[int, int]] = []
    (result,) = sweep(
        cells(work), work, trials=6, jobs=2, seed=4, progress=lambda *a: seen.append(a), objective="dev:mse"
    )
    assert sorted(t.number for t in result.trials) == list(range(6))
    assert len({t.run for t in result.trials}) == 6
    assert seen[-1] == (6, 6)


def test_a_grid_is_one_study_and_a_database_will_do(work: Path, tmp_path: Path) -> None:
    features = Features.open(work)
    bases = grid("paper", features.specs, features.table.id, aggregators=["mlp"], epochs=1)
    (result,) = sweep(
        bases,
        work,
        trials=4,
        jobs=1,
        study="grid",
        objective="oof:srcc",
        folds=2,
        storage=f"sqlite:///{tmp_path / 'study.db'}",
    )
    assert result.trials[0].params["cell"] == bases[0].title
    assert result.best is not None
    assert (work / "runs" / result.best.run / "predictions-oof.parquet").exists()
    assert not (tmp_path / "sweep.journal").exists()


def test_a_trial_that_explodes_fails_with_its_reason(work: Path) -> None:
    (result,) = sweep(cells(work, learning_rate=1e7), work, trials=1, jobs=1)
    assert [t.state for t in result.trials] == ["fail"]
    assert "try a lower learning rate" in result.trials[0].reason
    assert result.best is None
    assert result.reason == "no trial is complete"


def test_hopeless_trials_are_pruned(work: Path) -> None:
    (result,) = sweep(cells(work, epochs=4), work, trials=14, jobs=1, seed=0)
    assert any(trial.state == "pruned" for trial in result.trials)


def test_the_first_trial_is_never_pruned(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without its values there would be nothing that a gain is measured against."""
    monkeypatch.setattr("optuna.trial.Trial.should_prune", lambda trial: True)
    (result,) = sweep(cells(work, epochs=4), work, trials=3, jobs=1, seed=77)
    assert [trial.state for trial in result.trials] == ["complete", "pruned", "pruned"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"objective": "test:srcc"}, "the test split never chooses"),
        ({"study": "cells"}, "known: cell, grid"),
    ],
)
def test_what_a_sweep_refuses(work: Path, arguments: dict[str, str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        sweep(cells(work), work, trials=1, **arguments)
    with pytest.raises(ValueError, match="nothing to tune"):
        sweep((), work, trials=1)


def test_a_database_without_its_driver_says_what_to_install(work: Path) -> None:
    with pytest.raises(RuntimeError, match=r"needs a driver.*\.\[postgres\]"):
        sweep(cells(work)[:1], work, trials=1, storage="postgresql+pg8000://user@localhost/none")


def test_progress_is_told_when_it_changes_and_at_the_end() -> None:
    seen: list[tuple[int, int]] = []
    done = [0]
    with watched(lambda: done[0], 3, lambda now, of: seen.append((now, of))):
        time.sleep(0.01)
        done[0] = 3
    assert seen == [(3, 3)]
    with watched(lambda: done[0], 3, None):
        pass
