"""What TensorBoard is told, read back by its own reader; who does not ask for it never meets it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mmmos.heads.grids import configure, grid
from mmmos.heads.metrics import METRICS
from mmmos.heads.runs import Run
from mmmos.heads.training.data import Features
from mmmos.heads.training.parallel import train_grid
from mmmos.heads.training.start import rated
from mmmos.heads.training.tracking import events_folder, writer_class
from mmmos.heads.tuning.sweep import sweep
from mmmos.store.clips import score_array
from tests.conftest import ROOT
from tests.heads.small import M2D, WAVLM, work_folder

accumulators = pytest.importorskip(
    "tensorboard.backend.event_processing.event_accumulator",
    reason="needs TensorBoard, the extra `tensorboard`",
)


@pytest.fixture
def work(tmp_path: Path) -> Path:
    return work_folder(tmp_path, count=36, specs=(WAVLM, M2D), axes=3)


def read(folder: Path) -> Any:
    found = accumulators.EventAccumulator(str(folder))
    found.Reload()
    return found


def steps(folder: Path, tag: str) -> dict[int, float]:
    return {event.step: event.value for event in read(folder).Scalars(tag)}


def settings(folder: Path) -> dict[str, Any]:
    """The hyperparameters of a run, as the tab HParams reads them."""
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

    content = read(folder / "result").SummaryMetadata("_hparams_/session_start_info").plugin_data.content
    values = HParamsPluginData.FromString(content).session_start_info.hparams
    return {name: getattr(value, value.WhichOneof("kind")) for name, value in values.items()}


def test_losses_and_metrics_of_each_epoch_are_there(work: Path) -> None:
    features = Features.open(work)
    config = configure(features.table.id, [WAVLM.id], "mlp", "ut", epochs=3)
    assert not train_grid([config], work, jobs=1, tensorboard=True).failed
    folder, run = events_folder(work, config), Run.of(work, config)
    curve = run.record["curve"]
    for tag, name in (("loss/train", "train_loss"), ("loss/dev", "dev_loss")):
        told = steps(folder, tag)
        assert list(told) == [epoch["number"] for epoch in curve]
        assert list(told.values()) == pytest.approx([epoch[name] for epoch in curve], rel=1e-6)
    tags = read(folder).Tags()["scalars"]
    axes = ("CE", "CU", "PC", "composite")
    metrics = {f"{split}/{name}/{axis}" for split in ("dev", "pam") for name in METRICS for axis in axes}
    assert set(tags) == {"loss/train", "loss/dev"} | metrics, "and nothing of test"
    best = steps(folder, "dev/mse/PC")[run.record["best_epoch"]]
    clips = rated(features, features.of("dev"))
    truth = score_array([features.clips[n] for n in clips], ["PC"])[:, 0]
    kept = run.predictions("dev").of([features.clips[n].id for n in clips])[:, 2]
    assert best == pytest.approx(np.mean((kept - truth) ** 2), rel=1e-5)
    assert steps(folder / "result", "dev/mse/PC") == {0: pytest.approx(best, rel=1e-6)}
    assert settings(folder)["learning_rate"] == config.learning_rate
    assert settings(folder)["loss"] == "ut"


def test_a_head_is_the_same_with_and_without(work: Path, tmp_path: Path) -> None:
    other = work_folder(tmp_path / "other", count=36, specs=(WAVLM, M2D), axes=3)
    config = configure(Features.open(work).table.id, [WAVLM.id], "mlp", "con", epochs=3, dropout=0.3)
    train_grid([config], work, jobs=1, tensorboard=True)
    train_grid([config], other, jobs=1)
    told, untold = Run.of(work, config), Run.of(other, config)
    assert told.predictions("test").values.tobytes() == untold.predictions("test").values.tobytes()
    assert not (other / "tensorboard").exists()


def test_a_run_that_begins_again_begins_its_events_again(work: Path) -> None:
    config = configure(Features.open(work).table.id, [WAVLM.id], "mlp", "ut", epochs=2)
    folder = events_folder(work, config)
    with writer_class()(folder) as killed:
        for epoch in range(1, 9):
            killed.add_scalar("loss/train", 99.0, epoch)
    train_grid([config], work, jobs=1, tensorboard=True)
    assert list(steps(folder, "loss/train")) == [1, 2]
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    train_grid([config], work, jobs=1, tensorboard=True)
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before, "nothing was trained"


@pytest.mark.parametrize("objective", ["dev:srcc", "oof:mse"])
def test_every_trial_of_a_sweep_tells_its_values_and_what_came_of_them(work: Path, objective: str) -> None:
    features = Features.open(work)
    cells = grid("paper", features.specs, features.table.id, aggregators=["mlp"], losses=["ut"], epochs=2)[:1]
    (result,) = sweep(cells, work, trials=3, jobs=1, objective=objective, folds=2, tensorboard=True)
    complete = [trial for trial in result.trials if trial.state == "complete"]
    assert complete
    for trial in complete:
        folder = work / "tensorboard" / trial.run
        assert steps(folder / "result", objective) == {0: pytest.approx(trial.value, rel=1e-6)}
        assert settings(folder)["learning_rate"] == pytest.approx(trial.params["learning_rate"])
        assert "loss/train" in read(folder).Tags()["scalars"]
    before = sorted(work.rglob("events*"))
    sweep(cells, work, trials=3, jobs=1, objective=objective, folds=2, tensorboard=True)
    assert sorted(work.rglob("events*")) == before


def test_a_head_in_closed_form_has_a_result(work: Path) -> None:
    config = configure(Features.open(work).table.id, [WAVLM.id], "ridge", "ut")
    assert not train_grid([config], work, jobs=1, tensorboard=True).failed
    assert "dev/srcc/CE" in read(events_folder(work, config) / "result").Tags()["scalars"]


def test_without_the_extra_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(RuntimeError, match=r"pip install 'mmmos\[tensorboard\]'"):
        writer_class()


def test_nothing_of_it_is_loaded_unless_asked_for() -> None:
    code = "import sys, mmmos.heads.tuning.sweep; sys.exit('tensorboard' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
