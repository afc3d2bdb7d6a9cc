"""Checksums of files that have no place for one of their own (CSV, HTML): checksums.json beside them.

While a file is being written nothing is said of it, so a writer that is killed leaves one without a checksum,
never one that seems damaged.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mmmos.store import files, sealed

FILE = "checksums.json"


@contextmanager
def noting(folder: Path, *names: str) -> Iterator[None]:
    """While the block runs, it may write these files of `folder`; afterwards their sha256 are noted."""
    _change(folder, dict.fromkeys(names))
    yield
    _change(folder, {name: sha256(folder / name) for name in names if (folder / name).is_file()})


def noted(folder: Path) -> dict[str, str]:
    """Name -> sha256 of what is noted in a folder; ValueError where the note itself is not as written."""
    try:
        kept = sealed.read_object(folder / FILE)
    except FileNotFoundError:
        return {}
    if not all(isinstance(digest, str) for digest in kept.values()):
        raise ValueError(f"{folder / FILE} does not list checksums: remove it")
    return kept


def check(path: Path) -> bool:
    """True for a file as it was noted, False for one of which nothing is noted; DamagedFileError else."""
    known = noted(path.parent).get(path.name)
    if known is not None and known != sha256(path):
        raise sealed.DamagedFileError(
            f"{path} is damaged or changed by hand: its checksum says that it changed after it was saved"
        )
    return known is not None


def sha256(path: Path) -> str:
    """Of a whole file, in hex."""
    with os.fdopen(files.open_regular(path), "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _change(folder: Path, changes: dict[str, str] | dict[str, None]) -> None:
    files.make_folder(folder)
    with files.lock(folder):
        try:
            before = noted(folder)
        except ValueError:
            before = {}  # damaged: what it said is lost, and what is written from now on is noted
        after = {name: digest for name, digest in {**before, **changes}.items() if digest is not None}
        if after != before or not (folder / FILE).exists():
            sealed.write_json(folder / FILE, dict(sorted(after.items())))
