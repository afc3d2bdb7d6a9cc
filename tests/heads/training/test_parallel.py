"""Grids over processes: only what is missing, the same whatever the jobs, and never an older table."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from mmmos.heads.grids import configure, grid
from mmmos.heads.runs import Run
from mmmos.heads.training import parallel
from mmmos.heads.training.data import Features
from mmmos.heads.training.parallel import train_grid
from mmmos.store.clips import load_table, save_table
from tests.heads.small import M2D, WAVLM, work_folder


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return work_folder(tmp_path_factory.mktemp("parallel"), count=36, specs=(WAVLM, M2D))


def test_a_grid_trains_what_is_missing_and_goes_on_after_a_failure(work: Path) -> None:
    features = Features.open(work)
    configs = grid("encoders", features.specs, features.table.id, epochs=1)
    bad = configure(features.table.id, [WAVLM.id], "mlp", "mse", learning_rate=1e9)
    seen: list[tuple[str, int, int]] = []
    first = train_grid(configs[:2], work, jobs=1, progress=lambda *a: seen.append(a))
    assert first.trained == tuple(config.id for config in configs[:2])
    assert seen == [(configs[0].id, 1, 2), (configs[1].id, 2, 2)]
    second = train_grid((bad, *configs), work, jobs=1)
    assert (second.kept, second.trained) == (first.trained, (configs[2].id,))
    assert "loss" in second.failed[bad.id]
    assert train_grid(configs, work, jobs=1).trained == ()


def test_the_result_does_not_depend_on_the_number_of_jobs(work: Path, tmp_path: Path) -> None:
    other = work_folder(tmp_path, count=36, specs=(WAVLM, M2D))
    features = Features.open(work)
    configs = grid("paper", features.specs, features.table.id, losses=["con"], epochs=2, seed=4)
    assert not train_grid(configs, work, jobs=1).failed
    assert not train_grid(configs, other, jobs=2).failed
    for config in configs:
        for name in ("head.safetensors", "predictions-test.parquet"):
            one, two = (Run.of(root, config).folder / name for root in (work, other))
            if name == "head.safetensors":
                assert _tensors(one) == _tensors(two)
            else:
                assert one.read_bytes() == two.read_bytes()


def _tensors(path: Path) -> bytes:
    """The tensors of a safetensors file without its header, which holds the seconds it took."""
    data = path.read_bytes()
    return data[8 + int.from_bytes(data[:8], "little") :]


def test_a_group_keeps_the_folds_of_every_run_that_can_be_trained(
    work: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Heads come in groups only on a card; here the same is done on a CPU."""
    other = work_folder(tmp_path, count=36, specs=(WAVLM, M2D))
    features = Features.open(work)
    configs = grid("paper", features.specs, features.table.id, losses=["con"], epochs=1, seed=5)
    bad = configure(features.table.id, [WAVLM.id], "mlp", "mse", learning_rate=1e9, seed=5)
    assert not train_grid(configs, work, jobs=1, folds=3).failed
    monkeypatch.setattr(parallel, "device_type", lambda device: "cuda")
    found = train_grid((bad, *configs), other, jobs=1, folds=3, device="cpu")
    assert set(found.failed) == {bad.id}
    assert set(found.trained) == {config.id for config in configs}
    for config in configs:
        alone, grouped = (Run.of(root, config).predictions("oof") for root in (work, other))
        assert alone == grouped
    again = train_grid(configs, other, jobs=1, folds=3, device="cpu")
    assert set(again.kept) == set(found.trained)


def test_a_changed_table_is_seen_by_the_next_grid(tmp_path: Path) -> None:
    work = work_folder(tmp_path, count=24, specs=(WAVLM,))
    table = load_table(work / "clips.json")
    for kept in (table, replace(table, clips=table.clips[:-2])):
        save_table(kept, work / "clips.json")
        configs = [configure(kept.id, [WAVLM.id], "mlp", loss, epochs=1) for loss in ("ut", "con")]
        assert not train_grid(configs, work, jobs=2).failed
