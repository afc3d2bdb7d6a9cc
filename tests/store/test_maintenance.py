"""info, verify, gc and merge over stores with known faults."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mmmos.store import files, shards
from mmmos.store.clips import ClipTable
from mmmos.store.features import FeatureStore
from mmmos.store.maintenance import Damage, gc, info, merge, verify
from mmmos.store.schema import Clip, Crop
from mmmos.store.shards import DamagedError
from tests.store.made import SPEC, crop, features, fill, shard_names

ROW_BYTES = 80 + 32


def table(count: int) -> ClipTable:
    """Clips over the first made-up crops; the last two share their audio."""
    clips = [Clip(f"c{i}", f"{i}.wav", audio=crop(i).audio, duration_s=10.0) for i in range(count)]
    return ClipTable((*clips, replace(clips[-1], id="again", path="copy.wav")))


def damage(store: FeatureStore, shard: int = 0, row: int = 1) -> tuple[str, str]:
    """Flip a bit in one crop's frames; the names of shard and crop."""
    path = store.folder / shard_names(store)[shard]
    data = bytearray(path.read_bytes())
    rows = int(path.name.split("-")[3])
    data[len(data) - rows * ROW_BYTES + row * 80 + 5] ^= 4
    path.write_bytes(data)
    return path.name, crop(5 * shard + row).id


def test_info_says_what_is_there(tmp_path: Path) -> None:
    store = fill(tmp_path, 12)
    (store.folder / "notes.txt").write_text("mine")
    (store.folder / "tmp-1-x").write_bytes(b"left")
    found = info(store.folder, table(14))
    assert (found.spec, found.crops, found.shards) == (SPEC, 12, 3)
    assert found.bytes == sum(path.stat().st_size for path in store.folder.glob("*.h5"))
    assert (found.wanted, found.missing) == (14, 2)
    assert found.unknown == ("notes.txt",)
    assert [one.path.name for one in found.leftovers] == ["tmp-1-x"]
    assert info(store.folder).missing is None


def test_a_clean_store(tmp_path: Path) -> None:
    store = fill(tmp_path, 12)
    found = verify(store.folder, fraction=1.0, table=table(12))
    assert (found.outcome, found.shards, found.crops, found.crops_read) == ("clean", 3, 12, 12)
    assert verify(store.folder).crops_read == 0
    assert 0 < verify(store.folder, fraction=0.5, seed=1).crops_read < 12


def test_damaged_data_is_named_and_only_found_by_reading(tmp_path: Path) -> None:
    store = fill(tmp_path, 12)
    shard, crop_id = damage(store, shard=1)
    assert verify(store.folder).outcome == "clean"
    found = verify(store.folder, fraction=1.0, table=table(14))
    assert found.damaged == (
        Damage(shard, crop_id, f"{shard}: crop {crop_id}: its frames are not what was written"),
    )
    assert found.outcome == "damaged"
    assert len(found.missing) == 2


def test_a_cut_shard_counts_as_damaged_and_its_crops_as_missing(tmp_path: Path) -> None:
    store = fill(tmp_path, 12)
    path = store.folder / shard_names(store)[2]
    path.write_bytes(path.read_bytes()[:-1])
    found = verify(store.folder, table=table(12))
    assert [(one.shard, one.crop) for one in found.damaged] == [(path.name, "")]
    assert found.missing == (crop(10).id, crop(11).id)


def test_missing_crops_have_an_outcome_of_their_own(tmp_path: Path) -> None:
    found = verify(fill(tmp_path, 5).folder, table=table(7))
    assert found.outcome == "missing"


def test_a_broken_spec_is_damage(tmp_path: Path) -> None:
    folder = fill(tmp_path, 1).folder
    (folder / "spec.json").write_text("{")
    assert verify(folder).outcome == "damaged"


def test_gc_takes_what_is_old_and_held_by_nobody(tmp_path: Path) -> None:
    store = fill(tmp_path, 5)
    old, young = store.folder / "tmp-1-old", store.folder / "tmp-1-young"
    writer = files.Temporary(store.folder)
    for path in (old, young):
        path.write_bytes(b"12345")
    hour_ago = time.time() - 7200
    os.utime(old, (hour_ago, hour_ago))
    os.utime(writer.path, (hour_ago, hour_ago))
    planned = gc(store.folder, dry_run=True)
    assert planned.removed == (old,)
    assert old.exists()
    done = gc(store.folder)
    assert (done.removed, done.bytes) == ((old,), 5)
    assert "a process is writing it" in done.kept[writer.path]
    assert "younger than 3600 s" in done.kept[young]
    assert not old.exists()
    writer.close()
    assert set(gc(store.folder, min_age_s=0).removed) == {writer.path, young}
    assert verify(store.folder, fraction=1.0).outcome == "clean"


