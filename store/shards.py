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

Reading trusts nothing.  The head is read by us, checked against the name, and only then shown to h5py
(as bytes in memory: it can reach nothing else), its structure held to a whitelist of exactly the above,
and the offsets taken from there.  After that rows are read with `os.preadv`, without HDF5.
"""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import h5py
import numpy as np
import xxhash

from store import files
from store.names import canonical_json
from store.schema import EncoderSpec

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
    crop_ids: tuple[str, ...]
    valid_frames: np.ndarray
    checksums: np.ndarray
    frames_offset: int
    means_offset: int


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


# -- writing --------------------------------------------------------------------------------------


def build(
    spec: EncoderSpec,
    crop_ids: Sequence[str],
    valid_frames: np.ndarray,
    frames: np.ndarray,
    means: np.ndarray,
) -> tuple[str, tuple[files.Buffer, ...]]:
    """The name of a shard and its bytes in order; frames [N, T, frame_dim] and means [N, L, dim]."""
    checksums = np.array(
        [
            [xxhash.xxh3_64_intdigest(f), xxhash.xxh3_64_intdigest(m)]
            for f, m in zip(frames, means, strict=True)
        ],
        dtype="<u8",
    )
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
        file.attrs["spec"] = np.bytes_(canonical_json(asdict(spec)).encode())
        file.create_dataset("crop_ids", data=np.array([i.encode() for i in crop_ids], dtype="S64"))
        file.create_dataset("valid_frames", data=valid_frames.astype("<i4"))
        file.create_dataset("checksums", data=checksums)
        shapes = {"frames": frame_shape(spec), "means": mean_shape(spec)}
        arrays = {
            name: _declare(file, name, (len(crop_ids), *shape), FRAMES if name == "frames" else MEANS)
            for name, shape in shapes.items()
        }
        # WHY after both are declared: space is given out on the first write, so the two arrays come
        # last and side by side, behind all metadata.
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
    """Keeps what HDF5 writes near the start of a file and lets the far rest go."""

    def write(self, data: files.Buffer) -> int:  # type: ignore[override]
        if self.tell() < MAX_HEAD_BYTES:
            return super().write(data)
        return len(data)

    def truncate(self, size: int | None = None) -> int:
        return size or 0


# -- reading --------------------------------------------------------------------------------------


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
        raise DamagedError(f"{name}: its head is not what its name says: changed, or renamed")
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


class _Refused(Exception):  # noqa: N818 - caught one call up
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
    expected = {"format": FORMAT.encode(), "spec": canonical_json(asdict(spec)).encode()}
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
    if dataset.shape != shape or dataset.get_space().get_simple_extent_dims(maxdims=True) != shape:
        raise _Refused(f"{name} has shape {dataset.shape} where {shape} belongs")
    if h5py.h5a.get_num_attrs(dataset):
        raise _Refused(f"{name} has attributes")
    start, length = dataset.get_offset(), int(np.prod(shape)) * dtype.itemsize
    inside = start is not None and (start == offset if offset is not None else start + length <= head_bytes)
    if not inside or dataset.get_storage_size() != length:
        raise _Refused(f"{name} lies outside of its place in the file")
    return h5py.Dataset(dataset)


class _HeadView(io.RawIOBase):
    """A file of `size` bytes of which only the head can be seen; beyond it all is zero.

    WHY zeros and no error: HDF5 reads some metadata by fixed blocks, over its end.
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
