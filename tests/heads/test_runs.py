"""A run on disk, read without torch."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from mmmos.heads.runs import NotStoredError, Run, runs_folder
from tests.heads.made_up import made_up_work


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run.open(next(runs_folder(made_up_work(tmp_path)).iterdir()))


def test_a_run_reads_its_config_record_and_predictions(run: Run, tmp_path: Path) -> None:
    assert run.is_whole
    assert run.id == run.folder.name == run.config.id == run.record["run"]
    assert run == Run.of(tmp_path, run.config)
    assert run.has("dev")
    assert run.predictions("dev").run == run.id
    assert run.encoders[0] == "wavlm"


def test_a_seed_other_than_0_is_part_of_the_title(run: Run) -> None:
    assert run.title == run.config.title
    assert Run(run.folder, replace(run.config, seed=3)).title == f"{run.config.title} seed 3"


def test_a_run_without_its_record_is_not_whole(run: Run) -> None:
    (run.folder / "record.json").unlink()
    assert not run.is_whole


def test_a_folder_under_another_name_is_refused(run: Run) -> None:
    moved = run.folder.rename(run.folder.with_name("renamed"))
    with pytest.raises(ValueError, match=rf"renamed.config\.json is the config of {run.id}"):
        Run.open(moved)


def test_predictions_of_another_run_or_split_are_refused(run: Run) -> None:
    run.predictions_path("dev").rename(run.predictions_path("pam"))
    with pytest.raises(ValueError, match=f"predictions-pam.parquet holds run {run.id} on dev"):
        run.predictions("pam")
    with pytest.raises(NotStoredError, match="no stored predictions on 'dev'"):
        run.predictions("dev")


def test_a_config_with_unknown_fields_is_refused(run: Run) -> None:
    config = run.folder / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "colour": "red"}))
    with pytest.raises(ValueError, match="missing or unknown: colour"):
        Run.open(run.folder)
