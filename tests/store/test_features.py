"""FeatureStore: what goes in comes out, in any order, by any process; and what may not go in."""

from __future__ import annotations

import pickle
import threading
import time
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest

from mmmos.store import files
from mmmos.store.features import FeatureStore, list_stores
from mmmos.store.maintenance import verify
from mmmos.store.schema import Crop
from mmmos.store.specs import read_spec
from tests.store.made import SPEC, crop, features, fill, shard_names


def test_what_goes_in_comes_out_in_the_order_asked(tmp_path: Path) -> None:
    store = fill(tmp_path, 12)
    asked = [crop(number) for number in (7, 0, 11, 7, 3)]
    frames, means = features(asked)
    got, valid = store.frames([one.id for one in asked])
    assert (got.dtype, valid.dtype) == (np.float16, np.int64)
    np.testing.assert_array_equal(got, frames)
    np.testing.assert_array_equal(valid, [10] * 5)
    np.testing.assert_array_equal(store.means([one.id for one in asked]), means)


def test_a_store_is_reopened_from_its_folder_and_across_processes(tmp_path: Path) -> None:
    store = fill(tmp_path, 6)
    for other in (FeatureStore.open(store.folder), pickle.loads(pickle.dumps(store)), *list_stores(tmp_path)):
        assert other.spec == SPEC
        assert sorted(other.crop_ids()) == sorted(store.crop_ids())
        np.testing.assert_array_equal(other.means([crop(5).id]), store.means([crop(5).id]))


def test_missing_keeps_order_and_names_each_once(tmp_path: Path) -> None:
    assert FeatureStore(tmp_path, SPEC).missing([crop(1)]) == [crop(1)]
    assert not (tmp_path / SPEC.id).exists()
    store = fill(tmp_path, 6)
    assert store.missing([crop(9), crop(2), crop(8), crop(9)]) == [crop(9), crop(8)]
    assert len(store) == 6
    assert crop(2).id in store


def test_two_handles_see_each_others_shards(tmp_path: Path) -> None:
    one, two = FeatureStore(tmp_path, SPEC), FeatureStore(tmp_path, SPEC)
    one.append([crop(1)], *features([crop(1)]))
    assert two.missing([crop(1)]) == []
    two.append([crop(2)], *features([crop(2)]))
    np.testing.assert_array_equal(one.means([crop(2).id]), features([crop(2)])[1])


def test_crops_already_there_are_left_as_they_are(tmp_path: Path) -> None:
    store = FeatureStore(tmp_path, SPEC)
    first = store.append([crop(1), crop(2)], *features([crop(1), crop(2)]))
    assert store.append([crop(2), crop(1)], *features([crop(2), crop(1)], seed=1)) == first
    second = store.append([crop(2), crop(3)], *features([crop(2), crop(3)], seed=1))
    assert second != first
    assert len(store) == 3
    np.testing.assert_array_equal(store.means([crop(2).id]), features([crop(2)])[1])
    np.testing.assert_array_equal(store.means([crop(3).id]), features([crop(3)], seed=1)[1])


def test_padding_is_told_from_audio(tmp_path: Path) -> None:
    store = FeatureStore(tmp_path, SPEC)
    crops = [crop(1, 0.3), crop(2, 3.99), crop(3, 4.0), crop(4, 10.0)]
    store.append(crops, *features(crops))
    _, valid = store.frames([one.id for one in crops])
    np.testing.assert_array_equal(valid, [1, 3, 4, 10])


def test_equal_contents_give_equal_files(tmp_path: Path) -> None:
    one = fill(tmp_path / "one", 5).folder
    time.sleep(1.1)  # the library stamps whole seconds, where it is let
    two = fill(tmp_path / "two", 5).folder
    first, second = ({p.name: p.read_bytes() for p in folder.glob("*.h5")} for folder in (one, two))
    assert first == second


def test_any_hdf5_tool_reads_a_shard(tmp_path: Path) -> None:
    crops = [crop(1), crop(2, 5.0)]
    frames, means = features(crops)
    with h5py.File(FeatureStore(tmp_path, SPEC).append(crops, frames, means), "r") as file:
        np.testing.assert_array_equal(file["frames"][:], frames)
        np.testing.assert_array_equal(file["means"][:], means)
        assert file["crop_ids"][:].tolist() == [one.id.encode() for one in crops]
        assert file["valid_frames"][:].tolist() == [10, 5]
        for name in ("frames", "means"):
            assert file[name].chunks is None


