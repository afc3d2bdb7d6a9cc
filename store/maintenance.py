"""Inspecting, checking, cleaning and merging stores; each function is one command, and prints nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mmmos.store import files, shards
from mmmos.store.clips import ClipTable
from mmmos.store.crops import crops_of
from mmmos.store.features import LOCK_FILE, FeatureStore
from mmmos.store.index import CACHE_FILE
from mmmos.store.leftovers import Leftover, leftovers_in
from mmmos.store.schema import Crop, EncoderSpec
from mmmos.store.shard_check import Claims, read_row, read_shard
from mmmos.store.shards import NAME_PATTERN, CropFeatures, DamagedError, Shard
from mmmos.store.specs import SPEC_FILE, near_misses, read_spec

OWN_FILES = (SPEC_FILE, LOCK_FILE, CACHE_FILE)


@dataclass(frozen=True)
class StoreInfo:
    """What lies in one store's folder.

    bytes:     of all shards.
    damaged:   shard name -> reason.
    leftovers: temporary files of writers, at work or dead.
    unknown:   names of files that no store has.
    wanted, missing: crops of a clip table, and how many of them are not stored; None without a table.
    """

    folder: Path
    spec: EncoderSpec
    crops: int
    shards: int
    bytes: int
    damaged: dict[str, str]
    leftovers: tuple[Leftover, ...]
    unknown: tuple[str, ...]
    wanted: int | None = None
    missing: int | None = None


@dataclass(frozen=True)
class Damage:
    """One thing that is not as it was written; `crop` is "" where the whole shard is meant."""

    shard: str
    crop: str
    reason: str


@dataclass(frozen=True)
class Verified:
    """What `verify` found.

    crops_read: crops whose data was read; duplicates: crops that stand in several shards; missing: ids of a
    clip table's crops that are not stored.
    """

    folder: Path
    shards: int
    crops: int
    crops_read: int
    damaged: tuple[Damage, ...]
    duplicates: int
    missing: tuple[str, ...] = ()

    @property
    def outcome(self) -> str:
        """ "damaged", else "missing", else "clean"."""
        return "damaged" if self.damaged else "missing" if self.missing else "clean"


@dataclass(frozen=True)
class Collected:
    """What `gc` removed, and what it left with the reason."""

    removed: tuple[Path, ...]
    bytes: int
    kept: dict[Path, str]


@dataclass(frozen=True)
class Merged:
    """Crops that `merge` added, crops that were there already, and what the source had damaged."""

    spec: EncoderSpec
    added: int
    present: int
    damaged: tuple[Damage, ...]


def info(folder: Path, table: ClipTable | None = None) -> StoreInfo:
    """Describe a store; with a surveyed clip table also which of its crops are not there."""
    store = FeatureStore.open(folder)
    sizes = files.listing(folder)
    names = shard_names(folder)
    left = tuple(leftovers_in(folder))
    known = {*names, *OWN_FILES, *(one.path.name for one in left)}
    wanted = crops_of_table(table) if table is not None else None
    return StoreInfo(
        folder=Path(folder),
        spec=store.spec,
        crops=len(store),
        shards=len(names),
        bytes=sum(sizes.get(name, 0) for name in names),
        damaged=store.damaged,
        leftovers=left,
        unknown=tuple(sorted(sizes.keys() - known)),
        wanted=None if wanted is None else len(wanted),
        missing=None if wanted is None else len(store.missing(wanted)),
    )


def shard_names(folder: Path) -> list[str]:
    """The files in a store's folder that have a shard's name, in order."""
    return sorted(name for name in files.listing(folder) if NAME_PATTERN.fullmatch(name))


def crops_of_table(table: ClipTable) -> list[Crop]:
    """The crops of a surveyed table, each once: clips over the same audio share theirs."""
    return list({crop.id: crop for clip in table.clips for crop in crops_of(clip)}.values())


def verify(folder: Path, *, fraction: float = 0.0, seed: int = 0, table: ClipTable | None = None) -> Verified:
    """Check names, sizes, heads and structure of all shards, and the data of some crops.

    Parameters
    ----------
    fraction
        Share of the crops whose data is read: 0 for none, 1 for all, else a random sample by `seed`.
    table
        A surveyed clip table; its crops that are not stored count as missing.
    """
    folder = Path(folder)
    try:
        spec = read_spec(folder)
    except (OSError, ValueError) as reason:
        return Verified(folder, 0, 0, 0, (Damage(SPEC_FILE, "", str(reason)),), 0)
    rng = np.random.default_rng(seed)
    wanted = crops_of_table(table) if table is not None else []
    claims = Claims(spec, wanted)
    names = shard_names(folder)
    seen: Counter[str] = Counter()
    damaged: list[Damage] = []
    read = 0
    for shard in _shards(folder, names, spec):
        if isinstance(shard, Damage):
            damaged.append(shard)
            continue
        seen.update(shard.crop_ids)
        damaged += [Damage(shard.name, crop_id, reason) for crop_id, reason in claims.against(shard)]
        rows = np.flatnonzero(rng.random(len(shard.crop_ids)) < fraction)
        read += len(rows)
        damaged += [found for found in _read_rows(folder, shard, spec, rows) if isinstance(found, Damage)]
    return Verified(
        folder=folder,
        shards=len(names),
        crops=len(seen),
        crops_read=read,
        damaged=tuple(damaged),
        duplicates=sum(count > 1 for count in seen.values()),
        missing=tuple(crop.id for crop in wanted if crop.id not in seen),
    )


def gc(folder: Path, *, min_age_s: float = 3600.0, damaged: bool = False, dry_run: bool = False) -> Collected:
    """Remove temporary files that no process holds and nobody has written to for `min_age_s` seconds.

    Parameters
    ----------
    damaged
        Also remove the shards that a full `verify` finds damaged, so that their crops are extracted again.
    dry_run
        Only say what would be removed.
    """
    folder = Path(folder)
    going, kept = sort_out(leftovers_in(folder), min_age_s)
    if damaged:
        sizes = files.listing(folder)
        bad = {found.shard for found in verify(folder, fraction=1.0).damaged} - {SPEC_FILE}
        going += [(folder / name, sizes[name]) for name in sorted(bad)]
    if not dry_run:
        for path, _ in going:
            files.remove(path)
    return Collected(tuple(path for path, _ in going), sum(size for _, size in going), kept)


def sort_out(
    leftovers: Iterable[Leftover], min_age_s: float
) -> tuple[list[tuple[Path, int]], dict[Path, str]]:
    """Which temporary files may go, with their sizes, and which stay, with the reason."""
    going: list[tuple[Path, int]] = []
    kept: dict[Path, str] = {}
    for one in leftovers:
        if one.in_use:
            kept[one.path] = "a process is writing it"
        elif one.age_s < min_age_s:
            kept[one.path] = f"written {one.age_s:.0f} s ago, younger than {min_age_s:.0f} s"
        else:
            going.append((one.path, one.bytes))
    return going, kept


def merge(source: Path, root: Path) -> Merged:
    """Take the crops of the store in `source` that the store of the same signature below `root` lacks.

    Everything is checked on the way in; damaged crops are not taken, but reported.

    Raises
    ------
    ValueError
        Where `root` has this encoder under another signature only: it says which fields differ.
    """
    source = Path(source)
    spec = read_spec(source)
    differing = near_misses(root, spec)
    if differing:
        raise ValueError(
            "\n  ".join([f"{spec.id} cannot be merged: {root} has features made differently.", *differing])
        )
    store = FeatureStore(root, spec)
    if store.folder.resolve() == source.resolve():
        raise ValueError(f"{source} cannot be merged into itself")
    damaged: list[Damage] = []
    added = present = 0
    for shard in _shards(source, shard_names(source), spec):
        if isinstance(shard, Damage):
            damaged.append(shard)
            continue
        new = np.array([row for row, crop_id in enumerate(shard.crop_ids) if crop_id not in store], dtype=int)
        found = list(_read_rows(source, shard, spec, new))
        damaged += [one for one in found if isinstance(one, Damage)]
        good = [one for one in found if not isinstance(one, Damage)]
        present += len(shard.crop_ids) - len(new)
        added += len(good)
        if good:
            rows, frames, means = zip(*good, strict=True)
            ids, valid = [shard.crop_ids[row] for row in rows], shard.valid_frames[list(rows)]
            store.append_rows(CropFeatures(ids, valid, np.stack(frames), np.stack(means)))
    return Merged(spec, added, present, tuple(damaged))


def _shards(folder: Path, names: list[str], spec: EncoderSpec) -> Iterator[Shard | Damage]:
    """Each shard, checked but for its data, or why it cannot be used."""
    for name in names:
        try:
            yield read_shard(folder, name, spec)
        except (OSError, EOFError, ValueError) as reason:
            yield Damage(name, "", str(reason))


def _read_rows(
    folder: Path, shard: Shard, spec: EncoderSpec, rows: np.ndarray
) -> Iterator[Damage | tuple[int, np.ndarray, np.ndarray]]:
    """(row, frames, means) of each row asked for, or what is wrong with it."""
    if not len(rows):
        return
    fd = files.open_regular(folder / shard.name)
    try:
        for row in rows.tolist():
            frames = np.empty(shards.frame_shape(spec), dtype=shards.FRAMES)
            means = np.empty(shards.mean_shape(spec), dtype=shards.MEANS)
            try:
                read_row(fd, shard, row, 0, frames)
                read_row(fd, shard, row, 1, means)
            except (OSError, DamagedError) as reason:
                yield Damage(shard.name, shard.crop_ids[row], str(reason))
            else:
                yield row, frames, means
    finally:
        files.close(fd)
