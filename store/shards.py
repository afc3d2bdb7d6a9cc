"""One shard: an HDF5 file of at most 256 crops, written once and never changed.

    head     HDF5 metadata; attributes `format` and `spec` (the encoder spec's canonical JSON); datasets
             crop_ids     [N] S64      e.g. b"<32 hex>-00003"
             valid_frames [N] int32    frames that are audio, the rest is padding
             checksums    [N, 2] uint64  xxh3-64 of each crop's frames and of its means
    frames   [N, T, frame_dim] float16
    means    [N, L, dim] float32

All little-endian, contiguous, no filters, no links, default file format; any HDF5 tool reads it.  The
two arrays are the last bytes of the file, so the head is what comes before them, and its xxh3-64 is
part of the file's name: every byte of a shard is covered by a checksum that is itself covered.

This file names the parts and writes them; store/shard_check.py reads and checks them.
"""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass

import h5py
import numpy as np
import xxhash

from mmmos.store import files
from mmmos.store.names import canonical_json
from mmmos.store.schema import EncoderSpec

MAX_CROPS = 256
"""Crops in one shard: 210 MB for the widest frames, 4,000 files for a million crops."""

FORMAT = "mmmos-features-1"
MAX_HEAD_BYTES = 1 << 20
FRAMES, MEANS = np.dtype("<f2"), np.dtype("<f4")
ID_PATTERN = re.compile(r"[0-9A-Za-z][0-9A-Za-z_.-]{0,63}")
NAME_PATTERN = re.compile(
    r"shard-(?P<first>[0-9A-Za-z][0-9A-Za-z_.-]{0,63})-(?P<count>[0-9]{3})-(?P<head>[0-9a-f]{16})\.h5"
)


class DamagedError(ValueError):
    """Stored bytes that are not what was written; names the shard and, where it can, the crop."""


@dataclass(frozen=True)
class Shard:
    """What the head of one checked shard says.

    crop_ids: N ids; valid_frames [N] int32; checksums [N, 2] uint64.
    frames_offset, means_offset: where the two arrays begin in the file, in bytes.
    """

    name: str
    bytes: int
    crop_ids: Sequence[str]
    valid_frames: np.ndarray
    checksums: np.ndarray
    frames_offset: int
    means_offset: int


@dataclass(frozen=True)
class CropFeatures:
    """N crops' features: valid_frames [N] int, frames [N, T, frame_dim], means [N, L, dim]."""

    crop_ids: Sequence[str]
    valid_frames: np.ndarray
    frames: np.ndarray
    means: np.ndarray

    def take(self, rows: Sequence[int]) -> CropFeatures:
        """Some of the rows; without copying where it is all of them."""
        if len(rows) == len(self.crop_ids):
            return self
        chosen = [self.crop_ids[row] for row in rows]
        return CropFeatures(chosen, self.valid_frames[rows], self.frames[rows], self.means[rows])


def frame_shape(spec: EncoderSpec) -> tuple[int, int]:
    return (spec.frames, spec.frame_dim)


def mean_shape(spec: EncoderSpec) -> tuple[int, int]:
    return (spec.layers, spec.dim)


def frame_bytes(spec: EncoderSpec) -> int:
    return int(np.prod(frame_shape(spec))) * FRAMES.itemsize


def mean_bytes(spec: EncoderSpec) -> int:
    return int(np.prod(mean_shape(spec))) * MEANS.itemsize


def as_bytes(array: np.ndarray) -> memoryview:
    """The bytes of a C-contiguous array, without copying."""
    return array.reshape(-1).view(np.uint8).data


def storable(spec: EncoderSpec, rows: CropFeatures) -> CropFeatures:
    """The rows with their arrays in the types on disk; ValueError names what cannot be stored."""
    count = len(rows.crop_ids)
    if not 1 <= count <= MAX_CROPS:
        raise ValueError(f"a shard holds 1 to {MAX_CROPS} crops, not {count}")
    if len(set(rows.crop_ids)) != count:
        raise ValueError("a crop occurs twice")
    for crop_id in rows.crop_ids:
        if not ID_PATTERN.fullmatch(crop_id):
            raise ValueError(f"crop id {crop_id!r}: letters, digits, '_', '.', '-' only, at most 64")
    stored = []
    for what, array, shape, dtype in (
        ("frames", rows.frames, frame_shape(spec), FRAMES),
        ("means", rows.means, mean_shape(spec), MEANS),
    ):
        if array.shape != (count, *shape):
            raise ValueError(f"{spec.id}: {what} have shape {array.shape}, not {(count, *shape)}")
        if array.dtype not in (np.float16, np.float32):
            raise ValueError(f"{spec.id}: {what} are {array.dtype}, not float16 or float32")
        with np.errstate(over="ignore"):
            stored.append(np.ascontiguousarray(array, dtype=dtype))
        _refuse_unstorable(what, rows.crop_ids, array, stored[-1])
    return CropFeatures(rows.crop_ids, rows.valid_frames, *stored)


