"""A trial is an ordinary run that can be watched, and stopped, while it trains."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from mmmos.heads.grids import configure
from mmmos.heads.network.model import Head
from mmmos.heads.network.reading import Batch
from mmmos.heads.training.data import Features
from mmmos.heads.tuning.objective import Objective
from mmmos.heads.tuning.study import Plan, TrialRow
from mmmos.heads.tuning.trials import stored_predictions, train_trial
from mmmos.store.predictions import Predictions
from tests.heads.small import M2D, work_folder


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return work_folder(tmp_path_factory.mktemp("trials"), count=36, specs=(M2D,))


def plan_of(work: Path, objective: str, seed: int = 0) -> tuple[Plan, Features]:
    features = Features.open(work)
    config = configure(features.table.id, [M2D.id], epochs=3, patience=3, seed=seed)
    return Plan((config,), Objective.parse(objective), 0, 3), features


def test_every_epoch_is_reported_and_the_run_is_kept(work: Path) -> None:
    plan, features = plan_of(work, "pam:srcc")
    seen: list[tuple[Predictions, int]] = []
    found = train_trial(plan, plan.bases[0], features, work, lambda *told: seen.append(told))
    assert [step for _, step in seen] == [1, 2, 3]
    assert {told.split for told, _ in seen} == {found.split} == {"pam"}
    assert (work / "runs" / found.run / "record.json").is_file()


def test_dev_clips_are_looked_at_once_an_epoch(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan, features = plan_of(work, "dev:srcc", seed=5)
    crops = len(features.rows(features.of("dev")))
    looks: list[int] = []
    plain = Head.for_loss

    def counted(head: Head, batch: Batch) -> torch.Tensor:
        looks.append(0 if head.training else len(batch.valid_s))
        return plain(head, batch)

    monkeypatch.setattr(Head, "for_loss", counted)
    seen: list[tuple[float, int]] = []

    def report(told: Predictions, step: int) -> None:
        seen.append((float(told.values.sum()), sum(looks)))

    found = train_trial(plan, plan.bases[0], features, work, report)
    assert [total for _, total in seen] == [crops, 2 * crops, 3 * crops]
    assert found.values.sum() in [value for value, _ in seen], "the same bits as of the run that is kept"


def test_a_run_that_is_there_is_not_trained_again(work: Path) -> None:
    plan, features = plan_of(work, "pam:srcc", seed=1)
    first = train_trial(plan, plan.bases[0], features, work, lambda *told: None)

    def nobody_asks(*told: object) -> None:
        raise AssertionError("it was trained again")

    assert train_trial(plan, plan.bases[0], features, work, nobody_asks) == first


def test_a_report_may_stop_the_trial_and_nothing_is_kept(work: Path) -> None:
    plan, features = plan_of(work, "pam:srcc", seed=2)

    def stop(*told: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_trial(plan, plan.bases[0], features, work, stop)
    assert not (work / "runs" / plan.bases[0].id / "record.json").exists()


def test_out_of_fold_objectives_are_reported_fold_by_fold_on_more_and_more_clips(work: Path) -> None:
    plan, features = plan_of(work, "oof:srcc", seed=3)
    seen: list[tuple[int, int]] = []
    report = lambda told, step: seen.append((step, len(told.clip_ids)))  # noqa: E731
    found = train_trial(plan, plan.bases[0], features, work, report)
    assert len(seen) == 3
    assert [clips for _, clips in seen] == sorted({clips for _, clips in seen})
    assert set(found.clip_ids) == {clip.id for clip in features.table.of("train")}


def test_what_the_first_and_the_best_trial_predict_is_read_back(work: Path) -> None:
    plan, features = plan_of(work, "pam:srcc", seed=4)
    found = train_trial(plan, plan.bases[0], features, work, lambda *told: None)
    rows = [TrialRow(0, "complete", 0.5, {}, found.run, ""), TrialRow(1, "fail", None, {}, "", "it died")]
    stored = stored_predictions(plan, rows, work)
    assert list(stored) == [found.run]
    assert np.array_equal(stored[found.run].values, found.values)
