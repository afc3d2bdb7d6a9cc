"""Hostile shards: each is refused, with the reason, before any data is read."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
import xxhash

from mmmos.store import files, shards
from mmmos.store.features import FeatureStore
from mmmos.store.names import canonical_json
from mmmos.store.shard_check import read_shard
from mmmos.store.shards import DamagedError
from tests.store.made import SPEC, crop, features, fill, shard_names

COUNT = 3
IDS = np.array([crop(number).id.encode() for number in range(COUNT)], dtype="S64")
FRAMES, MEANS = features([crop(number) for number in range(COUNT)])


def plain(file: h5py.File) -> None:
    """What an honest shard holds, by the ordinary calls of the library."""
    file.attrs["format"] = np.bytes_(b"mmmos-features-1")
    file.attrs["spec"] = np.bytes_(canonical_json(SPEC.settings).encode())
    file["crop_ids"] = IDS
    file["valid_frames"] = np.full(COUNT, 10, "<i4")
    file["checksums"] = np.array(
        [[xxhash.xxh3_64_intdigest(row) for row in pair] for pair in zip(FRAMES, MEANS, strict=True)], "<u8"
    )
    file["frames"] = FRAMES
    file["means"] = MEANS


def forge(folder: Path, change: Callable[[h5py.File], None]) -> str:
    """A shard by a stranger who knows the format: of a fitting size, and named by its true checksum."""
    image = io.BytesIO()
    with h5py.File(image, "w") as file:
        plain(file)
        change(file)
    head = image.getvalue()  # all of it, so that h5py sees the whole forgery
    name = f"shard-{crop(0).id}-{COUNT:03d}-{xxhash.xxh3_64_hexdigest(head)}.h5"
    (folder / name).write_bytes(head + bytes(FRAMES.nbytes + MEANS.nbytes))
    return name


def swap(name: str, **options: object) -> Callable[[h5py.File], None]:
    def change(file: h5py.File) -> None:
        data = options.pop("data", None)
        del file[name]
        file.create_dataset(name, data=data, **options)  # type: ignore[arg-type]

    return change


def relink(link: object) -> Callable[[h5py.File], None]:
    def change(file: h5py.File) -> None:
        del file["means"]
        file["means"] = link

    return change


def virtual(file: h5py.File) -> None:
    layout = h5py.VirtualLayout((COUNT, 10, 4), "<f2")
    layout[0] = h5py.VirtualSource("other.h5", "frames", (10, 4))
    del file["frames"]
    file.create_virtual_dataset("frames", layout)


def references(file: h5py.File) -> None:
    del file["crop_ids"]
    file.create_dataset("crop_ids", data=[file["frames"].ref] * COUNT, dtype=h5py.ref_dtype)


def group(file: h5py.File) -> None:
    del file["frames"]
    file.create_group("frames")


def variable_spec(file: h5py.File) -> None:
    del file.attrs["spec"]
    file.attrs["spec"] = "a" * 500


HOSTILE = {
    "external storage": (
        swap("frames", shape=FRAMES.shape, dtype="<f2", external=[("/etc/passwd", 0, FRAMES.nbytes)]),
        "external storage",
    ),
    "external link": (relink(h5py.ExternalLink("other.h5", "/means")), "means is an external link"),
    "soft link": (relink(h5py.SoftLink("/frames")), "means is a soft link"),
    "virtual dataset": (virtual, "frames is a virtual dataset"),
    "object references": (references, "crop_ids holds object references"),
    "compressed": (swap("frames", data=FRAMES, compression="gzip"), "frames has a filter"),
    "shuffled": (swap("frames", data=FRAMES, chunks=FRAMES.shape, shuffle=True), "frames has a filter"),
    "chunked": (swap("frames", data=FRAMES, chunks=FRAMES.shape), "not stored contiguously"),
    "compressed bomb": (
        swap("frames", shape=(1 << 20, 1 << 18), dtype="<f2", compression="gzip"),
        "has a filter",
    ),
    "2 TB in a small file": (
        swap("frames", shape=(1 << 20, 1 << 20), dtype="<f2"),
        r"frames has shape \(1048576,",
    ),
    "unlimited": (swap("frames", data=FRAMES, maxshape=(None, 10, 4)), "not stored contiguously"),
    "wrong dtype": (swap("frames", data=FRAMES.astype("<f4")), "frames is not of type float16"),
    "other byte order": (swap("frames", data=FRAMES.astype(">f2")), "frames is not of type float16"),
    "variable strings": (
        swap("crop_ids", data=["x"] * COUNT, dtype=h5py.string_dtype()),
        "crop_ids is not of type",
    ),
    "wrong shape": (
        swap("frames", data=FRAMES[:, :1]),
        r"frames has shape \(3, 1, 4\) where \(3, 10, 4\) belongs",
    ),
    "renamed field": (lambda file: file.move("means", "averages"), "at odds: averages, means"),
    "extra field": (lambda file: file.create_dataset("more", data=1), "at odds: more"),
    "a group": (group, "frames is not a dataset"),
    "extra attribute": (lambda file: file.attrs.update(more=1), "attributes other than"),
    "attribute on a dataset": (lambda file: file["frames"].attrs.update(more=1), "frames has attributes"),
    "variable attribute": (variable_spec, "attribute spec is not one string of fixed length"),
    "another encoder's": (
        lambda file: file.attrs.update(
            spec=np.bytes_(canonical_json(SPEC.settings).replace("1.0", "2.0").encode())
        ),
        f"attribute spec is not that of {SPEC.id}",
    ),
    "never stored": (swap("means", shape=MEANS.shape, dtype="<f4"), "outside of its place"),
    "not in order": (lambda file: None, "frames lies outside of its place"),
}


ODD_ROWS = {
    "ids that are paths": (
        ["../../../etc/cron.d/x", "b", "c"],
        [10, 10, 10],
        "'../../../etc/cron.d/x' is not a",
    ),
    "ids with line breaks": (["a\nb", "b", "c"], [10, 10, 10], "is not a crop id"),
    "an id twice": (["a", "b", "b"], [10, 10, 10], "a crop id occurs twice"),
    "no audio": (["a", "b", "c"], [10, 0, 10], r"valid_frames outside 1\.\.10"),
    "too much audio": (["a", "b", "c"], [10, 11, 10], r"valid_frames outside 1\.\.10"),
}


@pytest.mark.parametrize("kind", ODD_ROWS)
def test_hostile_rows(folder: Path, kind: str) -> None:
    crop_ids, valid_frames, reason = ODD_ROWS[kind]
    name, parts = shards.build(SPEC, shards.CropFeatures(crop_ids, np.array(valid_frames), FRAMES, MEANS))
    name = f"shard-a-{name[-23:]}"
    (folder / name).write_bytes(b"".join(parts))
    with pytest.raises(DamagedError, match=reason):
        read_shard(folder, name, SPEC)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    store = fill(tmp_path, 1)
    for name in shard_names(store):
        (store.folder / name).unlink()
    return store.folder


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_structure(folder: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    change, reason = HOSTILE[kind]
    name = forge(folder, change)
    head_bytes = (folder / name).stat().st_size - FRAMES.nbytes - MEANS.nbytes
    read_into = files.read_into

    def head_only(fd: int, buffer: files.Buffer, offset: int) -> None:
        assert offset + memoryview(buffer).nbytes <= head_bytes, "data was read"
        read_into(fd, buffer, offset)

    monkeypatch.setattr(files, "read_into", head_only)
    with pytest.raises(DamagedError, match=reason) as refused:
        read_shard(folder, name, SPEC)
    assert str(refused.value).startswith(name)
    with pytest.warns(UserWarning, match="set aside"):
        store = FeatureStore.open(folder)
    assert len(store) == 0
    assert list(store.damaged) == [name]


@pytest.mark.parametrize(
    "make", [b"", b"\x89HDF\r\n\x1a\n", np.random.default_rng(0).bytes(5000), b"\0" * 100_000]
)
def test_what_is_no_hdf5(folder: Path, make: bytes) -> None:
    payload = FRAMES.nbytes + MEANS.nbytes
    head = make[: max(len(make) - payload, 0)]
    name = f"shard-{crop(0).id}-{COUNT:03d}-{xxhash.xxh3_64_hexdigest(head)}.h5"
    (folder / name).write_bytes(make)
    with pytest.raises(DamagedError, match=r"cannot hold|not a readable HDF5 file"):
        read_shard(folder, name, SPEC)


def test_forged_heads_are_refused_or_read_but_never_break_out(folder: Path) -> None:
    name, parts = shards.build(
        SPEC, shards.CropFeatures([raw.decode() for raw in IDS.tolist()], np.full(COUNT, 10), FRAMES, MEANS)
    )
    rng = np.random.default_rng(0)
    refused = 0
    for _ in range(300):
        head = bytearray(parts[0])
        at, length = int(rng.integers(len(head) - 8)), int(rng.integers(1, 9))
        head[at : at + length] = rng.bytes(length)
        forged = f"{name[:-19]}{xxhash.xxh3_64_hexdigest(head)}.h5"
        (folder / forged).write_bytes(b"".join([head, *parts[1:]]))
        try:
            shard = read_shard(folder, forged, SPEC)
        except DamagedError:
            refused += 1
        else:
            assert shard.frames_offset == len(head)
            assert shard.means_offset == len(head) + FRAMES.nbytes
        (folder / forged).unlink()
    assert 100 < refused < 300


def test_links_pipes_and_folders_are_not_shards(folder: Path, tmp_path: Path) -> None:
    real = next(path for path in fill(tmp_path / "other", 3).folder.iterdir() if path.suffix == ".h5")
    (folder / real.name).symlink_to(real)
    pipe, under = folder / real.name.replace("-003-", "-002-"), folder / real.name.replace("-003-", "-001-")
    os.mkfifo(pipe)
    under.mkdir()
    with pytest.warns(UserWarning, match="set aside"):
        store = FeatureStore.open(folder)
    assert len(store) == 0
    reasons = " ".join(store.damaged.values())
    assert "symbolic link" in reasons
    assert reasons.count("is not a regular file") == 2


def test_a_renamed_shard_is_found(folder: Path, tmp_path: Path) -> None:
    real = next(path for path in fill(tmp_path / "other", 3).folder.iterdir() if path.suffix == ".h5")
    renamed = real.name.replace(crop(0).id, crop(1).id)
    (folder / renamed).write_bytes(real.read_bytes())
    with pytest.raises(DamagedError, match="not with the one in its name"):
        read_shard(folder, renamed, SPEC)


def test_every_flipped_bit_is_found_by_shard_and_crop(tmp_path: Path) -> None:
    store = fill(tmp_path, 4, per_shard=4)
    path = store.folder / shard_names(store)[0]
    whole = path.read_bytes()
    head_bytes = len(whole) - 4 * (80 + 32)
    rng = np.random.default_rng(0)
    places = [*rng.integers(head_bytes, size=60).tolist(), *range(head_bytes, len(whole), 7)]
    for at in places:
        broken = bytearray(whole)
        broken[at] ^= 1 << int(rng.integers(8))
        path.write_bytes(broken)
        if at < head_bytes:
            with pytest.raises(DamagedError, match="its head is not what its name says"):
                read_shard(store.folder, path.name, SPEC)
            continue
        in_frames = at < head_bytes + 4 * 80
        row = (at - head_bytes) // 80 if in_frames else (at - head_bytes - 4 * 80) // 32
        fresh = FeatureStore.open(store.folder)
        read = fresh.frames if in_frames else fresh.means
        with pytest.raises(DamagedError, match=f"{path.name}: crop {crop(row).id}: its"):
            read([crop(row).id])
        read([crop(number).id for number in range(4) if number != row])


@pytest.mark.parametrize("cut", [1, 100, 448, 449, 3000])
def test_a_truncated_shard_is_found(tmp_path: Path, cut: int) -> None:
    store = fill(tmp_path, 4, per_shard=4)
    path = store.folder / shard_names(store)[0]
    path.write_bytes(path.read_bytes()[:-cut])
    with pytest.warns(UserWarning, match="set aside"):
        fresh = FeatureStore.open(store.folder)
    assert path.name in fresh.damaged
    with pytest.raises(DamagedError):
        store.means([crop(number).id for number in range(4)])