def with_value(array: np.ndarray, value: float) -> np.ndarray:
    changed = array.astype(np.float32)
    changed[1, -1, -1] = value
    return changed


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda f, m: (with_value(f, np.nan), m), r"-00000: a value of its frames, nan, is not finite"),
        (lambda f, m: (with_value(f, 70000), m), r"frames, 70000.0, is beyond float16"),
        (lambda f, m: (with_value(f, -np.inf).astype(np.float16), m), "frames, -inf, is not finite"),
        (lambda f, m: (f, with_value(m, np.inf)), "means, inf, is not finite"),
        (lambda f, m: (f[:, :-1], m), r"frames have shape \(2, 9, 4\), not \(2, 10, 4\)"),
        (lambda f, m: (f, m[:1]), "means have shape"),
        (lambda f, m: (f.astype(np.float64), m), "float64, not float16 or float32"),
    ],
)
def test_what_may_not_go_in(tmp_path: Path, change: object, reason: str) -> None:
    store = FeatureStore(tmp_path, SPEC)
    with pytest.raises(ValueError, match=reason):
        store.append([crop(1), crop(2)], *change(*features([crop(1), crop(2)])))  # type: ignore[operator]
    assert not store.folder.exists()


def test_what_is_no_shard(tmp_path: Path) -> None:
    store = FeatureStore(tmp_path, SPEC)
    for crops, reason in (
        ([], "1 to 256 crops, not 0"),
        ([crop(i) for i in range(257)], "1 to 256 crops, not 257"),
        ([crop(1), crop(1)], "twice"),
        ([Crop("../../etc/x", 0, 0.0, 1.0)], "letters, digits"),
    ):
        with pytest.raises(ValueError, match=reason):
            store.append(
                crops, np.zeros((len(crops), 10, 4), np.float16), np.zeros((len(crops), 2, 4), np.float32)
            )


def test_asking_for_what_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(KeyError, match=f"{SPEC.id} has no crop {crop(9).id}"):
        fill(tmp_path, 3).means([crop(1).id, crop(9).id])


def test_a_shard_that_vanished_is_missing_again(tmp_path: Path) -> None:
    store = fill(tmp_path, 10)
    (store.folder / shard_names(store)[0]).unlink()
    assert store.missing([crop(number) for number in range(10)]) == [crop(number) for number in range(5)]
    np.testing.assert_array_equal(store.means([crop(7).id]), features([crop(7)])[1])


def test_the_folder_must_be_what_its_spec_says(tmp_path: Path) -> None:
    folder = fill(tmp_path, 1).folder
    text = (folder / "spec.json").read_text()
    for change, reason in (
        (text.replace('"recipe": 1', '"recipe": 2'), "but its folder is named"),
        (text.replace('"dim": 4', '"dim": "4"'), "dim is '4'"),
        (text.replace('"dim": 4', '"dim": -4'), "dim is -4"),
        (text.replace('"dim": 4,', ""), "its fields are not"),
        (text[:20], r"spec\.json"),
    ):
        (folder / "spec.json").write_text(change)
        with pytest.raises(ValueError, match=reason):
            FeatureStore.open(folder)
    assert replace(SPEC, recipe=2).id != SPEC.id
    (folder / "spec.json").write_text(text)
    assert read_spec(folder) == SPEC


def test_many_threads_read_with_few_open_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mmmos.store.features.OPEN_FILES", 2)
    store = fill(tmp_path, 40, per_shard=4)
    ids = [crop(number).id for number in range(40)]
    _, expected = features([crop(number) for number in range(40)])
    failures: list[BaseException] = []

    def read(seed: int) -> None:
        order = np.random.default_rng(seed).permutation(40)
        try:
            for _ in range(10):
                np.testing.assert_array_equal(store.means([ids[i] for i in order]), expected[order])
        except BaseException as failure:
            failures.append(failure)

    threads = [threading.Thread(target=read, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_an_append_does_not_list_the_folder_unless_another_writer_has_stored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, theirs = fill(tmp_path, 5), FeatureStore(tmp_path, SPEC)
    listed: list[Path] = []
    real = files.listing
    monkeypatch.setattr(files, "listing", lambda folder: (listed.append(folder), real(folder))[1])
    for number in range(5, 9):
        ours.append([crop(number)], *features([crop(number)]))
    assert listed == []
    theirs.append([crop(9)], *features([crop(9)]))
    assert len(listed) == 1
    ours.append([crop(9), crop(10)], *features([crop(9), crop(10)]))
    assert len(listed) == 2
    assert verify(ours.folder, fraction=1.0).duplicates == 0
    assert set(ours.crop_ids()) == {crop(number).id for number in range(11)}
