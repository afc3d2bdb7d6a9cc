"""Features of a clip table's crops as one `.npz`, for use outside of this project."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from mmmos.store import files, shards
from mmmos.store.clips import ClipTable
from mmmos.store.crops import crops_of
from mmmos.store.features import FeatureStore

READ_CROPS = 64
"""Crops read at a time, so that an export of any size needs little memory."""


class MissingCropsError(ValueError):
    """Crops that a clip table needs and a store lacks."""


@dataclass(frozen=True)
class Exported:
    """What was written: the file, how many clips and crops it holds, and its size."""

    path: Path
    clips: int
    crops: int
    bytes: int


def export(store: FeatureStore, table: ClipTable, path: Path, *, frames: bool = False) -> Exported:
    """Write one row per crop of every clip as `.npz`, in the table's order, readable without pickle.

    For M crops: clip_id, split, system [M] text; crop_index [M]; start_s, valid_s [M]; valid_frames [M];
    scores [M, A] (NaN where unrated) with `axes` [A]; means [M, L, dim] float32; with `frames` also frames
    [M, T, frame_dim] float16; spec and caveats as JSON text.

    Raises
    ------
    MissingCropsError
        Where the store lacks crops; nothing is written.
    """
    pairs = [(clip, crop) for clip in table.clips for crop in crops_of(clip)]
    lacking = store.missing(crop for _, crop in pairs)
    if lacking:
        raise MissingCropsError(
            f"{store.spec.id} lacks {len(lacking)} of the table's crops, first {lacking[0].id}: "
            "extract them first"
        )
    ids = [crop.id for _, crop in pairs]
    small = {
        "spec": np.array(json.dumps(asdict(store.spec))),
        "caveats": np.array(json.dumps(table.caveats)),
        "axes": np.array(table.axes.names),
        "clip_id": np.array([clip.id for clip, _ in pairs], dtype=np.str_),
        "split": np.array([clip.split for clip, _ in pairs], dtype=np.str_),
        "system": np.array([clip.system for clip, _ in pairs], dtype=np.str_),
        "crop_index": np.array([crop.index for _, crop in pairs], dtype=np.int64),
        "start_s": np.array([crop.start_s for _, crop in pairs]),
        "valid_s": np.array([crop.valid_s for _, crop in pairs]),
        "valid_frames": np.array(
            [store.spec.valid_frames(crop.valid_s) for _, crop in pairs], dtype=np.int64
        ),
        "scores": table.scores([clip for clip, _ in pairs]),
    }
    with files.writing(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        for name, array in small.items():
            _write_array(archive, name, array.dtype, array.shape, iter([array]))
        parts = [ids[at : at + READ_CROPS] for at in range(0, len(ids), READ_CROPS)]
        mean_shape, frame_shape = shards.mean_shape(store.spec), shards.frame_shape(store.spec)
        _write_array(archive, "means", shards.MEANS, (len(ids), *mean_shape), map(store.means, parts))
        if frames:
            pieces = (store.frames(part)[0] for part in parts)
            _write_array(archive, "frames", shards.FRAMES, (len(ids), *frame_shape), pieces)
    return Exported(Path(path), len(table.clips), len(ids), Path(path).stat().st_size)


def _write_array(
    archive: zipfile.ZipFile, name: str, dtype: np.dtype, shape: tuple[int, ...], pieces: Iterator[np.ndarray]
) -> None:
    header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    # A fixed date, so that equal contents give equal files.
    entry = zipfile.ZipInfo(f"{name}.npy", date_time=(1980, 1, 1, 0, 0, 0))
    with archive.open(entry, "w", force_zip64=True) as file:
        np.lib.format.write_array_header_2_0(file, header)
        for piece in pieces:
            file.write(np.ascontiguousarray(piece).tobytes())
