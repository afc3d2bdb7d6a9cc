"""FeatureStore: what frozen encoders said about every crop, kept in immutable shards.

    features/<spec.id>/spec.json
    features/<spec.id>/shard-<first crop>-<count>-<checksum>.h5      see store/shards.py

The folder's listing is the truth.  A shard is whole or absent: `append` writes it under a temporary
name, reads it back, syncs it and renames it.  Reading checks every row it returns against its
checksum, so a flipped bit is an error that names shard and crop, never a number.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np

from mmmos.store import files, shards
from mmmos.store.index import Index
from mmmos.store.schema import Crop, EncoderSpec
from mmmos.store.shard_check import check_shard, read_row
from mmmos.store.shards import DamagedError, Rows, Shard
from mmmos.store.specs import SPEC_FILE, read_spec, stored_specs, write_spec

__all__ = ["DamagedError", "FeatureStore", "list_stores"]

LOCK_FILE = "lock"
OPEN_FILES = 128
"""Shards held open for reading at a time; the rest are opened again when asked for."""


class FeatureStore:
    """The features of one encoder spec.  Safe to read from many threads, and picklable."""

    def __init__(self, root: Path, spec: EncoderSpec) -> None:
        """Use `root/spec.id`, which the first `append` creates; ValueError where it holds another spec."""
        self.folder = Path(root) / spec.id
        self.spec = spec
        self._lock = threading.RLock()
        self._index = Index(self.folder, spec)
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
        return len(self._index.place)

    def __contains__(self, crop_id: object) -> bool:
        return crop_id in self._index.place

    @property
    def damaged(self) -> dict[str, str]:
        """{shard name: reason} of shards that were set aside; their crops count as missing."""
        return dict(self._index.damaged)

    def crop_ids(self) -> tuple[str, ...]:
        return tuple(self._index.place)

    def shard_names(self) -> tuple[str, ...]:
        return tuple(self._index.numbered)

    def missing(self, crops: Iterable[Crop]) -> list[Crop]:
        """Those of the crops, each once and in order, that the folder does not hold now."""
        self.refresh()
        wanted = {crop.id: crop for crop in crops}
        return [crop for crop_id, crop in wanted.items() if crop_id not in self._index.place]

    def refresh(self) -> None:
        """Take in what other processes added or removed since the last look."""
        with self._lock:
            self._index.refresh()

    # -- writing ----------------------------------------------------------------------------------

    def append(self, crops: Sequence[Crop], frames: np.ndarray, means: np.ndarray) -> Path:
        """Store N crops (1 to 256) as one shard and return its path; on return they survive a power cut.

        frames [N, T, frame_dim] float16 or float32, means [N, L, dim] float32.  Crops that are already
        there, from here or from another process, are left as they are.
        ValueError, and nothing written: wrong shapes, a crop twice, values that are not finite or that
        float16 cannot hold.  OSError, and the folder as it was: the disk refused.
        """
        valid = np.array([self.spec.valid_frames(crop.valid_s) for crop in crops], dtype="<i4")
        return self.append_rows(Rows([crop.id for crop in crops], valid, frames, means))

    def append_rows(self, rows: Rows) -> Path:
        """`append` for rows that come from another store."""
        rows = shards.storable(self.spec, rows)
        files.make_folder(self.folder)
        if not (self.folder / SPEC_FILE).exists():
            write_spec(self.folder, self.spec)
        while True:
            self.refresh()
            new = [row for row, crop_id in enumerate(rows.crop_ids) if crop_id not in self]
            if not new:
                return self.folder / self._locate(rows.crop_ids[0])[0]
            path = self._write(rows.take(new))
            if path is not None:
                return path

    def _write(self, rows: Rows) -> Path | None:
        """Write one shard; None, and nothing kept, where another process stored one of its crops first."""
        name, parts = shards.build(self.spec, rows)
        temporary = files.write_temporary(self.folder, parts)
        try:
            shard = check_shard(temporary.fd, name, self.spec)
            frames, means = np.empty_like(rows.frames[0]), np.empty_like(rows.means[0])
            for row in range(len(rows.crop_ids)):
                read_row(temporary.fd, shard, row, 0, frames)
                read_row(temporary.fd, shard, row, 1, means)
            # WHY a lock: between the last look and the rename another writer might store the same crop.
            with files.lock(self.folder / LOCK_FILE):
                self.refresh()
                if any(crop_id in self for crop_id in rows.crop_ids):
                    temporary.discard()
                    return None
                files.commit(temporary, self.folder / name)
        except BaseException:
            temporary.discard()
            raise
        with self._lock:
            if name not in self._index.ids:
                self._index.add(name, shard.crop_ids)
        return self.folder / name

    # -- reading ----------------------------------------------------------------------------------

    def frames(
        self, crop_ids: Sequence[str], *, out: np.ndarray | None = None, threads: int = 1
    ) -> tuple[np.ndarray, np.ndarray]:
        """Frames [N, T, frame_dim] float16 and valid frames [N] int64, in the order asked.

        out: an array of that shape and type to read into; a loop that reuses one is spared the system's
        clearing of fresh memory, which costs as much as the reading.
        KeyError for a crop that is not stored, DamagedError for one that is not what was written.
        """
        out = _target(out, (len(crop_ids), *shards.frame_shape(self.spec)), shards.FRAMES)
        return out, self._read(crop_ids, 0, out, threads)

    def means(
        self, crop_ids: Sequence[str], *, out: np.ndarray | None = None, threads: int = 1
    ) -> np.ndarray:
        """Layer means [N, L, dim] float32 over the valid frames, in the order asked; else as `frames`."""
        out = _target(out, (len(crop_ids), *shards.mean_shape(self.spec)), shards.MEANS)
        self._read(crop_ids, 1, out, threads)
        return out

    def _read(self, crop_ids: Sequence[str], column: int, out: np.ndarray, threads: int) -> np.ndarray:
        """Fill out[i] with crop_ids[i]'s row, in file order; returns valid frames [N] int64."""
        valid = np.empty(len(crop_ids), dtype=np.int64)
        with self._lock:
            places = sorted((*self._locate(crop_id), at) for at, crop_id in enumerate(crop_ids))

        def read(part: list[tuple[str, int, int]]) -> None:
            for name, row, at in part:
                descriptor, shard = self._opened(name)
                read_row(descriptor.fd, shard, row, column, out[at])
                valid[at] = shard.valid_frames[row]

        share = -(-len(places) // max(threads, 1)) or 1
        mine, *others = [places[i : i + share] for i in range(0, len(places), share)] or [[]]
        if others:
            with ThreadPoolExecutor(len(others)) as pool:
                pending = [pool.submit(read, part) for part in others]
                read(mine)
                for one in pending:
                    one.result()
        else:
            read(mine)
        return valid

    def _locate(self, crop_id: str) -> tuple[str, int]:
        found = self._index.find(crop_id)
        if found is None:
            self.refresh()
            found = self._index.find(crop_id)
        if found is None:
            aside = "".join(f"; set aside: {reason}" for reason in self.damaged.values())
            raise KeyError(f"{self.spec.id} has no crop {crop_id}{aside}")
        return found

    def _opened(self, name: str) -> tuple[_Descriptor, Shard]:
        """An open file, and what its head says; checked in full the first time."""
        with self._lock:
            descriptor = self._open.get(name)
            if descriptor is None:
                descriptor = self._open[name] = _Descriptor(files.open_regular(self.folder / name))
                if len(self._open) > OPEN_FILES:
                    self._open.popitem(last=False)
            self._open.move_to_end(name)
            shard = self._checked.get(name)
            if shard is None:
                shard = check_shard(descriptor.fd, name, self.spec)
                crop_ids = self._index.ids.get(name, shard.crop_ids)
                if tuple(crop_ids) != shard.crop_ids:
                    raise DamagedError(f"{name}: holds other crops than the index says")
                # WHY: the index's own strings, so that a million ids are held once.
                shard = self._checked[name] = replace(shard, crop_ids=crop_ids)
            return descriptor, shard


class _Descriptor:
    """An open file that closes when the last reader lets go of it, so none reads a reused number."""

    def __init__(self, fd: int) -> None:
        self.fd = fd

    def __del__(self) -> None:
        files.close(self.fd)


def _target(out: np.ndarray | None, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    if out is None:
        return np.empty(shape, dtype)
    if out.shape != shape or out.dtype != dtype or not out.flags.c_contiguous or not out.flags.writeable:
        raise ValueError(
            f"out is {out.dtype} {out.shape}; it has to be a contiguous, writeable {dtype} {shape}"
        )
    return out


def list_stores(root: Path) -> list[FeatureStore]:
    """The stores below `root` (usually work/features), by folder name."""
    return [FeatureStore(root, spec) for spec in stored_specs(root)]
