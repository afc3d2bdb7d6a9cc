"""Parts of a table, extracted by processes that know nothing of each other, become one work folder."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mmmos.store.clips import load_table, read_clips
from mmmos.store.crops import crops_of
from mmmos.store.features import list_stores
from tests.corpus import small_corpus

LOGMEL = ("--encoders", "logmel")
OF = 4


class Extracted:
    """A small corpus with two unreadable files, extracted whole and in four parts."""

    def __init__(self, cli: Any, folder: Path) -> None:
        self.cli, self.clips = cli, small_corpus(folder / "data")
        (self.clips.parent / "audio/c05.wav").write_bytes(b"")
        (self.clips.parent / "audio/c10.wav").unlink()
        self.whole, self.work = folder / "whole", folder / "work"
        assert self.extract(work=self.whole).code == 3
        for number in range(1, OF + 1):
            assert self.extract("--part", f"{number}/{OF}").code in (0, 3)

    def extract(self, *words: object, work: Path | None = None):
        low = ("--min-coverage", "0.5")
        return self.cli("extract", "--clips", self.clips, "--work", work or self.work, *LOGMEL, *low, *words)

    def merge(self, parts: Path | None = None, into: Path | None = None):
        return self.cli("store", "merge", parts or self.work / "parts", "--work", into or self.work)


@pytest.fixture
def made(cli, tmp_path: Path) -> Extracted:
    return Extracted(cli, tmp_path)


def parts_of(made: Extracted, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made.work / "parts", tmp_path / "parts"))


def test_merged_parts_are_the_work_folder_of_one_run(made: Extracted) -> None:
    done = made.merge()
    assert done.code == 3, done.err
    for name in ("clips.json", "rejects.csv", "extract.json"):
        assert (made.work / name).read_bytes() == (made.whole / name).read_bytes(), name
    (ours,), (theirs,) = list_stores(made.work / "features"), list_stores(made.whole / "features")
    assert ours.spec == theirs.spec
    ids = [crop.id for clip in load_table(made.whole / "clips.json") for crop in crops_of(clip)]
    assert set(ours.crop_ids()) == set(theirs.crop_ids()) == set(ids)
    np.testing.assert_array_equal(ours.means(ids), theirs.means(ids))
    for mine, other in zip(ours.frames(ids), theirs.frames(ids), strict=True):
        np.testing.assert_array_equal(mine, other)
    again = made.merge()
    assert again.code == 3
    assert "0 crops added" in again.err, "a merge that was killed can be repeated"


def test_a_part_is_repeated_without_encoding_anything_twice(made: Extracted) -> None:
    folder = made.work / "parts" / f"part-2-of-{OF}"
    before = {path.name: path.read_bytes() for path in folder.rglob("*.h5")}
    (folder / "part.json").unlink()  # as a kill would leave it
    unfinished = made.merge()
    assert unfinished.code == 2
    assert "2/4 did not end" in unfinished.err
    assert made.extract("--part", f"2/{OF}").code in (0, 3)
    assert {path.name: path.read_bytes() for path in folder.rglob("*.h5")} == before
    assert made.merge().code == 3


def test_missing_and_foreign_parts_are_named(made: Extracted, tmp_path: Path) -> None:
    parts = parts_of(made, tmp_path)
    shutil.rmtree(parts / "part-1-of-4")
    shutil.rmtree(parts / "part-3-of-4")
    refused = made.merge(parts)
    assert refused.code == 2
    assert "1/4, 3/4 are missing" in refused.err
    assert not (made.work / "clips.json").exists()
    (parts / "part-2-of-4").rename(parts / "part-2-of-2")
    assert "parts of 2 and of 4 lie together" in made.merge(parts).err
    shutil.rmtree(parts / "part-4-of-4")
    shutil.copytree(made.work / "parts" / "part-1-of-4", parts / "part-1-of-2")
    assert "holds part 1/4, not 1/2" in made.merge(parts).err


def test_a_part_of_another_table_or_with_other_options_is_refused(made: Extracted, tmp_path: Path) -> None:
    parts = parts_of(made, tmp_path)
    for words, said in (
        (("--layers", "last"), "part 3/4 was extracted otherwise than part 1/4: layers: 'mean' here, 'last'"),
        (("--scale", "0,20"), "scale: '0,10' here, '0,20' there"),
    ):
        assert made.extract("--part", "3/4", *words).code in (0, 3)
        refused = made.merge(into=tmp_path / "new")
        assert refused.code == 2
        assert said in refused.err
    text = made.clips.read_text().replace("c02,", "c02b,")
    made.clips.write_text(text)
    assert made.extract("--part", "3/4").code in (0, 3)
    assert "part 3/4 is of another clip table than part 1/4" in made.merge(into=tmp_path / "new").err
    assert not (tmp_path / "new" / "clips.json").exists()
    assert made.merge(parts).code == 3


def test_what_was_damaged_or_lost_since_is_not_passed_on(made: Extracted, tmp_path: Path) -> None:
    parts = parts_of(made, tmp_path)
    (shard,) = (parts / "part-2-of-4").rglob("*.h5")
    whole = shard.read_bytes()
    shard.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    damaged = made.merge(parts, tmp_path / "new")
    assert damaged.code == 5
    assert "not taken" in damaged.err
    shard.unlink()
    lost = made.merge(parts, tmp_path / "new")
    assert lost.code == 2
    assert "are in no part" in lost.err
    assert not (tmp_path / "new" / "clips.json").exists()
    shard.write_bytes(whole)
    record = parts / "part-1-of-4" / "part.json"
    record.write_bytes(record.read_bytes().replace(b'"rows"', b'"rovs"'))
    assert "damaged or changed by hand" in made.merge(parts, tmp_path / "new").err


def test_a_clip_that_stands_twice_in_the_table_has_to_be_the_same(cli, tmp_path: Path) -> None:
    clips = small_corpus(tmp_path / "data")
    lines = clips.read_text().splitlines()

    def merged(extra: str):
        clips.write_text("\n".join([*lines, extra, ""]))
        for number in (1, 2):
            words = ("--part", f"{number}/2", *LOGMEL)
            assert cli("extract", "--clips", clips, "--work", tmp_path / "w", *words).code == 0
        return cli("store", "merge", tmp_path / "w/parts", "--work", tmp_path / "w")

    first = lines[1]  # row 1 is in part 1, the 31st too: 30 rows more and one, which is in part 2
    lines.append(lines[1].replace("c00", "c30", 1))
    same = merged(first)
    assert same.code == 0, same.err
    assert "1 clips stand in the clip table twice" in same.err
    assert len(load_table(tmp_path / "w/clips.json")) == 31
    other = merged(first.replace("s0", "s1"))
    assert other.code == 2
    assert "clip 'c00' stands in the clip table twice" in other.err
    assert "part 2/2" in other.err


def test_a_split_is_not_made_of_a_part(cli, tmp_path: Path) -> None:
    clips = small_corpus(tmp_path / "data", with_split=False)
    refused = cli("extract", "--clips", clips, "--work", tmp_path, *LOGMEL, "--split", "0.8", "--part", "1/2")
    assert refused.code == 2
    assert "--split divides a whole table" in refused.err


def test_more_parts_than_rows_are_refused(cli, tmp_path: Path) -> None:
    clips = small_corpus(tmp_path / "data")
    refused = cli("extract", "--clips", clips, "--work", tmp_path, *LOGMEL, "--part", "31/31")
    assert refused.code == 2
    assert "it has no rows for part 31/31: take fewer parts" in refused.err


def test_more_than_a_work_folder_holds_is_refused_before_anything_is_written(
    cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clips = small_corpus(tmp_path / "data")
    for number in (1, 2):
        cli("extract", "--clips", clips, "--work", tmp_path / "w", *LOGMEL, "--part", f"{number}/2")
    monkeypatch.setattr("mmmos.store.clips.MAX_BYTES", 9000)  # thirty clips are 14 kB, half of them 7
    refused = cli("extract", "--clips", clips, "--work", tmp_path / "one", *LOGMEL)
    assert refused.code == 2
    assert "--part I/N" in refused.err
    assert not (tmp_path / "one").exists()
    assert cli("extract", "--clips", clips, "--work", tmp_path / "w", *LOGMEL, "--part", "1/2").code == 0
    monkeypatch.setattr("mmmos.store.part_work.MAX_BYTES", 9000)
    assert "train on some of the parts" in cli("store", "merge", tmp_path / "w/parts").err


def test_a_part_takes_its_rows_from_every_form_of_table(tmp_path: Path) -> None:
    import pandas

    from mmmos.store.parts import Part

    path = small_corpus(tmp_path)
    frame = pandas.read_csv(path)
    frame.to_parquet(tmp_path / "clips.parquet")
    frame.to_json(tmp_path / "clips.jsonl", orient="records", lines=True)
    whole = read_clips(path)
    for name in ("clips.csv", "clips.parquet", "clips.jsonl"):
        assert read_clips(tmp_path / name) == whole, name
        parts = [read_clips(tmp_path / name, part=Part(number, 4)).clips for number in (1, 2, 3, 4)]
        assert parts == [whole.clips[number::4] for number in range(4)], name