def test_gc_of_damaged_shards_makes_their_crops_missing(tmp_path: Path) -> None:
    store = fill(tmp_path, 12)
    shard, _ = damage(store, shard=1)
    assert gc(store.folder, damaged=True).removed == (store.folder / shard,)
    assert len(store.missing([crop(number) for number in range(12)])) == 5
    assert verify(store.folder, fraction=1.0).outcome == "clean"


def test_merge_brings_what_is_lacking(tmp_path: Path) -> None:
    source = fill(tmp_path / "there", 12)
    store = fill(tmp_path / "here", 7)
    merged = merge(source.folder, tmp_path / "here")
    assert (merged.added, merged.present, merged.damaged) == (5, 7, ())
    assert merge(source.folder, tmp_path / "here").added == 0
    everything = [crop(number) for number in range(12)]
    np.testing.assert_array_equal(store.means([one.id for one in everything]), features(everything)[1])
    np.testing.assert_array_equal(store.frames([one.id for one in everything])[0], features(everything)[0])
    found = verify(store.folder, fraction=1.0)
    assert (found.outcome, found.duplicates) == ("clean", 0)


def test_merge_into_nothing_makes_the_same_store(tmp_path: Path) -> None:
    source = fill(tmp_path / "there", 6)
    assert merge(source.folder, tmp_path / "here").added == 6
    made = {path.name: path.read_bytes() for path in (tmp_path / "here" / SPEC.id).glob("*.h5")}
    assert made == {path.name: path.read_bytes() for path in source.folder.glob("*.h5")}


def test_merge_leaves_damage_behind(tmp_path: Path) -> None:
    source = fill(tmp_path / "there", 6)
    shard, crop_id = damage(source)
    merged = merge(source.folder, tmp_path / "here")
    assert (merged.added, [(one.shard, one.crop) for one in merged.damaged]) == (5, [(shard, crop_id)])
    assert verify(tmp_path / "here" / SPEC.id, fraction=1.0).outcome == "clean"


def test_merge_refuses_another_signature_and_says_why(tmp_path: Path) -> None:
    other = replace(SPEC, audio="another resampler")
    source = fill(tmp_path / "there", 2, spec=other)
    fill(tmp_path / "here", 2)
    with pytest.raises(ValueError, match="audio: 'another resampler' here, 'made up' there"):
        merge(source.folder, tmp_path / "here")
    with pytest.raises(ValueError, match="into itself"):
        merge(source.folder, tmp_path / "there")
    assert merge(source.folder, tmp_path / "elsewhere").added == 2


def forge(folder: Path, one: Crop, frames: float = 1.0, valid: int = 10) -> str:
    """A shard of one crop whose checksums are right, whatever it holds."""
    values = np.full((1, *shards.frame_shape(SPEC)), frames, np.float16)
    means = np.ones((1, *shards.mean_shape(SPEC)), np.float32)
    name, parts = shards.build(SPEC, shards.CropFeatures([one.id], np.array([valid]), values, means))
    files.write_atomic(folder / name, *parts)
    return name


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, -np.nan])
def test_right_checksums_over_wrong_values_are_found_at_read_and_by_verify(
    tmp_path: Path, value: float
) -> None:
    store = fill(tmp_path, 3)
    forge(store.folder, crop(8), frames=-65504.0)
    store.frames([crop(8).id])
    name = forge(store.folder, crop(9), frames=value)
    with pytest.raises(DamagedError, match=f"{name}: crop {crop(9).id}: its frames are not all finite"):
        store.frames([crop(9).id])
    assert [(d.shard, d.crop) for d in verify(store.folder, fraction=1.0).damaged] == [(name, crop(9).id)]


def test_one_crop_twice_with_different_values_is_found_at_read_and_by_verify(tmp_path: Path) -> None:
    store = fill(tmp_path, 3)
    forge(store.folder, crop(1))
    (found,) = verify(store.folder).damaged
    assert found.crop == crop(1).id
    assert "stored with other values in shard-" in found.reason
    for reader in (FeatureStore(tmp_path, SPEC), store):
        reader.refresh()
        with pytest.raises(DamagedError, match="stored with other values"):
            reader.means([crop(1).id])
        reader.means([crop(0).id])


def test_valid_frames_that_do_not_fit_the_clip_table_are_found(tmp_path: Path) -> None:
    store = fill(tmp_path, 1)
    clip = Clip("a", "a.wav", audio=f"{7:032x}", duration_s=4.0)
    name = forge(store.folder, crop(7), valid=10)
    assert verify(store.folder).outcome == "clean"
    (found,) = verify(store.folder, table=ClipTable((clip,))).damaged
    assert (found.shard, found.reason[:15]) == (name, "10 valid frames")
