"""Bundles on the Hugging Face hub: down to score with, up to share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from huggingface_hub import HfApi, snapshot_download

from heads.bundle import ABOUT, CARD, REFERENCE, load_bundle, read_bundle
from heads.scorer import Scorer

CONTENTS = [ABOUT, CARD, REFERENCE, "heads/*.safetensors", "*.svg"]


def from_pretrained(repo: str, *, revision: str | None = None, **options: Any) -> Scorer:
    """`load_bundle` of a bundle on the Hugging Face hub, or of its cached copy where there is no network."""
    return load_bundle(snapshot_download(repo, revision=revision, allow_patterns=CONTENTS), **options)


def push_to_hub(folder: Path, repo: str, *, private: bool = True, message: str = "") -> str:
    """Upload a bundle's folder as a model repository and return its address; it is read and checked first."""
    bundle = read_bundle(folder)
    api = HfApi()
    api.create_repo(repo, private=private, exist_ok=True)
    done = api.upload_folder(
        repo_id=repo,
        folder_path=str(folder),
        allow_patterns=CONTENTS,
        commit_message=message or f"Upload {bundle.id}",
    )
    return str(done)
