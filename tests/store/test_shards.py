"""A shard is an ordinary HDF5 file whose head and rows are covered by checksums."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
import xxhash

from mmmos.store.names import canonical_json
from mmmos.store.shards import MAX_CROPS, NAME_PATTERN, CropFeatures, build, storable
from tests.store.made import SPEC, crop, features


def rows(count: int = 3, **changes: object) -> CropFeatures:
    crops = [crop(number) for number in range(count)]
    frames, means = features(crops)
    made = CropFeatures([one.id for one in crops], np.arange(1, count + 1), frames, means)
    return replace(made, **changes)


def written(folder: Path, content: CropFeatures) -> Path:
    name, parts = build(SPEC, storable(SPEC, content))
    (folder / name).write_bytes(b"".join(parts))
    return folder / name


def test_any_hdf5_tool_reads_what_was_stored(tmp_path: Path) -> None:
    content = rows()
    with h5py.File(written(tmp_path, content)) as file:
        assert file.attrs["format"] == b"mmmos-features-1"
        assert file.attrs["spec"] == canonical_json(SPEC.settings).encode()
        assert [one.decode() for one in file["crop_ids"]] == content.crop_ids
        assert file["valid_frames"][:].tolist() == [1, 2, 3]
        for name, expected in (("frames", content.frames), ("means", content.means)):
            assert file[name].dtype == expected.dtype
            assert np.array_equal(file[name], expected)
            assert (file[name].chunks, file[name].compression) == (None, None)


def test_every_byte_is_covered_by_a_checksum(tmp_path: Path) -> None:
    """The arrays are the last bytes, checked row by row; the name holds the checksum of all before them."""
    content = rows()
    path = written(tmp_path, content)
    arrays = content.frames.tobytes() + content.means.tobytes()
    whole = path.read_bytes()
    assert whole.endswith(arrays)
    parts = NAME_PATTERN.fullmatch(path.name)
    assert parts is not None
    assert (parts["first"], parts["count"]) == (content.crop_ids[0], "003")
    assert parts["head"] == xxhash.xxh3_64_hexdigest(whole[: -len(arrays)])
    with h5py.File(path) as file:
        for row in range(3):
            pair = content.frames[row], content.means[row]
            assert file["checksums"][row].tolist() == [xxhash.xxh3_64_intdigest(x.tobytes()) for x in pair]


def test_equal_rows_give_equal_bytes_and_others_another_name(tmp_path: Path) -> None:
    names = []
    for number, content in enumerate((rows(), rows(), rows(valid_frames=np.array([1, 2, 4])))):
        folder = tmp_path / str(number)
        folder.mkdir()
        names.append(written(folder, content))
    assert names[0].name == names[1].name != names[2].name
    assert names[0].read_bytes() == names[1].read_bytes()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"crop_ids": ["a", "b", "a"]}, "a crop occurs twice"),
        ({"crop_ids": ["a", "b", "../c"]}, r"crop id '../c': letters, digits"),
        ({"crop_ids": ["a", "b", "c" * 65]}, "at most 64"),
        ({"frames": np.zeros((3, 10, 5), np.float16)}, r"frames have shape \(3, 10, 5\), not \(3, 10, 4\)"),
        ({"means": np.zeros((3, 2, 4), np.float64)}, "means are float64, not float16 or float32"),
    ],
)
def test_rows_that_are_not_of_this_encoder_are_refused(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        storable(SPEC, rows(**changes))


@pytest.mark.parametrize("count", [0, MAX_CROPS + 1])
def test_a_shard_has_a_first_crop_and_not_too_many(count: int) -> None:
    content = CropFeatures(
        [f"c{n}" for n in range(count)], np.ones(count), np.zeros((count, 10, 4), np.float32), ()
    )
    with pytest.raises(ValueError, match=f"1 to {MAX_CROPS} crops, not {count}"):
        storable(SPEC, content)


@pytest.mark.parametrize(
    ("value", "reason"), [(7e4, "beyond float16"), (np.nan, "is not finite"), (-np.inf, "is not finite")]
)
def test_a_value_that_cannot_be_stored_is_said_with_its_crop(value: float, reason: str) -> None:
    frames = rows().frames.astype(np.float32)
    frames[1, 4, 2] = value
    with pytest.raises(ValueError, match=f"crop {crop(1).id}: a value of its frames, .* {reason}"):
        storable(SPEC, rows(frames=frames))


def test_taking_all_rows_copies_nothing_and_some_rows_keep_their_order() -> None:
    content = rows()
    assert content.take(range(3)) is content
    some = content.take([2, 0])
    assert some.crop_ids == [content.crop_ids[2], content.crop_ids[0]]
    assert np.array_equal(some.frames, content.frames[[2, 0]])
    assert some.valid_frames.tolist() == [3, 1]
