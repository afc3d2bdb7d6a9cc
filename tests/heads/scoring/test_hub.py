"""Bundles to the hub and back, on a folder that stands for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mmmos.heads.scoring.bundle import BundleError, read_bundle
from mmmos.heads.scoring.hub import push_to_hub
from mmmos.heads.scoring.opening import load_scorer
from tests.heads.scoring.experiment import scoring_experiment


class FakeHub:
    """What is called of huggingface_hub, onto a folder; its cache is made of links, as the hub's is."""

    def __init__(self, root: Path) -> None:
        self.root, self.private = root, None

    def create_repo(self, repo: str, private: bool, exist_ok: bool) -> None:
        self.private = private

    def upload_folder(
        self, repo_id: str, folder_path: str, allow_patterns: list[str], commit_message: str
    ) -> str:
        folder = Path(folder_path)
        for pattern in allow_patterns:
            for path in folder.glob(pattern):
                blob = self.root / "blobs" / str(path.relative_to(folder)).replace("/", "-")
                blob.parent.mkdir(parents=True, exist_ok=True)
                blob.write_bytes(path.read_bytes())
                link = self.root / "snapshot" / path.relative_to(folder)
                link.parent.mkdir(parents=True, exist_ok=True)
                link.symlink_to(blob)
        return f"https://hub/{repo_id}"


def test_to_the_hub_and_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = scoring_experiment().bundle
    hub = FakeHub(tmp_path)
    monkeypatch.setattr("mmmos.heads.scoring.hub.HfApi", lambda: hub)
    monkeypatch.setattr(
        "mmmos.heads.scoring.hub.snapshot_download", lambda *a, **k: str(tmp_path / "snapshot")
    )
    assert push_to_hub(folder, "somebody/scores") == "https://hub/somebody/scores"
    assert hub.private is True
    assert load_scorer("somebody/scores", device="cpu").id == read_bundle(folder).id
    with pytest.raises(BundleError):
        push_to_hub(tmp_path, "somebody/nothing")


def test_without_a_network_an_upload_ends_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(*args: Any, **options: Any) -> str:
        raise ConnectionError("no network\nat all")

    monkeypatch.setattr("mmmos.heads.scoring.hub.HfApi.create_repo", gone)
    with pytest.raises(BundleError, match=r"could not be uploaded to somebody/scores: no network$"):
        push_to_hub(scoring_experiment().bundle, "somebody/scores")


def test_what_the_hub_does_not_have_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def gone(*args: Any, **options: Any) -> str:
        raise ConnectionError("no network")

    monkeypatch.setattr("mmmos.heads.scoring.hub.snapshot_download", gone)
    with pytest.raises(BundleError, match=r"neither a folder here nor found on the hub.*no network"):
        load_scorer("somebody/scores")
