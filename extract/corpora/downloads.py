"""Fetching the public label files, each checked by its pinned sha256.

A file counts as there only with the right content; anything else is refused and never kept.
"""

from __future__ import annotations

import hashlib
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mmmos.store import files

BASES = tuple(
    f"https://raw.githubusercontent.com/facebookresearch/audiobox-aesthetics/{revision}/"
    for revision in ("2618e9d", "main")
)
"""The labels' own repository, at the revision that was pinned and as it is now; the sha256 decides."""

PAGES = "https://github.com/facebookresearch/audiobox-aesthetics"

LABELS = {
    "evaluation_data/AES_PAM.jsonl": "3cd83286944e9a7e3aeaecdb7c0476c06f52b9ee85ea5f11869781a2490ab75e",
    "evaluation_data/AES_natural_music.jsonl": (
        "616fd44281bc31168d5779307761ba84799512ae0b6b133d81353b8ea157dccf"
    ),
    "evaluation_data/AES_natural_sound.jsonl": (
        "84350af272600b238942855781b0da15446c8b941a670bb4bf7998bf25d32853"
    ),
    "evaluation_data/AES_natural_speech.jsonl": (
        "2bbb55e272445818d4557ce584866d3b7afdac745e22287a6bbe35e638a7992b"
    ),
    "audiomos2025_track2/audiomos2025-track2-dev_list.csv": (
        "17c63bdc937fbd66d80654b262cf86537813a9a7bcba3b7a51b3a78b8b57b68f"
    ),
    "audiomos2025_track2/audiomos2025-track2-train_list.csv": (
        "1b45657b2cf39a13ea1a4ce5af95e5d2a582e0f23372094386e800b884ec2e55"
    ),
    "audiomos2025_track2/audiomos2025_track2_human_annotations.jsonl": (
        "19ce27dc7aebac13b4a4357da31d2d7fa57d7a01993a14ec5f091ea9f4d20cc0"
    ),
}
"""Path in that repository -> sha256 of what it must hold; a user's folder holds the files side by side."""

TIMEOUT_S = 30.0
MAX_BYTES = 64 << 20
"""The largest label file has 1 MB; more than this is not one of them."""


class DownloadError(RuntimeError):
    """What could not be fetched, and what to put where by hand."""


@dataclass(frozen=True)
class Fetched:
    """Names of the label files that were there already, and of those fetched now."""

    present: tuple[str, ...]
    fetched: tuple[str, ...]


def missing_labels(folder: Path, wanted: Mapping[str, str]) -> dict[str, str]:
    """Path -> why it does not count: "missing", or that its content is not the published one."""
    problems = {}
    for path, sha256 in wanted.items():
        try:
            found = hashlib.sha256(files.read_bytes(_kept(folder, path), MAX_BYTES)).hexdigest()
        except FileNotFoundError:
            problems[path] = "missing"
            continue
        if found != sha256:
            problems[path] = f"its sha256 is {found[:12]}..., the published file's {sha256[:12]}..."
    return problems


def fetch_labels(folder: Path, wanted: Mapping[str, str], bases: Sequence[str]) -> Fetched:
    """Fetch those of `wanted` (path -> sha256) that `folder` lacks, from the first base that has them.

    Raises
    ------
    DownloadError
        After everything that could be fetched is kept: it names each file that is still not there, where
        it is published and where it belongs.  Running again fetches only these.
    """
    todo = missing_labels(folder, wanted)
    for path, problem in todo.items():
        if _kept(folder, path).exists():
            raise DownloadError(
                f"{_kept(folder, path)} is there and is not the published file ({problem}): it is not "
                "written over; move it away, or name another folder"
            )
    reasons = {path: _fetch(folder, path, wanted[path], bases) for path in todo}
    failed = {path: reason for path, reason in reasons.items() if reason}
    if failed:
        lines = [
            f"{path} -> {_kept(folder, path)}, sha256 {wanted[path]}: {reason}"
            for path, reason in failed.items()
        ]
        raise DownloadError(
            f"{len(failed)} of {len(wanted)} label files could not be fetched from "
            f"{' or '.join(bases) or 'anywhere'}. Run this again to go on, or take them by hand from {PAGES} "
            "and put them here:\n  " + "\n  ".join(lines)
        )
    present = tuple(_kept(folder, path).name for path in wanted if path not in todo)
    return Fetched(present, tuple(_kept(folder, path).name for path in todo))


def _kept(folder: Path, path: str) -> Path:
    """Where a published file is kept: all in one folder."""
    return Path(folder) / path.rpartition("/")[2]


def _fetch(folder: Path, path: str, sha256: str, bases: Sequence[str]) -> str:
    """Fetch one file; the reason why not, or ""."""
    reason = ""
    for base in bases:
        try:
            data = _read_url(base + path)
        except (OSError, ValueError) as error:
            # A later base that does not have the file must not hide what an earlier one failed by.
            reason = str(error) if not reason or "404" in reason else reason
            continue
        if hashlib.sha256(data).hexdigest() == sha256:
            files.write_atomic(_kept(folder, path), data)
            return ""
        reason = f"what is there is something else ({len(data)} bytes)"
    return reason or "no address to fetch it from"


def _read_url(url: str) -> bytes:
    """All bytes behind a URL; OSError where they break off, ValueError for more than a label file has."""
    with urllib.request.urlopen(url, timeout=TIMEOUT_S) as answer:
        data: bytes = answer.read(MAX_BYTES + 1)
        whole = answer.headers.get("Content-Length")
    if len(data) > MAX_BYTES:
        raise ValueError(f"more than {MAX_BYTES} bytes: not a label file")
    if whole is not None and len(data) < int(whole):
        raise OSError(f"broke off after {len(data)} of {whole} bytes")
    return data
