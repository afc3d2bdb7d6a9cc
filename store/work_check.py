"""Looking after a whole work folder: every stored file against its checksum, and what killed writers left."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from mmmos.store import files, folders, noted, sealed
from mmmos.store.clips import load_table
from mmmos.store.leftovers import leftovers_in
from mmmos.store.lines import MAX_LINE_BYTES
from mmmos.store.maintenance import Collected, sort_out
from mmmos.store.predictions import Predictions
from mmmos.store.shape import require

SEALED, UNSEALED, DAMAGED = "clean", "no checksum (of 0.1, or its writer was stopped)", "damaged"
MAX_BYTES, MAX_ABOUT_BYTES, MAX_HEADER_BYTES = 1 << 32, 1 << 23, 1 << 22
OWN_TEMPORARY = re.compile(r"tmp-[0-9]+-[0-9a-f]{32}")
UNFINISHED = re.compile(r"(?P<name>.+)" + re.escape(folders.UNFINISHED) + "[0-9]+")
JOURNAL = "sweep.journal"


@dataclass(frozen=True)
class Checked:
    """One stored file: `outcome` is SEALED, UNSEALED or DAMAGED, this one with its reason."""

    path: Path
    outcome: str
    reason: str = ""


def _seal(path: Path) -> bool:
    return sealed.is_sealed(files.read_bytes(path.resolve(), MAX_BYTES), path)


def _json(path: Path, limit_bytes: int = sealed.MAX_JSON_BYTES, mark: str = "") -> bool:
    sealed.read_object(path, limit_bytes, mark)
    return _seal(path)


def _tensors(path: Path) -> bool:
    header_bytes = int.from_bytes(files.ends(path.resolve(), 8)[:8], "little")
    if not 0 < header_bytes <= MAX_HEADER_BYTES:
        raise sealed.DamagedFileError(f"{path} is damaged: no safetensors file begins so")
    return _seal(path)


def _table(path: Path) -> bool:
    load_table(path)
    return _seal(path)


def _predictions(path: Path) -> bool:
    Predictions.load(path)
    return _seal(path)


def _journal(path: Path) -> bool:
    every = True
    with os.fdopen(files.open_regular(path), "rb") as file:
        for number, line in enumerate(iter(partial(file.readline, MAX_LINE_BYTES), b""), 1):
            if len(line) == MAX_LINE_BYTES:
                raise sealed.DamagedFileError(f"{path} line {number} has more than {MAX_LINE_BYTES} bytes")
            # The last line may be torn by a kill; one that has its seal is not torn, whatever follows.
            if not line.endswith(b"\n") and not sealed.LINE_END.search(line):
                break
            sealed.open_line(line, f"{path} line {number}")
            every &= sealed.KEY.encode() in line
    return every


def _bundle(path: Path) -> bool:
    about = sealed.read_object(path, MAX_ABOUT_BYTES)
    require(about, {"shown?": {str: str}}, path)
    for name, written in about.get("shown", {}).items():
        if (path.parent / name).is_file() and noted.sha256(path.parent / name) != written:
            raise sealed.DamagedFileError(f"{path.parent / name} is damaged or changed by hand")
    return _seal(path)


KINDS: dict[str, Callable[[Path], bool]] = {
    "clips.json": _table,
    **dict.fromkeys(
        ("extract.json", "ensemble.json", "grids.json", "recipe.json", "reproduction.json"),
        _json,
    ),
    "survey.json": partial(_json, limit_bytes=MAX_BYTES, mark='"recipe"'),
    "part.json": partial(_json, limit_bytes=MAX_BYTES, mark='"format"'),
    "survey.jsonl": _journal,
    noted.FILE: _json,
    **dict.fromkeys(
        ("rejects.csv", "evaluation.csv", "comparison.csv", "ensembles.csv", "report.html", "clips.csv"),
        noted.check,
    ),
    "clips.raters.csv": noted.check,
    "clips.axes.json": noted.check,
    JOURNAL: _journal,
    "sweeps/*.json": _json,
    "test-scores/*.json": _json,
    "runs/*/*.json": _json,
    "runs/*/*.parquet": _predictions,
    "runs/*/*.safetensors": _tensors,
    "baselines/*/*.parquet": _predictions,
    "bundle/heads/*.safetensors": _tensors,
    "bundle/reference.safetensors": _tensors,
    "bundle/bundle.json": _bundle,
}
"""The files of a work folder that are read again, and how each kind is checked; True where it is sealed."""


def check_work(work: Path) -> list[Checked]:
    """Every stored file of a work folder but for its features, which `maintenance.verify` checks."""
    found = [one for part in sorted(Path(work).glob("parts/*/")) for one in check_work(part)]
    for pattern, check in KINDS.items():
        for path in sorted(Path(work).glob(pattern)):
            try:
                found.append(Checked(path, SEALED if check(path) else UNSEALED))
            except (OSError, ValueError, EOFError, MemoryError) as reason:
                found.append(Checked(path, DAMAGED, str(reason)))
    return found


def gc_work(work: Path, *, min_age_s: float = 3600.0, dry_run: bool = False) -> Collected:
    """Remove what killed writers left anywhere in a work folder but in its stores, files and folders."""
    features = Path(work) / "features"
    left = [
        one
        for folder in _folders(Path(work), features)
        for one in leftovers_in(folder)
        if OWN_TEMPORARY.fullmatch(one.path.name) and one.path.is_file()
    ]
    going, kept = sort_out(left, min_age_s)
    if not dry_run:
        for path, _ in going:
            files.remove(path)
    removed = [path for path, _ in going]
    for folder in {aside.with_name(name) for aside, name in _unfinished(Path(work), features)}:
        removed += [] if dry_run else folders.sweep_unfinished(folder)
    return Collected(tuple(removed), sum(size for _, size in going), kept)


def _folders(work: Path, features: Path) -> Iterator[Path]:
    for path, below, _ in os.walk(work):
        below[:] = sorted(name for name in below if Path(path, name) != features)
        yield Path(path)


def _unfinished(work: Path, features: Path) -> Iterator[tuple[Path, str]]:
    for folder in _folders(work, features):
        match = UNFINISHED.fullmatch(folder.name)
        if match:
            yield folder, match["name"]
