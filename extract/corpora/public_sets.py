"""Listening tests that are published with their audio: what they are, and how their files are fetched.

Files of the hub come through huggingface_hub, which goes on with a broken download and checks sizes; those of
Zenodo are checked by the md5 that its record names.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import urllib.request
import zipfile
import zlib
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path

from mmmos.extract.corpora.downloads import DownloadError
from mmmos.store import files, sealed
from mmmos.store.console import say
from mmmos.store.shape import require

HUB: str | None = None
"""Address of the hub; None for huggingface_hub's own."""

ZENODO = "https://zenodo.org/api/records/"
TIMEOUT_S = 60.0
PIECE_BYTES = 1 << 20
RECORD = {"files": [{"key": str, "checksum": str, "links": {"self": str}}]}
"""What is needed of a record on Zenodo."""
BROKEN = (OSError, ValueError, RuntimeError, EOFError, HTTPException, zipfile.BadZipFile, zlib.error)
"""What a connection, an answer or an archive that is not as it should be ends in."""


@dataclass(frozen=True)
class PublicSet:
    """A published listening test.

    hub, zenodo: name of its data set on the hub, or number of its record on Zenodo.
    licence:     its terms, in words.
    size:        of the download, in words.
    files:       patterns of the files that are needed.
    """

    title: str
    licence: str
    size: str
    hub: str = ""
    zenodo: str = ""
    files: tuple[str, ...] = ()

    @property
    def page(self) -> str:
        """Where a person finds it."""
        if self.hub:
            return f"https://huggingface.co/datasets/{self.hub}"
        return f"https://zenodo.org/records/{self.zenodo}"


SETS = {
    "audioeval": PublicSet(
        "AudioEval: 4,200 text-to-audio clips of 24 systems, five axes (arXiv 2510.14570)",
        "CC BY-NC 4.0: not for commercial use",
        "12 hours of audio",
        hub="Hui519/AudioEval",
        files=("data/*", "annotations/*", "prompts.tsv", "README.md"),
    ),
    "songeval": PublicSet(
        "SongEval: 2,399 songs, five axes (arXiv 2505.10793)",
        "CC BY-NC-SA 4.0: not for commercial use",
        "140 hours of audio",
        hub="ASLP-lab/SongEval",
        files=("metadata.jsonl", "mp3/*", "README.md"),
    ),
    "pam": PublicSet(
        "PAM: 1,000 clips of text-to-audio and text-to-music systems, rated as AES-PAM",
        "see its record on Zenodo; the ratings are CC BY 4.0",
        "one archive",
        zenodo="10737388",
    ),
}


def fetch(name: str, folder: Path, *, accepted: bool) -> None:
    """Fetch what `folder` lacks of a set.

    Raises
    ------
    ValueError
        Where its licence was not accepted: it says the terms.
    DownloadError
        Where something could not be fetched, with the page to take it from by hand.
    """
    one = SETS[name]
    say(f"{one.title}. Licence: {one.licence}. {one.page}")
    if not accepted:
        raise ValueError(
            f"{name} is fetched ({one.size}) once you accept its licence ({one.licence}, {one.page}): "
            "--accept-licence. What lies in the folder already needs no download: --no-download"
        )
    refuse_others(one, folder)
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError

    folder.mkdir(parents=True, exist_ok=True)
    try:
        if one.hub:
            wanted = list(one.files)
            snapshot_download(
                one.hub, repo_type="dataset", local_dir=folder, allow_patterns=wanted, endpoint=HUB
            )
        else:
            _fetch_record(one.zenodo, folder)
    except (*BROKEN, HfHubHTTPError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise DownloadError(
            f"{name} could not be fetched: {reason}. Run this again to go on, or take it from {one.page} by "
            f"hand, put it into {folder}, and say --no-download"
        ) from None


def refuse_others(one: PublicSet, folder: Path) -> None:
    """ValueError where a set of the hub would be fetched into a folder of something else.

    The hub's client replaces what has the name of a published file; where it has fetched before, it keeps a
    folder .cache of its own.  What is fetched otherwise is compared file by file.
    """
    if one.hub and folder.exists() and any(folder.iterdir()) and not (folder / ".cache").is_dir():
        first = min(path.name for path in folder.iterdir())
        raise ValueError(
            f"{folder} holds {first} and more that was not fetched here: name a new folder, or say "
            "--no-download to take what lies in it"
        )


def _fetch_record(number: str, folder: Path) -> None:
    """The files of a record on Zenodo, each checked by its md5; archives are unpacked beside themselves."""
    with urllib.request.urlopen(ZENODO + number, timeout=TIMEOUT_S) as answer:
        record = sealed.parse_json(answer.read(PIECE_BYTES), f"the record {number}")
    require(record, RECORD, f"the record {number}")
    for file in record["files"]:
        name, checksum = Path(file["key"]).name, file["checksum"].removeprefix("md5:")
        target = folder / name
        if not target.is_file() or _md5(target) != checksum:
            if os.path.lexists(target):
                raise ValueError(f"{target} is there and is not the published file: move it away")
            _download(file["links"]["self"], target, checksum)
        if name.endswith(".zip"):
            unpack(target, folder)


def _download(address: str, target: Path, checksum: str) -> None:
    found = hashlib.md5(usedforsecurity=False)
    with urllib.request.urlopen(address, timeout=TIMEOUT_S) as answer, files.writing(target) as file:
        while piece := answer.read(PIECE_BYTES):
            found.update(piece)
            file.write(piece)
        if found.hexdigest() != checksum:
            raise ValueError(
                f"{target.name} has md5 {found.hexdigest()}, the record says {checksum}; it was removed"
            )


def _md5(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def unpack(archive: Path, folder: Path) -> None:
    """Unpack the regular files of a zip that lie inside `folder`; ValueError for any other path."""
    with zipfile.ZipFile(archive) as opened:
        for entry in opened.infolist():
            target = (folder / entry.filename).resolve()
            if not target.is_relative_to(folder.resolve()):
                raise ValueError(f"{archive} holds {entry.filename}, which leads out of {folder}")
            if entry.is_dir() or (target.is_file() and target.stat().st_size == entry.file_size):
                continue
            if os.path.lexists(target):
                raise ValueError(f"{target} is there and is not the one of {archive.name}: move it away")
            with opened.open(entry) as source, files.writing(target) as file:
                shutil.copyfileobj(source, file, PIECE_BYTES)
