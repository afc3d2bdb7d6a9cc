"""Training a run: what is written, in which order, and that it is read back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import mmmos
from mmmos.heads.grids import configure
from mmmos.heads.network.model import Head
from mmmos.heads.runs import Run
from mmmos.heads.training.data import Features
from mmmos.heads.training.outputs import predict
from mmmos.heads.training.train_run import train_runs
from mmmos.store import files
from tests.heads.small import M2D, WAVLM, work_folder


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return work_folder(tmp_path_factory.mktemp("runs"), count=36, specs=(WAVLM, M2D), axes=3)


def test_a_run_is_kept_whole_and_read_back(work: Path) -> None:
    features = Features.open(work)
    config = configure(features.table.id, [WAVLM.id, M2D.id], "mlp", "con", epochs=2)
    assert list(train_runs([config], features, work)) == [(config, "")]
    run = Run.of(work, config)
    assert run == Run.open(run.folder)
    head = Head.load(run.head_path)
    for split in ("dev", "pam", "test"):
        stored = run.predictions(split)
        assert stored.axes == ("CE", "CU", "PC")
        assert stored.run == config.id == run.folder.name
        assert stored.caveats == ("synthetic audio", "untrained wavlm", "untrained m2d")
        assert np.array_equal(stored.values, predict(head, features, features.of(split)))
        assert stored.clip_ids == tuple(features.clips[n].id for n in features.of(split))
    about = run.record
    assert about["data"] == features.table.id
    assert set(about["encoders"]) == {WAVLM.id, M2D.id}
    assert about["encoders"][WAVLM.id]["weights"] == "random:0"
    assert about["calibration"]["fitted"] is True
    assert len(about["curve"]) == 2
    assert about["clips"] == {"train": 18, "dev": 6, "pam": 6, "test": 6}
    assert {"torch", "numpy", "python"} <= set(about["versions"])
    assert about["versions"]["mmmos"] == mmmos.__version__
    written = {path.name: path.stat().st_mtime_ns for path in run.folder.iterdir()}
    assert list(train_runs([config], features, work)) == [(config, "")]
    assert {path.name: path.stat().st_mtime_ns for path in run.folder.iterdir()} == written


def test_the_record_comes_last(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    features = Features.open(work)
    config = configure(features.table.id, [WAVLM.id], "mlp", "ut", epochs=1)
    kept = files.write_atomic
    for allowed in range(6):
        left = [allowed]

        def fail(path: Path, *parts: bytes, left: list[int] = left) -> None:
            if left[0] == 0:
                raise OSError("no space left on device")
            left[0] -= 1
            kept(path, *parts)

        monkeypatch.setattr(files, "write_atomic", fail)
        with pytest.raises(OSError, match="no space"):
            list(train_runs([config], features, work))
        assert not Run.of(work, config).is_whole
    monkeypatch.setattr(files, "write_atomic", kept)
    list(train_runs([config], features, work))
    assert Run.of(work, config).is_whole


def test_a_config_for_other_data_is_refused(work: Path) -> None:
    config = configure("data-000000000000", [WAVLM.id], "mlp", "ut")
    with pytest.raises(ValueError, match="the config is for data-000000000000, the clip table here is data-"):
        list(train_runs([config], Features.open(work), work))
