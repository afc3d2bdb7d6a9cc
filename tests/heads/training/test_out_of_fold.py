"""Out-of-fold predictions: every rated training clip once, by a head that never saw its group."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mmmos.heads.config import HeadConfig
from mmmos.heads.grids import configure
from mmmos.heads.runs import Run
from mmmos.heads.training import out_of_fold as module
from mmmos.heads.training.data import Features, Indices
from mmmos.heads.training.fit import Fit, fit
from mmmos.heads.training.out_of_fold import has_out_of_fold, keep_out_of_fold, out_of_fold
from mmmos.heads.training.parallel import train_grid
from tests.heads.small import M2D, WAVLM, work_folder


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return work_folder(tmp_path_factory.mktemp("oof"), count=48, specs=(WAVLM, M2D))


def test_no_head_sees_the_groups_it_predicts(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    features = Features.open(work)
    config = configure(features.table.id, [WAVLM.id, M2D.id], "mlp", "con", epochs=1)
    trained: list[Indices] = []

    def watch(config: HeadConfig, features: Features, *, train: Indices) -> Fit:
        trained.append(train)
        return fit(config, features, train=train)

    monkeypatch.setattr(module, "fit", watch)
    found = out_of_fold(config, features, 3)
    ids = [features.clips[n].id for n in features.of("train")]
    assert sorted(found.clip_ids) == sorted(ids)
    assert len(trained) == 3
    groups = [{features.clips[n].group for n in clips} for clips in trained]
    all_groups = set.union(*groups)
    left_out = [all_groups - seen for seen in groups]
    assert set.union(*left_out) == all_groups
    assert sum(map(len, left_out)) == len(all_groups)


def test_they_are_kept_beside_the_run_and_made_once(work: Path) -> None:
    features = Features.open(work)
    config = configure(features.table.id, [WAVLM.id], "mlp", "ut", epochs=1)
    assert train_grid([config], work, jobs=1).trained == (config.id,)
    assert train_grid([config], work, jobs=1, folds=3).trained == (config.id,)
    assert train_grid([config], work, jobs=1, folds=3).kept == (config.id,)
    assert has_out_of_fold(work, config, 3)
    assert not has_out_of_fold(work, config, 4)
    stored = Run.of(work, config).predictions("oof")
    assert stored.split == "oof"
    again = out_of_fold(config, features, 3)
    assert again == stored
    assert np.array_equal(keep_out_of_fold(config, features, work, 3).values, stored.values)
