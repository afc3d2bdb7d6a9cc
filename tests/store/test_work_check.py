"""Every stored file of a work folder is checked; what killed writers left in it is found and removed."""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np
import pytest

from mmmos.heads.ensemble import from_weights
from mmmos.heads.grids import grid
from mmmos.heads.runs import Run
from mmmos.heads.training.data import Features
from mmmos.heads.training.parallel import train_grid
from mmmos.heads.tuning.sweep import sweep
from mmmos.store import files, sealed
from mmmos.store.clips import load_table
from mmmos.store.work_check import DAMAGED, KINDS, SEALED, UNSEALED, check_work, gc_work
from tests.heads.small import M2D, WAVLM, work_folder


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table, a run, a sweep of two trials and an ensemble."""
    folder = work_folder(tmp_path_factory.mktemp("work"), count=36, specs=(WAVLM, M2D))
    features = Features.open(folder)
    (config,) = grid(
        "paper", features.specs, features.table.id, aggregators=["mlp"], losses=["ut"], epochs=1
    )[:1]
    train_grid([config], folder, jobs=1, folds=2)
    sweep([config], folder, trials=2, jobs=1)
    from_weights("best:pam", {config.id: 1.0}, features.table.id).save(folder / "ensemble.json")
    return folder


def test_everything_that_is_written_is_sealed(work: Path) -> None:
    found = check_work(work)
    assert {one.outcome for one in found} == {SEALED}, found
    names = {one.path.name for one in found}
    assert {"clips.json", "ensemble.json", "sweep.journal", "config.json", "record.json"} <= names
    assert {"head.safetensors", "predictions-dev.parquet", "record-oof.json"} <= names


def test_a_changed_bit_anywhere_is_found_and_named(work: Path) -> None:
    rng = np.random.default_rng(0)
    for pattern, check in KINDS.items():
        for path in sorted(work.glob(pattern))[:2]:
            whole = path.read_bytes()
            places = [*range(0, len(whole), max(1, len(whole) // 24)), len(whole) - 1]
            for at in places:
                broken = bytearray(whole)
                broken[at] ^= 1 << int(rng.integers(8))
                path.write_bytes(broken)
                with pytest.raises(ValueError, match=re.escape(path.name)):
                    check(path)
            path.write_bytes(whole)
    assert {one.outcome for one in check_work(work)} == {SEALED}


def test_what_reads_them_finds_it_too(work: Path) -> None:
    record = next(work.glob("runs/*/record.json"))
    run = Run.open(record.parent)
    for path, read in (
        (record, lambda: Run.open(record.parent).record),
        (run.predictions_path("dev"), lambda: run.predictions("dev")),
        (work / "clips.json", lambda: load_table(work / "clips.json")),
    ):
        whole = path.read_bytes()
        broken = bytearray(whole)
        broken[len(whole) // 2] ^= 1
        path.write_bytes(broken)
        with pytest.raises(ValueError, match=path.name):
            read()
        assert [one.path for one in check_work(work) if one.outcome == DAMAGED] == [path]
        path.write_bytes(whole)


def test_an_edited_duration_or_path_is_found(work: Path) -> None:
    path = work / "clips.json"
    text = path.read_text()
    for old, new in (('"duration_s": 1', '"duration_s": 2'), ('"path": "', '"path": "x')):
        assert old in text
        path.write_text(text.replace(old, new, 1))
        with pytest.raises(ValueError, match=r"clips\.json is damaged or changed by hand"):
            load_table(path)
    path.write_text(text)


def test_files_without_a_checksum_are_told(work: Path) -> None:
    path = work / "ensemble.json"
    text = path.read_text()
    files.write_json(path, sealed.read_json(path))
    assert [(one.path, one.outcome) for one in check_work(work) if one.outcome != SEALED] == [
        (path, UNSEALED)
    ]
    path.write_text(text)


def test_what_killed_writers_left_goes_and_what_a_user_put_there_stays(tmp_path: Path) -> None:
    work = tmp_path / "work"
    left = work / "runs" / "r" / f"tmp-99-{'0' * 32}"
    mine = work / "tmp-notes.txt"
    aside = work / "bundle.unfinished-999999"
    for path in (left, mine, aside / "README.md", work / "features" / "s" / left.name):
        files.write_text(path, "x")
        os.utime(path, (0, 0))
    assert gc_work(work, dry_run=True).removed == (left,)
    assert set(gc_work(work).removed) == {left, aside}
    assert mine.exists()
    assert (work / "features" / "s" / left.name).exists()
    assert not aside.exists()


@pytest.mark.parametrize("shown", [[], 5, {"README.md": 5}, None])
def test_a_bundle_that_is_not_as_it_should_be_is_damaged(tmp_path: Path, shown: object) -> None:
    path = tmp_path / "bundle" / "bundle.json"
    files.write_json(path, {"shown": shown})
    (found,) = check_work(tmp_path)
    assert (found.path, found.outcome) == (path, DAMAGED)
    assert "shown" in found.reason
