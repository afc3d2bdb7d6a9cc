"""FeatureStore: the outputs of one frozen encoder for every crop, in immutable files (shards).

    features/<spec.id>/spec.json
    features/<spec.id>/shard-<first crop>-<count>-<checksum>.h5      see store/shards.py

The folder's listing says which shards there are.  A shard is whole or absent: `append` writes it under a
temporary name, reads it back, syncs it and renames it.  Reading checks every row against its checksum, so a
flipped bit is an error that names shard and crop, never a number.
"""

from __future__ import annotations

import os
import threading
import time
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from mmmos.store import files, shards
from mmmos.store.index import CropIndex
from mmmos.store.schema import Crop, EncoderSpec
from mmmos.store.shard_check import Claims, check_shard, read_row
from mmmos.store.shards import CropFeatures, DamagedError, Shard
from mmmos.store.specs import SPEC_FILE, read_spec, stored_specs, write_spec

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
        self._index = CropIndex(self.folder, spec)
        self._checked: dict[str, Shard] = {}
        self._open: OrderedDict[str, _Descriptor] = OrderedDict()
        self._turn: int | None = None  # see _next_turn
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
        """Shard name -> reason, of shards that cannot be used; their crops count as missing."""
        return dict(self._index.damaged)

    def crop_ids(self) -> tuple[str, ...]:
        return tuple(self._index.place)

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
        """Store N crops (1 to 256) as one shard; when this returns they survive a power cut.

        Crops that are already there, from here or from another process, are left as they are.

        Parameters
        ----------
        frames
            [N, T, frame_dim] float16 or float32.
        means
            [N, L, dim] float32: time means of each hidden state over the valid frames.

        Returns
        -------
        Path
            The shard, or the one that holds the first crop where all crops were there already.

        Raises
        ------
        ValueError
            Nothing was written: wrong shapes, a crop twice, values that are not finite or that float16
            cannot hold.
        OSError
            The folder is as it was: the disk refused.
        """
        valid = np.array([self.spec.valid_frames(crop.valid_s) for crop in crops], dtype="<i4")
        return self.append_rows(CropFeatures([crop.id for crop in crops], valid, frames, means))

    def append_rows(self, rows: CropFeatures) -> Path:
        """`append` for rows that come from another store."""
        rows = shards.storable(self.spec, rows)
        files.make_folder(self.folder)
        if not (self.folder / SPEC_FILE).exists():
            write_spec(self.folder, self.spec)
        while True:
            new = [row for row, crop_id in enumerate(rows.crop_ids) if crop_id not in self]
            if not new:
                return self.folder / self._locate(rows.crop_ids[0])[0]
            path = self._write(rows.take(new))
            if path is not None:
                return path

    def _write(self, rows: CropFeatures) -> Path | None:
        """Write one shard; None, and nothing kept, where another process stored one of its crops first."""
        name, parts = shards.build(self.spec, rows)
        with files.filling(self.folder) as temporary:
            for part in parts:
                temporary.write(part)
        try:
            shard = check_shard(temporary.fd, name, self.spec)
            frames, means = np.empty_like(rows.frames[0]), np.empty_like(rows.means[0])
            for row in range(len(rows.crop_ids)):
                read_row(temporary.fd, shard, row, 0, frames)
                read_row(temporary.fd, shard, row, 1, means)
            # A lock, because between the last look and the rename another writer might store the same crop.
            with files.lock(self.folder / LOCK_FILE) as fd:
                # The folder is listed only where somebody has stored since the last look: its listing grows
                # with every append.
                if self._turn is None or self._turn != os.fstat(fd).st_mtime_ns:
                    self.refresh()
                if any(crop_id in self for crop_id in rows.crop_ids):
                    self._turn = os.fstat(fd).st_mtime_ns
                    temporary.discard()
                    return None
                self._turn = None
                turn = _next_turn(fd)
                files.commit(temporary, self.folder / name)
                self._turn = turn
        except BaseException:
            temporary.discard()
            raise
        with self._lock:
            if name not in self._index.ids:
                self._index.add(name, shard.crop_ids)
        return self.folder / name

    # -- reading ----------------------------------------------------------------------------------

    def frames(self, crop_ids: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """Frames of these crops, in the order asked.

        Returns
        -------
        tuple
            Frames [N, T, frame_dim] float16, and how many of each crop's frames are audio [N] int64.

        Raises
        ------
        KeyError
            For a crop that is not stored.
        DamagedError
            For a crop whose bytes are not what was written.
        """
        out = np.empty((len(crop_ids), *shards.frame_shape(self.spec)), shards.FRAMES)
        return out, self._read(crop_ids, 0, out)

    def means(self, crop_ids: Sequence[str]) -> np.ndarray:
        """Time means of each hidden state, [N, L, dim] float32, in the order asked; errors as `frames`."""
        out = np.empty((len(crop_ids), *shards.mean_shape(self.spec)), shards.MEANS)
        self._read(crop_ids, 1, out)
        return out

    def _read(self, crop_ids: Sequence[str], column: int, out: np.ndarray) -> np.ndarray:
        """Fill out[i] with crop_ids[i]'s row, in file order; returns valid frames [N] int64."""
        valid = np.empty(len(crop_ids), dtype=np.int64)
        with self._lock:
            places = sorted((*self._locate(crop_id), at) for at, crop_id in enumerate(crop_ids))
        for name, row, at in places:
            descriptor, shard = self._opened(name)
            read_row(descriptor.fd, shard, row, column, out[at])
            valid[at] = shard.valid_frames[row]
            if (other := self._index.twice.get(crop_ids[at])) is not None:
                self._refuse_contradiction(shard, other)
        return valid

    def _refuse_contradiction(self, shard: Shard, other: str) -> None:
        """DamagedError where two shards hold one crop with different values."""
        claims = Claims(self.spec)
        found = [*claims.against(self._opened(other)[1]), *claims.against(shard)]
        if found:
            raise DamagedError(f"{shard.name}: crop {found[0][0]}: {found[0][1]}")

    def _locate(self, crop_id: str) -> tuple[str, int]:
        found = self._index.find(crop_id)
        if found is None:
            self.refresh()
            found = self._index.find(crop_id)
        if found is None:
            aside = "".join(f"; not used: {reason}" for reason in self.damaged.values())
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
                    # Not read on: what is missing was planned by the wrong index.
                    self._index.rebuild()
                    raise DamagedError(
                        f"{name}: holds other crops than the index says; the index is made anew: run the "
                        "same command again"
                    )
                # The index's own strings, so that a million ids are held once.
                shard = self._checked[name] = replace(shard, crop_ids=crop_ids)
            return descriptor, shard


def _next_turn(fd: int) -> int:
    """Tell other writers that something is stored: the lock file's time of change is their turns' counter.

    Returns it, in nanoseconds; always later than before, also where a file system counts in seconds.
    """
    before = os.fstat(fd).st_mtime_ns
    for step_ns in (1, 1_000_000, 2_000_000_000):
        os.utime(fd, ns=(before, max(time.time_ns(), before + step_ns)))
        if (now := os.fstat(fd).st_mtime_ns) > before:
            return now
    return -1  # a time that no file has: the next append looks again


class _Descriptor:
    """An open file that closes when the last reader lets go of it, so none reads a reused number."""

    def __init__(self, fd: int) -> None:
        self.fd = fd

    def __del__(self) -> None:
        files.close(self.fd)


def list_stores(root: Path) -> list[FeatureStore]:
    """The stores below `root` (usually work/features), by folder name."""
    return [FeatureStore(root, spec) for spec in stored_specs(root)]
