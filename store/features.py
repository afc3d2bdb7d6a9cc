"""FeatureStore: what frozen encoders said about every crop, kept in immutable shards.

    features/<spec.id>/spec.json
    features/<spec.id>/shard-<first crop>-<count>-<checksum>.h5      see store/shards.py

The folder's listing is the truth.  A shard is whole or absent: `append` writes it under a temporary
name, reads it back, syncs it and renames it.  Reading checks every row it returns against its
checksum, so a flipped bit is an error that names shard and crop, never a number.
"""

from __future__ import annotations

import json
import threading
import warnings
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import numpy as np
import xxhash

from store import files, shards
from store.schema import Crop, EncoderSpec
from store.shards import DamagedError, Shard

SPEC_FILE = "spec.json"
LOCK_FILE = "lock"
OPEN_FILES = 128
"""Shards held open for reading at a time; the rest are opened again when asked for."""


class FeatureStore:
    """The features of one encoder spec.  Safe to read from many threads, and picklable.

    damaged: {shard name: reason} of shards that were set aside; their crops count as missing.
    """

    def __init__(self, root: Path, spec: EncoderSpec) -> None:
        """Use `root/spec.id`, which the first `append` creates; ValueError where it holds another spec."""
        self.folder = Path(root) / spec.id
        self.spec = spec
        self.damaged: dict[str, str] = {}
        self._lock = threading.RLock()
        self._names: list[str] = []
        self._where: dict[str, int] = {}  # crop id -> shard's number << 8 | row
        self._checked: dict[str, Shard] = {}
        self._open: OrderedDict[str, _Descriptor] = OrderedDict()
        if (self.folder / SPEC_FILE).exists() and read_spec(self.folder) != spec:
            raise ValueError(f"{self.folder} holds the features of another encoder than its name says")
        self.refresh()

    @classmethod
    def open(cls, folder: Path) -> FeatureStore:
        """The store in a folder, from its own spec.json; enough to read it, without audio or weights."""
        folder = Path(folder)
        return cls(folder.parent, read_spec(folder))

    def __getstate__(self) -> tuple[Path, EncoderSpec]:
        return self.folder.parent, self.spec

    def __setstate__(self, state: tuple[Path, EncoderSpec]) -> None:
        self.__init__(*state)  # type: ignore[misc]

    def __len__(self) -> int:
        return len(self._where)

    def __contains__(self, crop_id: object) -> bool:
        return crop_id in self._where

    def crop_ids(self) -> tuple[str, ...]:
        return tuple(self._where)

    def shard_names(self) -> tuple[str, ...]:
        return tuple(self._names)

    def missing(self, crops: Iterable[Crop]) -> list[Crop]:
        """Those of the crops, each once and in order, that the folder does not hold now."""
        self.refresh()
        wanted = {crop.id: crop for crop in crops}
        return [crop for crop_id, crop in wanted.items() if crop_id not in self._where]

    def refresh(self) -> None:
        """Take in what other processes added or removed since the last look."""
        with self._lock:
            listing = files.listing(self.folder)
            present = {name for name in listing if shards.NAME_PATTERN.fullmatch(name)}
            if not present.issuperset(self._names):
                self._names, self._where = [], {}
            self.damaged = {name: reason for name, reason in self.damaged.items() if name in present}
            for name in sorted(present.difference(self._names, self.damaged)):
                self._take(name)

    # -- writing ----------------------------------------------------------------------------------

    def append(self, crops: Sequence[Crop], frames: np.ndarray, means: np.ndarray) -> Path:
        """Store N crops (1 to 256) as one shard and return its path; on return they survive a power cut.

        frames [N, T, frame_dim] float16 or float32, means [N, L, dim] float32.  Crops that are already
        there, from here or from another process, are left as they are.
        ValueError, and nothing written: wrong shapes, a crop twice, values that are not finite or that
        float16 cannot hold.
        """
        frames, means = self._validated(crops, frames, means)
        files.make_folder(self.folder)
        if not (self.folder / SPEC_FILE).exists():
            files.write_text(self.folder / SPEC_FILE, json.dumps(asdict(self.spec), indent=1) + "\n")
        while True:
            self.refresh()
            rows = [row for row, crop in enumerate(crops) if crop.id not in self._where]
            if not rows:
                return self.folder / self._locate(crops[0].id)[0]
            path = self._write([crops[row] for row in rows], _rows(frames, rows), _rows(means, rows))
            if path is not None:
                return path

    def _write(self, crops: Sequence[Crop], frames: np.ndarray, means: np.ndarray) -> Path | None:
        """Write one shard; None, and nothing kept, where another process stored one of its crops first."""
        valid = np.array([self.spec.valid_frames(crop.valid_s) for crop in crops], dtype="<i4")
        name, parts = shards.build(self.spec, [crop.id for crop in crops], valid, frames, means)
        temporary = files.write_temporary(self.folder, parts)
        try:
            shard = shards.check_shard(temporary.fd, name, self.spec)
            for row in range(len(crops)):
                _read_row(temporary.fd, shard, row, 0, np.empty_like(frames[0]))
                _read_row(temporary.fd, shard, row, 1, np.empty_like(means[0]))
            with files.lock(self.folder / LOCK_FILE):
                self.refresh()
                if any(crop.id in self._where for crop in crops):
                    temporary.discard()
                    return None
                files.commit(temporary, self.folder / name)
        except BaseException:
            temporary.discard()
            raise
        with self._lock:
            self._checked[name] = shard
            self._add(name, shard.crop_ids)
        return self.folder / name

    def _validated(
        self, crops: Sequence[Crop], frames: np.ndarray, means: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        count = len(crops)
        if not 1 <= count <= shards.MAX_CROPS:
            raise ValueError(f"a shard holds 1 to {shards.MAX_CROPS} crops, not {count}")
        if len({crop.id for crop in crops}) != count:
            raise ValueError("a crop occurs twice")
        for crop in crops:
            if not shards.ID_PATTERN.fullmatch(crop.id):
                raise ValueError(f"crop id {crop.id!r}: letters, digits, '_', '.', '-' only, at most 64")
        for what, array, shape in (
            ("frames", frames, (count, *shards.frame_shape(self.spec))),
            ("means", means, (count, *shards.mean_shape(self.spec))),
        ):
            if array.shape != shape:
                raise ValueError(f"{self.spec.id}: {what} have shape {array.shape}, not {shape}")
            if array.dtype not in (np.float16, np.float32):
                raise ValueError(f"{self.spec.id}: {what} are {array.dtype}, not float16 or float32")
        with np.errstate(over="ignore"):
            stored = (
                np.ascontiguousarray(frames, dtype=shards.FRAMES),
                np.ascontiguousarray(means, dtype=shards.MEANS),
            )
        for what, given, array in (("frames", frames, stored[0]), ("means", means, stored[1])):
            _refuse_unstorable(what, crops, given, array)
        return stored

    # -- reading ----------------------------------------------------------------------------------

    def frames(self, crop_ids: Sequence[str], *, threads: int = 1) -> tuple[np.ndarray, np.ndarray]:
        """Frames [N, T, frame_dim] float16 and valid frames [N] int64, in the order asked.

        KeyError for a crop that is not stored, DamagedError for one that is not what was written.
        """
        out = np.empty((len(crop_ids), *shards.frame_shape(self.spec)), dtype=shards.FRAMES)
        return out, self._read(crop_ids, 0, out, threads)

    def means(self, crop_ids: Sequence[str], *, threads: int = 1) -> np.ndarray:
        """Layer means [N, L, dim] float32 over the valid frames, in the order asked; errors as `frames`."""
        out = np.empty((len(crop_ids), *shards.mean_shape(self.spec)), dtype=shards.MEANS)
        self._read(crop_ids, 1, out, threads)
        return out

    def _read(self, crop_ids: Sequence[str], column: int, out: np.ndarray, threads: int) -> np.ndarray:
        """Fill out[i] with crop_ids[i]'s row, in file order; returns valid frames [N] int64."""
        valid = np.empty(len(crop_ids), dtype=np.int64)
        places = sorted((*self._locate(crop_id), at) for at, crop_id in enumerate(crop_ids))

        def read(part: list[tuple[str, int, int]]) -> None:
            for name, row, at in part:
                descriptor, shard = self._opened(name)
                if shard.crop_ids[row] != crop_ids[at]:
                    raise DamagedError(f"{name}: row {row} is not crop {crop_ids[at]}")
                _read_row(descriptor.fd, shard, row, column, out[at])
                valid[at] = shard.valid_frames[row]

        if threads <= 1 or len(places) < 2:
            read(places)
        else:
            share = -(-len(places) // threads)
            with ThreadPoolExecutor(threads) as pool:
                list(pool.map(read, [places[i : i + share] for i in range(0, len(places), share)]))
        return valid

    def _locate(self, crop_id: str) -> tuple[str, int]:
        place = self._where.get(crop_id)
        if place is None:
            self.refresh()
            place = self._where.get(crop_id)
        if place is None:
            aside = "".join(f"; set aside: {reason}" for reason in self.damaged.values())
            raise KeyError(f"{self.spec.id} has no crop {crop_id}{aside}")
        return self._names[place >> 8], place & 255

    def _opened(self, name: str) -> tuple[_Descriptor, Shard]:
        with self._lock:
            descriptor = self._open.get(name)
            if descriptor is None:
                descriptor = _Descriptor(files.open_regular(self.folder / name))
                self._open[name] = descriptor
                if len(self._open) > OPEN_FILES:
                    self._open.popitem(last=False)
            self._open.move_to_end(name)
            shard = self._checked.get(name)
            if shard is None:
                shard = self._checked[name] = shards.check_shard(descriptor.fd, name, self.spec)
            return descriptor, shard

    # -- the index --------------------------------------------------------------------------------

    def _take(self, name: str) -> None:
        try:
            shard = shards.read_shard(self.folder, name, self.spec)
        except FileNotFoundError:
            return
        except (DamagedError, ValueError, EOFError) as reason:
            self.damaged[name] = str(reason)
            warnings.warn(f"{self.folder}: set aside {reason}", stacklevel=4)
            return
        self._checked[name] = shard
        self._add(name, shard.crop_ids)

    def _add(self, name: str, crop_ids: Sequence[str]) -> None:
        number = len(self._names)
        self._names.append(name)
        for row, crop_id in enumerate(crop_ids):
            self._where.setdefault(crop_id, number << 8 | row)


class _Descriptor:
    """An open file that closes when the last reader lets go of it, so none reads a reused number."""

    def __init__(self, fd: int) -> None:
        self.fd = fd

    def __del__(self) -> None:
        files.close(self.fd)


def _rows(array: np.ndarray, rows: list[int]) -> np.ndarray:
    return array if len(rows) == len(array) else array[rows]


def _read_row(fd: int, shard: Shard, row: int, column: int, out: np.ndarray) -> None:
    """Fill `out` with row `row` of frames (column 0) or means (column 1), and check it."""
    start = shard.means_offset if column else shard.frames_offset
    buffer = shards.as_bytes(out)
    try:
        files.read_into(fd, buffer, start + row * out.nbytes)
    except EOFError as reason:
        raise DamagedError(f"{shard.name}: crop {shard.crop_ids[row]}: {reason}") from None
    if xxhash.xxh3_64_intdigest(buffer) != int(shard.checksums[row, column]):
        what = "means" if column else "frames"
        raise DamagedError(f"{shard.name}: crop {shard.crop_ids[row]}: its {what} are not what was written")


def _refuse_unstorable(what: str, crops: Sequence[Crop], given: np.ndarray, stored: np.ndarray) -> None:
    """ValueError naming the first crop with a value that is not finite as stored."""
    # WHY on the bits: isfinite on float16 goes through software; an exponent of all ones is inf or NaN.
    bits, exponent = (np.uint16, 0x7C00) if stored.dtype == np.float16 else (np.uint32, 0x7F800000)
    for crop, mine, theirs in zip(crops, stored, given, strict=True):
        if ((mine.view(bits) & exponent) == exponent).any():
            worst = theirs[~np.isfinite(mine)].flat[0]
            reason = "is beyond float16 (65504)" if np.isfinite(worst) else "is not finite"
            raise ValueError(f"crop {crop.id}: a value of its {what}, {worst}, {reason}")


def read_spec(folder: Path) -> EncoderSpec:
    """The spec in a store's folder, checked: ValueError unless it is complete and names this folder."""
    path = Path(folder) / SPEC_FILE
    try:
        values: Any = json.loads(files.read_bytes(path, 1 << 16))
    except ValueError as reason:
        raise ValueError(f"{path}: {reason}") from None
    kinds: dict[str, Any] = {"str": str, "int": int, "float": (int, float)}
    expected = {field.name: kinds[str(field.type)] for field in fields(EncoderSpec)}
    if not isinstance(values, dict) or set(values) != set(expected):
        raise ValueError(f"{path}: not an encoder spec: its fields are not {', '.join(expected)}")
    for name, kind in expected.items():
        if not isinstance(values[name], kind) or isinstance(values[name], bool):
            raise ValueError(f"{path}: {name} is {values[name]!r}")
        if kind is not str and not 0 <= values[name] <= 1e9:
            raise ValueError(f"{path}: {name} is {values[name]!r}")
    spec = EncoderSpec(**values)
    if spec.id != Path(folder).resolve().name:
        raise ValueError(
            f"{path} spells out {spec.id}, but its folder is named {Path(folder).resolve().name}"
        )
    if (
        shards.frame_bytes(spec) + shards.mean_bytes(spec) > 1 << 30
        or min(spec.frames, spec.dim, spec.layers) < 1
    ):
        raise ValueError(
            f"{path}: frames {spec.frames}, dim {spec.dim}, layers {spec.layers} are not plausible"
        )
    return spec


def list_stores(root: Path) -> list[FeatureStore]:
    """The stores below `root` (usually work/features), by folder name."""
    names = sorted(name for name in files.listing(root) if (Path(root) / name / SPEC_FILE).is_file())
    return [FeatureStore.open(Path(root) / name) for name in names]