def _refuse_unstorable(what: str, crop_ids: Sequence[str], given: np.ndarray, stored: np.ndarray) -> None:
    """ValueError naming the first crop with a value that is not finite as stored."""
    # On the bits, because isfinite is slow on float16; an exponent of all ones is infinity or NaN.
    bits, exponent = (np.uint16, 0x7C00) if stored.dtype == np.float16 else (np.uint32, 0x7F800000)
    for crop_id, mine, theirs in zip(crop_ids, stored, given, strict=True):
        if ((mine.view(bits) & exponent) == exponent).any():
            worst = theirs[~np.isfinite(mine)].flat[0]
            reason = "is beyond float16 (65504)" if np.isfinite(worst) else "is not finite"
            raise ValueError(f"crop {crop_id}: a value of its {what}, {worst}, {reason}")


def build(spec: EncoderSpec, rows: CropFeatures) -> tuple[str, tuple[files.Buffer, ...]]:
    """The name of a shard of these rows, which must be storable, and its bytes in order."""
    crop_ids, valid_frames, frames, means = rows.crop_ids, rows.valid_frames, rows.frames, rows.means
    pairs = zip(frames, means, strict=True)
    checksums = np.array([[xxhash.xxh3_64_intdigest(row) for row in pair] for pair in pairs], dtype="<u8")
    head = _build_head(spec, crop_ids, valid_frames, checksums)
    name = f"shard-{crop_ids[0]}-{len(crop_ids):03d}-{xxhash.xxh3_64_hexdigest(head)}.h5"
    return name, (head, as_bytes(frames), as_bytes(means))


def _build_head(
    spec: EncoderSpec, crop_ids: Sequence[str], valid_frames: np.ndarray, checksums: np.ndarray
) -> bytes:
    """The HDF5 metadata of a shard, made in memory; the arrays' bytes follow it in the file."""
    image = _HeadRecorder()
    with h5py.File(image, "w") as file:
        file.attrs["format"] = np.bytes_(FORMAT.encode())
        file.attrs["spec"] = np.bytes_(canonical_json(spec.settings).encode())
        file.create_dataset("crop_ids", data=np.array([i.encode() for i in crop_ids], dtype="S64"))
        file.create_dataset("valid_frames", data=valid_frames.astype("<i4"))
        file.create_dataset("checksums", data=checksums)
        shapes = {"frames": frame_shape(spec), "means": mean_shape(spec)}
        arrays = {
            name: _declare(file, name, (len(crop_ids), *shape), FRAMES if name == "frames" else MEANS)
            for name, shape in shapes.items()
        }
        # Only after both are declared: HDF5 gives out space on the first write, so that the two arrays
        # come last and side by side, behind all metadata.
        for array in arrays.values():
            _allocate(array)
        start, means_start = arrays["frames"].get_offset(), arrays["means"].get_offset()
        if means_start != start + len(crop_ids) * frame_bytes(spec):
            raise RuntimeError("this HDF5 library lays arrays out differently; no shard was written")
        arrays.clear()
    head = image.getvalue()[:start]
    return head + bytes(start - len(head))


def _declare(file: h5py.File, name: str, shape: tuple[int, ...], dtype: np.dtype) -> h5py.h5d.DatasetID:
    settings = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    settings.set_layout(h5py.h5d.CONTIGUOUS)
    settings.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    settings.set_obj_track_times(False)  # equal contents give equal bytes
    space = h5py.h5s.create_simple(shape)
    return h5py.h5d.create(file.id, name.encode(), h5py.h5t.py_create(dtype), space, settings)


def _allocate(array: h5py.h5d.DatasetID) -> None:
    space = array.get_space()
    space.select_hyperslab((0, 0, 0), (1, 1, 1))
    array.write(h5py.h5s.create_simple((1,)), space, np.zeros(1, array.dtype))


class _HeadRecorder(io.BytesIO):
    """In-memory file that keeps the first MAX_HEAD_BYTES and discards what is written after them."""

    def write(self, data: files.Buffer) -> int:  # type: ignore[override]
        if self.tell() < MAX_HEAD_BYTES:
            return super().write(data)
        return len(data)

    def truncate(self, size: int | None = None) -> int:
        return size or 0
