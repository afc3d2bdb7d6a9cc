"""The index cache: it saves reading heads, and is believed only where the listing agrees."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from mmmos.store.features import FeatureStore
from mmmos.store.index import CACHE_FILE, CropIndex
from mmmos.store.shards import DamagedError
from tests.store.made import SPEC, crop, features, fill, shard_names

COUNT = 130


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FeatureStore:
    """65 shards of two crops, with a cache."""
    monkeypatch.setattr("mmmos.store.files.os.fsync", lambda fd: None)  # speed only
    FeatureStore.open(fill(tmp_path, COUNT, per_shard=2).folder)
    return FeatureStore(tmp_path, SPEC)


def heads_read(monkeypatch: pytest.MonkeyPatch, folder: Path) -> list[str]:
    """The shards whose heads an opening reads."""
    from mmmos.store import index

    names: list[str] = []
    read_shard = index.read_shard

    def counted(folder: Path, name: str, spec: object) -> object:
        names.append(name)
        return read_shard(folder, name, spec)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(index, "read_shard", counted)
        fresh = CropIndex(folder, SPEC)
        fresh.refresh()
        assert sorted(fresh.place) == [crop(number).id for number in range(len(fresh.place))]
    return names


def test_a_cached_store_opens_without_reading_heads(
    store: FeatureStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (store.folder / CACHE_FILE).exists()
    assert heads_read(monkeypatch, store.folder) == []
    asked = [crop(number) for number in (100, 3)]
    np.testing.assert_array_equal(store.means([one.id for one in asked]), features(asked)[1])


def test_what_came_later_is_read_beside_the_cache(
    store: FeatureStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    new = [crop(COUNT), crop(COUNT + 1)]
    path = store.append(new, *features(new))
    assert heads_read(monkeypatch, store.folder) == [path.name]


def test_what_went_is_not_believed(store: FeatureStore) -> None:
    (store.folder / shard_names(store)[0]).unlink()
    fresh = FeatureStore(store.folder.parent, SPEC)
    assert len(fresh) == COUNT - 2
    assert crop(0).id not in fresh


def test_a_shard_of_another_size_is_looked_at(store: FeatureStore) -> None:
    path = store.folder / shard_names(store)[0]
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.warns(UserWarning, match="cut short"):
        assert len(FeatureStore(store.folder.parent, SPEC)) == COUNT - 2


@pytest.mark.parametrize(
    "change", [lambda t: t[:-40], lambda t: t.replace("a", "b"), lambda t: "", lambda t: "\xff"]
)
def test_a_changed_cache_is_not_used(
    store: FeatureStore, change: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = store.folder / CACHE_FILE
    path.write_text(change(path.read_text()), encoding="latin-1")  # type: ignore[operator]
    with pytest.warns(UserWarning, match="index-cache is not as it was written"):
        assert len(heads_read(monkeypatch, store.folder)) == 65
    assert heads_read(monkeypatch, store.folder) == []


def test_a_cache_far_larger_than_its_shards_is_not_loaded(
    store: FeatureStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.truncate(store.folder / CACHE_FILE, 1 << 30)
    with pytest.warns(UserWarning, match="index-cache is not as it was written .*has 1073741824 bytes"):
        assert len(heads_read(monkeypatch, store.folder)) == 65


def test_a_lying_cache_cannot_make_one_crop_pass_for_another(store: FeatureStore) -> None:
    index = CropIndex(store.folder, SPEC)
    index.refresh()
    one, two = index.numbered[:2]
    index.ids[one], index.ids[two] = index.ids[two], index.ids[one]
    index._write_cache({path.name: path.stat().st_size for path in store.folder.iterdir()})
    liar = FeatureStore(store.folder.parent, SPEC)
    with (
        pytest.warns(UserWarning, match="index-cache says other crops than a shard holds"),
        pytest.raises(DamagedError, match="holds other crops than the index says"),
    ):
        liar.means([crop(0).id])
    for again in (liar, FeatureStore(store.folder.parent, SPEC)):
        np.testing.assert_array_equal(again.means([crop(0).id]), features([crop(0)])[1])


def test_a_store_that_may_not_be_written_to_is_read(
    store: FeatureStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    (store.folder / CACHE_FILE).unlink()
    before = {path.name for path in store.folder.iterdir()}
    real_open = os.open

    def read_only(path: object, flags: int, *mode: int) -> int:
        if flags & (os.O_CREAT | os.O_WRONLY | os.O_RDWR):
            raise OSError(errno.EROFS, "Read-only file system")
        return real_open(path, flags, *mode)  # type: ignore[arg-type]

    monkeypatch.setattr("mmmos.store.files.os.open", read_only)
    downloaded = FeatureStore.open(store.folder)
    np.testing.assert_array_equal(downloaded.means([crop(9).id]), features([crop(9)])[1])
    assert {path.name for path in store.folder.iterdir()} == before
    with pytest.raises(OSError, match="Read-only"):
        downloaded.append([crop(999)], *features([crop(999)]))


def test_a_store_without_its_cache_is_the_same_store(store: FeatureStore, tmp_path: Path) -> None:
    copy = tmp_path / "copy" / SPEC.id
    shutil.copytree(store.folder, copy, ignore=shutil.ignore_patterns(CACHE_FILE))
    assert FeatureStore.open(copy).crop_ids() == store.crop_ids()
