"""Reading a shard that may be damaged or hostile.

The head is read first and compared with the checksum in the file's name.  Only then h5py gets it, as bytes in
memory, so that it can open nothing else.  Its structure must be exactly that of store/shards.py: the same
fields, contiguous, unfiltered, of the expected type and shape, in their place.  Rows are then read with
`os.preadv` at the offsets found, without HDF5, and each is compared with its checksum.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from pathlib import Path

import h5py
import numpy as np
import xxhash

from mmmos.store import files
from mmmos.store.names import canonical_json
from mmmos.store.schema import Crop, EncoderSpec
from mmmos.store.shards import (
    FORMAT,
    FRAMES,
    ID_PATTERN,
    MAX_CROPS,
    MAX_HEAD_BYTES,
    MEANS,
    NAME_PATTERN,
    DamagedError,
    Shard,
    as_bytes,
    frame_bytes,
    frame_shape,
    mean_bytes,
    mean_shape,
)


def read_shard(folder: Path, name: str, spec: EncoderSpec) -> Shard:
    """Check one shard's name, size, head and structure; DamagedError says what is wrong.

    No byte of the arrays is read, and nothing is allocated by the file's own word.
    """
    fd = files.open_regular(folder / name)
    try:
        return check_shard(fd, name, spec)
    finally:
        files.close(fd)


def check_shard(fd: int, name: str, spec: EncoderSpec) -> Shard:
    """`read_shard` on an open file."""
    match = NAME_PATTERN.fullmatch(name)
    count = int(match["count"]) if match else 0
    if match is None or not 1 <= count <= MAX_CROPS:
        raise DamagedError(f"{name!r} is not a shard's name")
    size = files.size_of(fd)
    head_bytes = size - count * (frame_bytes(spec) + mean_bytes(spec))
    if not 0 < head_bytes <= MAX_HEAD_BYTES:
        raise DamagedError(
            f"{name}: {size} bytes cannot hold {count} crops of {spec.id}: cut short or not ours"
        )
    head = bytearray(head_bytes)
    files.read_into(fd, head, 0)
    if xxhash.xxh3_64_hexdigest(head) != match["head"]:
        raise DamagedError(f"{name}: its head is not what its name says: changed, cut short or renamed")
    try:
        with h5py.File(_HeadView(bytes(head), size), "r") as file:
            crop_ids, valid_frames, checksums = _read_head(file, spec, count, head_bytes)
    except _Refused as reason:
        raise DamagedError(f"{name}: {reason}") from None
    except (OSError, RuntimeError, KeyError, ValueError, TypeError) as reason:
        raise DamagedError(f"{name}: not a readable HDF5 file: {reason}") from None
    if crop_ids[0] != match["first"]:
        raise DamagedError(f"{name}: begins with crop {crop_ids[0]}, not with the one in its name")
    means_offset = head_bytes + count * frame_bytes(spec)
    return Shard(name, size, crop_ids, valid_frames, checksums, head_bytes, means_offset)


def read_row(fd: int, shard: Shard, row: int, column: int, out: np.ndarray) -> None:
    """Fill `out` with row `row` of frames (column 0) or means (column 1), and check it."""
    start = shard.means_offset if column else shard.frames_offset
    buffer = as_bytes(out)
    try:
        files.read_into(fd, buffer, start + row * out.nbytes)
    except EOFError as reason:
        raise DamagedError(f"{shard.name}: crop {shard.crop_ids[row]}: {reason}") from None
    if xxhash.xxh3_64_intdigest(buffer) != int(shard.checksums[row, column]):
        what = "means" if column else "frames"
        raise DamagedError(f"{shard.name}: crop {shard.crop_ids[row]}: its {what} are not what was written")
    refuse_not_finite(shard, row, column, out)


class Claims:
    """What shards say of each crop, to find where two of them, or a shard and a clip table, disagree."""

    def __init__(self, spec: EncoderSpec, wanted: Iterable[Crop] = ()) -> None:
        self._valid = {crop.id: spec.valid_frames(crop.valid_s) for crop in wanted}
        self._seen: dict[str, tuple[str, int, bytes]] = {}

    def against(self, shard: Shard) -> Iterator[tuple[str, str]]:
        """(crop, reason) for each of a shard's crops that contradicts the table or an earlier shard."""
        for row, crop_id in enumerate(shard.crop_ids):
            valid, sums = int(shard.valid_frames[row]), shard.checksums[row].tobytes()
            expected = self._valid.get(crop_id, valid)
            if valid != expected:
                yield crop_id, f"{valid} valid frames, where its audio in the clip table has {expected}"
            name, *before = self._seen.setdefault(crop_id, (shard.name, valid, sums))
            if before != [valid, sums]:
                yield crop_id, f"stored with other values in {name}"


def refuse_not_finite(shard: Shard, row: int, column: int, values: np.ndarray) -> None:
    """DamagedError where a row, float16 frames or float32 means, holds infinity or NaN."""
    # On the bits, because isfinite is slow on float16.  An exponent of all ones is infinity or NaN: the
    # largest of the signed integers where the value is positive, of the unsigned ones where it is negative.
    signed, unsigned, positive, negative = (
        (np.int32, np.uint32, 0x7F800000, 0xFF800000) if column else (np.int16, np.uint16, 0x7C00, 0xFC00)
    )
    if values.view(signed).max() >= positive or values.view(unsigned).max() >= negative:
        what = "means" if column else "frames"
        raise DamagedError(f"{shard.name}: crop {shard.crop_ids[row]}: its {what} are not all finite")


class _Refused(Exception):  # noqa: N818 - caught in check_shard
    """Why a file's structure is not a shard's."""


