"""Bundles on the Hugging Face hub: downloaded to score with, uploaded to share."""

from __future__ import annotations

from pathlib import Path

from huggingface_hub import HfApi, snapshot_download

from mmmos.heads.scoring.bundle import BundleError, read_bundle
from mmmos.heads.scoring.bundle_folder import FILES

CONTENTS = list(FILES)


def download(repo: str, revision: str | None = None) -> Path:
    """The folder of a bundle owner/name on the Hugging Face hub, or of its cached copy.

    Parameters
    ----------
    revision
        Branch, tag or commit; left out, the newest.

    Raises
    ------
    BundleError
        With the reason, where neither the hub nor its cache has it.
    """
    try:
        return Path(snapshot_download(repo, revision=revision, allow_patterns=CONTENTS))
    except Exception as error:  # the hub client's HTTP library, and so its errors, change with its version
        raise BundleError(
            f"{repo} is neither a folder here nor found on the hub or in its cache: {_reason(error)}"
        ) from error


def push_to_hub(folder: Path, repo: str, *, private: bool = True) -> str:
    """Upload a bundle's folder, once read and checked, as a model repository; returns its address.

    Raises
    ------
    BundleError
        Where the folder is not a whole bundle (nothing is uploaded then), or the hub does not take it.
    """
    bundle = read_bundle(folder)
    api = HfApi()
    try:
        api.create_repo(repo, private=private, exist_ok=True)
        done = api.upload_folder(
            repo_id=repo,
            folder_path=str(folder),
            allow_patterns=CONTENTS,
            commit_message=f"Upload {bundle.id}",
        )
    except Exception as error:  # see above
        raise BundleError(f"{folder} could not be uploaded to {repo}: {_reason(error)}") from error
    return str(done)


def _reason(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
