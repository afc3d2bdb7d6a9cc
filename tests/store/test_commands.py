"""`store info | verify | gc | merge | export` as a shell sees them: what they say, and their exit codes."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from mmmos.store.console import DAMAGED, MISSING, OK, REFUSED
from mmmos.store.features import list_stores
from tests.corpus import small_corpus


@pytest.fixture
def work(cli, tmp_path: Path) -> Path:
    """A work folder with log-mel features of the small corpus."""
    corpus, work = small_corpus(tmp_path / "data"), tmp_path / "work"
    assert cli("extract", "--clips", corpus, "--work", work, "--encoders", "logmel").code == OK
    return work


def shard(work: Path) -> Path:
    return next((work / "features").glob("*/shard-*.h5"))


def test_info_spells_out_the_signature_and_what_is_missing(cli, work: Path) -> None:
    said = cli("store", "info", "--work", work).out
    assert "sample_rate_hz" in said
    assert "24000" in said
    assert "of them missing" in said
    assert cli("store", "info", "--work", work, "--encoder", "wavlm").code == REFUSED


def test_verify_has_an_exit_code_for_each_outcome(cli, work: Path) -> None:
    assert cli("store", "verify", "--work", work).code == OK
    assert cli("store", "verify", "--work", work, "--subset", "50%").code == OK
    assert cli("store", "verify", "--work", work, "--subset", "half").code == REFUSED
    data = bytearray(shard(work).read_bytes())
    data[-5] ^= 1
    shard(work).write_bytes(data)
    found = cli("store", "verify", "--work", work, "--read-data")
    assert found.code == DAMAGED
    crop = list(list_stores(work / "features")[0].crop_ids())
    assert any(one in found.err for one in crop), "the crop is named"
    assert cli("store", "gc", "--work", work, "--damaged").code == OK
    assert cli("store", "verify", "--work", work).code == MISSING
    assert cli("extract", "--work", work).code == OK
    assert cli("store", "verify", "--work", work, "--read-data").code == OK


def test_gc_takes_old_left_overs_only(cli, work: Path) -> None:
    left = shard(work).parent / "tmp-1-0"
    left.write_bytes(b"half a shard")
    assert "younger" in cli("store", "gc", "--work", work).err
    assert left.exists()
    os.utime(left, (0, 0))
    assert "would remove" in cli("store", "gc", "--work", work, "--dry-run").err
    assert left.exists()
    assert cli("store", "gc", "--work", work).code == OK
    assert not left.exists()


def test_features_from_elsewhere_are_merged_and_used_without_audio(cli, work: Path, tmp_path: Path) -> None:
    there = tmp_path / "there"
    assert "crops added" in cli("store", "merge", work / "features", "--work", there).err
    assert ": 0 crops added" in cli("store", "merge", work / "features", "--work", there).err
    shutil.copy(work / "clips.json", there)
    shutil.rmtree(tmp_path / "data")
    words = ("--aggregator", "mlp", "--loss", "ut", "--epochs", "1", "--jobs", "1")
    assert cli("heads", "--work", there, *words).code == OK
    assert cli("store", "merge", tmp_path / "nowhere", "--work", there).code == REFUSED


def test_export_writes_one_row_a_crop(cli, work: Path, tmp_path: Path) -> None:
    assert cli("store", "export", "--work", work, "--npz", tmp_path / "npz").code == OK
    with np.load(next((tmp_path / "npz").glob("logmel-*.npz"))) as stored:
        assert len(stored["clip_id"]) == len(list_stores(work / "features")[0])
        assert stored["means"].shape[1:] == (1, 160)
        assert json.loads(str(stored["spec"]))["name"] == "logmel"