def _read_head(
    file: h5py.File, spec: EncoderSpec, count: int, head_bytes: int
) -> tuple[tuple[str, ...], np.ndarray, np.ndarray]:
    means_offset = head_bytes + count * frame_bytes(spec)
    expected = {
        "crop_ids": (np.dtype("S64"), (count,), None),
        "valid_frames": (np.dtype("<i4"), (count,), None),
        "checksums": (np.dtype("<u8"), (count, 2), None),
        "frames": (FRAMES, (count, *frame_shape(spec)), head_bytes),
        "means": (MEANS, (count, *mean_shape(spec)), means_offset),
    }
    _check_links(file, set(expected))
    _check_attributes(file, spec)
    datasets = {}
    for name, (dtype, shape, offset) in expected.items():
        datasets[name] = _check_dataset(file, name, dtype, shape, offset, head_bytes)
    crop_ids = tuple(raw.decode("ascii", "replace") for raw in datasets["crop_ids"][:].tolist())
    valid_frames, checksums = datasets["valid_frames"][:], datasets["checksums"][:]
    for crop_id in crop_ids:
        if not ID_PATTERN.fullmatch(crop_id):
            raise _Refused(f"{crop_id!r} is not a crop id")
    if len(set(crop_ids)) != count:
        raise _Refused("a crop id occurs twice")
    if valid_frames.min() < 1 or valid_frames.max() > spec.frames:
        raise _Refused(f"valid_frames outside 1..{spec.frames}")
    return crop_ids, valid_frames, checksums


def _check_links(file: h5py.File, expected: set[str]) -> None:
    names = set(file)
    if names != expected:
        odd = sorted(names ^ expected)
        raise _Refused(f"fields {sorted(names)} where {sorted(expected)} belong (at odds: {', '.join(odd)})")
    for name in sorted(names):
        kind = file.id.links.get_info(name.encode()).type
        if kind != h5py.h5l.TYPE_HARD:
            words = {h5py.h5l.TYPE_SOFT: "a soft link", h5py.h5l.TYPE_EXTERNAL: "an external link"}
            raise _Refused(f"{name} is {words.get(kind, 'a link')}, not a dataset")


def _check_attributes(file: h5py.File, spec: EncoderSpec) -> None:
    expected = {"format": FORMAT.encode(), "spec": canonical_json(spec.settings).encode()}
    if h5py.h5a.get_num_attrs(file.id) != len(expected):
        raise _Refused(f"attributes other than {sorted(expected)}")
    for name, value in expected.items():
        if not h5py.h5a.exists(file.id, name.encode()):
            raise _Refused(f"attribute {name} is missing")
        attribute = h5py.h5a.open(file.id, name.encode())
        kind = attribute.get_type()
        if not isinstance(kind, h5py.h5t.TypeStringID) or kind.is_variable_str() or attribute.shape != ():
            raise _Refused(f"attribute {name} is not one string of fixed length")
        if kind.get_size() != len(value):
            raise _Refused(f"attribute {name} is not that of {spec.id}")
        stored = np.empty((), dtype=f"S{len(value)}")
        attribute.read(stored)
        if stored.item() != value:
            raise _Refused(f"attribute {name} is not that of {spec.id}")


def _check_dataset(
    file: h5py.File, name: str, dtype: np.dtype, shape: tuple[int, ...], offset: int | None, head_bytes: int
) -> h5py.Dataset:
    if h5py.h5o.get_info(file.id, name.encode()).type != h5py.h5o.TYPE_DATASET:
        raise _Refused(f"{name} is not a dataset")
    dataset = h5py.h5d.open(file.id, name.encode())
    settings = dataset.get_create_plist()
    layout = settings.get_layout()
    if layout == h5py.h5d.VIRTUAL:
        raise _Refused(f"{name} is a virtual dataset")
    if settings.get_nfilters():
        raise _Refused(f"{name} has a filter (compression or the like)")
    if layout != h5py.h5d.CONTIGUOUS:
        raise _Refused(f"{name} is not stored contiguously")
    if settings.get_external_count():
        raise _Refused(f"{name} lies in external storage")
    kind = dataset.get_type()
    if kind.get_class() == h5py.h5t.REFERENCE:
        raise _Refused(f"{name} holds object references")
    if not kind.equal(h5py.h5t.py_create(dtype)):
        raise _Refused(f"{name} is not of type {dtype}")
    if dataset.shape != shape:
        raise _Refused(f"{name} has shape {dataset.shape} where {shape} belongs")
    if dataset.get_space().get_simple_extent_dims(maxdims=True) != shape:
        raise _Refused(f"{name} has a shape that may change")
    if h5py.h5a.get_num_attrs(dataset):
        raise _Refused(f"{name} has attributes")
    start, length = dataset.get_offset(), int(np.prod(shape)) * dtype.itemsize
    inside = start is not None and (start == offset if offset is not None else start + length <= head_bytes)
    if not inside or dataset.get_storage_size() != length:
        raise _Refused(f"{name} lies outside of its place in the file")
    return h5py.Dataset(dataset)


class _HeadView(io.RawIOBase):
    """A file of `size` bytes of which only the head can be seen; all bytes after it read as zero.

    Zeros and no error, because HDF5 reads some metadata in blocks that reach past its end.
    """

    def __init__(self, head: bytes, size: int) -> None:
        self._head, self._size, self._at = head, size, 0

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        view = memoryview(buffer).cast("B")
        piece = self._head[self._at : self._at + len(view)]
        view[:] = piece + bytes(len(view) - len(piece))
        self._at += len(view)
        return len(view)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True
