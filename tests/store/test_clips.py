"""The clip table: what is read, what is refused and with which words, and what its id depends on."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mmmos.store import sealed
from mmmos.store.clips import (
    ClipTable,
    TableError,
    load_table,
    read_clips,
    save_table,
    score_array,
    write_clips,
)
from mmmos.store.schema import Axes, Clip, Scale

GOOD = """id,path,domain,system,group,split,CE,CU,PC,PQ,PQ_ratings,_remark
a,a.wav,speech,s1,g1,train,1.5,2,3,4,"[4, 5]",mine
b,sub/b.wav,music,s2,,dev,,,,,,
"""


def table_of(tmp_path: Path, text: str, name: str = "clips.csv", **options: object) -> ClipTable:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return read_clips(path, **options)  # type: ignore[arg-type]


def test_reads_csv_and_json_lines_alike(tmp_path: Path) -> None:
    lines = [
        {"id": "a", "path": "a.wav", "domain": "speech", "system": "s1", "group": "g1", "split": "train"}
        | {"CE": 1.5, "CU": 2, "PC": "3", "PQ": 4, "PQ_ratings": [4, 5]},
        {"id": "b", "path": "sub/b.wav", "domain": "music", "system": "s2", "split": "dev", "CE": None},
    ]
    from_csv = table_of(tmp_path, "\ufeff" + GOOD)
    from_json = table_of(tmp_path, "\n".join(map(json.dumps, lines)), "clips.jsonl")
    assert from_csv == from_json
    assert from_csv.clips[0] == Clip(
        "a", "a.wav", "speech", "", "s1", "g1", "train", (1.5, 2.0, 3.0, 4.0), ((), (), (), (4.0, 5.0))
    )
    assert from_csv.of("dev") == (from_csv.clips[1],)


def test_scores_are_nan_where_unrated_and_come_from_ratings_where_only_these_are_known(
    tmp_path: Path,
) -> None:
    table = table_of(tmp_path, 'id,path,PQ_ratings\na,a.wav,"[1, 2, 6]"\n')
    np.testing.assert_array_equal(table.scores(), [[np.nan, np.nan, np.nan, 3.0]])
    assert score_array((), ("PQ", "CE")).shape == (0, 2)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("id,path\na,a.wav\nb,b.wav\na,c.wav\n", ["rows 2, 4: id 'a' occurs 2 times"]),
        (
            "id,path,split\na,a.wav,trian\n",
            ["row 2: unknown split 'trian'", "train, dev, pam, test, none"],
        ),
        (
            "id,path,PQ\na,a.wav,10.5\nb,b.wav,-1\n",
            ["row 2: PQ 10.5 is outside", "in all, 2 of 2"],
        ),
        ("id,path,PQ\na,a.wav,nan\n", ["row 2: PQ 'nan' is not a finite number"]),
        ("id,path,PQ\na,a.wav,good\n", ["row 2: PQ 'good' is not a number"]),
        ('id,path,PQ\na,a.wav,"4,5"\n', ["decimal comma"]),
        ('id,path,CE_ratings\na,a.wav,"[1, x]"\n', ["row 2: CE_ratings '[1, x]' is not a JSON list"]),
        ('id,path,CE_ratings\na,a.wav,"[1, 11]"\n', ["row 2: CE 11 is outside the scale 0 to 10"]),
        ('id,path,CE_ratings\na,a.wav,"{""a"": 1}"\n', ["CE_ratings is not a JSON list of numbers"]),
        ("id,path,PQ_rating\na,a.wav,\n", ["unknown column 'PQ_rating' (did you mean 'PQ_ratings'?)"]),
        ("file,mos\na.wav,3\n", ["column 'path' is missing", "`mmmos prepare table TABLE --audio DIR"]),
        ("id,path,Split\na,a.wav,\n", ["unknown column 'Split' (did you mean 'split'?)"]),
        ("id,file\na,a.wav\n", ["column 'path' is missing"]),
        ("id,path,CE,CE\na,a.wav,1,1\n", ["column 'CE' occurs twice"]),
        ("id;path\na;a.wav\n", ["not separated by commas"]),
        ("id,path\na,a.wav,extra\n", ["row 2: 3 cells under 2 columns"]),
        ("id,path\na,a.wav\nb,\n", ["row 3: path is empty"]),
        ("id,path\n", ["it has no rows"]),
        ('id,path\na,"b\n', ["unexpected end of data"]),
        ("id,path\na,../../etc/passwd\n", ["row 2: ../../etc/passwd leads out of the audio root"]),
        ("id,path\na,/etc/passwd\n", ["row 2: /etc/passwd leads out of the audio root"]),
    ],
)
def test_a_bad_table_is_refused_whole_with_row_numbers(tmp_path: Path, text: str, words: list[str]) -> None:
    root = tmp_path / "audio"
    root.mkdir()
    with pytest.raises(TableError) as refused:
        table_of(tmp_path, text, audio_root=root)
    for word in words:
        assert word in str(refused.value)


@pytest.mark.parametrize(
    "line", ["[1]", "{", '{"id": "a", "path": ["x"]}', '{"id": "a", "path": "x", "pq": 1}']
)
def test_bad_json_lines_are_refused_with_their_number(tmp_path: Path, line: str) -> None:
    with pytest.raises(TableError, match="row 2: "):
        table_of(tmp_path, '{"id": "z", "path": "z.wav"}\n' + line, "clips.jsonl")


def test_every_reason_is_listed_up_to_a_bound(tmp_path: Path) -> None:
    with pytest.raises(TableError, match="60 reason") as refused:
        table_of(tmp_path, "id,path,PQ\n" + "".join(f"c{i},c.wav,x\n" for i in range(60)))
    assert "and 10 more" in str(refused.value)


def test_what_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "clips.csv").write_bytes(b"id,path\na,\xff.wav\n")
    with pytest.raises(TableError, match="cannot be read"):
        read_clips(tmp_path / "clips.csv")
    with pytest.raises(TableError, match="cannot be read"):
        read_clips(tmp_path / "absent.csv")


def test_a_split_is_made_only_for_a_table_without_one(tmp_path: Path) -> None:
    text = "id,path,system\n" + "".join(f"c{i},c{i}.wav,s{i % 2}\n" for i in range(20))
    table = table_of(tmp_path, text, train_fraction=0.8)
    assert [len(table.of(split)) for split in ("train", "dev")] == [16, 4]
    assert {clip.split for clip in table_of(tmp_path, text)} == {"none"}
    with pytest.raises(TableError, match="choose one"):
        table_of(tmp_path, GOOD, train_fraction=0.8)


def test_the_scale_is_the_callers(tmp_path: Path) -> None:
    table = table_of(tmp_path, "id,path,PQ\na,a.wav,77\n", scale=Scale(0, 100))
    assert table.scale == Scale(0, 100)


def test_the_id_follows_what_training_sees_and_nothing_else() -> None:
    clips = (Clip("a", "a.wav", audio="0" * 32, scores=(1.0, None, 2.0, 3.0)), Clip("b", "b.wav"))
    table = ClipTable(clips)
    assert table.id.startswith("data-")
    assert len(table.id) == len("data-") + 12
    same = [clips[::-1], (replace(clips[0], path="moved.wav", source="x", duration_s=3.0), clips[1])]
    assert {ClipTable(c).id for c in same} == {table.id}
    changes = {"audio": "1" * 32, "split": "dev", "system": "s", "group": "g", "domain": "d"}
    other = [(replace(clips[0], **{field: value}), clips[1]) for field, value in changes.items()]
    other += [(replace(clips[0], scores=(1.0, None, 2.0, 3.5)), clips[1]), clips[:1]]
    other += [(replace(clips[0], ratings=((1.0,), (), (), ())), clips[1])]
    ids = {ClipTable(c).id for c in other} | {ClipTable(clips, Scale(0, 100)).id}
    assert len(ids - {table.id}) == len(other) + 1


def test_a_saved_table_comes_back_and_a_changed_one_does_not(tmp_path: Path) -> None:
    path = tmp_path / "work" / "clips.json"
    table = ClipTable(table_of(tmp_path, GOOD).clips, Scale(0, 10), ("synthetic audio",))
    save_table(table, path)
    assert load_table(path) == table
    assert load_table(path).id == table.id
    path.write_text(path.read_text().replace('"speech"', '"music"'))
    with pytest.raises(TableError, match="changed after it was saved"):
        load_table(path)
    path.write_text("{}")
    with pytest.raises(TableError, match="not a saved clip table"):
        load_table(path)


def test_a_table_written_as_csv_is_read_back_the_same(tmp_path: Path) -> None:
    table = table_of(tmp_path, GOOD)
    write_clips(table, tmp_path / "out" / "clips.csv")
    assert read_clips(tmp_path / "out" / "clips.csv") == table
    axes = Axes(("MOS", "SIG"), ("Overall quality", "Signal quality"))
    other = ClipTable((Clip("a", "a.wav", scores=(None, 2.5), axes=axes.names),), axes=axes)
    write_clips(other, tmp_path / "other.csv")
    assert read_clips(tmp_path / "other.csv") == other


def test_a_table_with_one_id_twice_cannot_exist() -> None:
    with pytest.raises(TableError, match="'a' occurs twice"):
        ClipTable((Clip("a", "a.wav"), Clip("a", "b.wav")))


def test_ids_that_only_unicode_tells_apart_are_told(tmp_path: Path) -> None:
    with pytest.raises(TableError, match=r"rows 2, 3: the ids look alike .*'caf\\xe9', 'cafe\\u0301'"):
        table_of(tmp_path, "id,path\ncaf\u00e9,a.wav\ncafe\u0301,b.wav\n")


@pytest.mark.parametrize("number", ["1_0", "\u0665", "\uff15", "0x5"])
def test_numbers_are_written_in_ascii_digits(tmp_path: Path, number: str) -> None:
    with pytest.raises(TableError, match="is not a number"):
        table_of(tmp_path, f"id,path,PQ\na,a.wav,{number}\n")


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        ("scores", [11.0, None, None, None], "not a value on the scale"),
        ("scores", ["5", None, None, None], "not a value on the scale"),
        ("ratings", [[1.0, 99.0], [], [], []], "not a value on the scale"),
        ("duration_s", 1e300, "a duration of 1e"),
        ("duration_s", -1.0, "a duration of -1"),
        ("duration_s", "3", "a duration of '3'"),
        ("audio", "../../x", "audio '../../x'"),
        ("split", "all", "split 'all'"),
        ("system", 5, "system 5 is not text"),
        ("id", "", "id, path, split"),
        ("scores", 5, "not a saved clip table"),
        ("colour", "red", "not a saved clip table"),
    ],
)
def test_values_are_checked_where_they_are_read(
    tmp_path: Path, field: str, value: object, reason: str
) -> None:
    path = tmp_path / "clips.json"
    save_table(ClipTable((Clip("a", "a.wav"),)), path)
    content = sealed.read_json(path)
    content["clips"][0][field] = value
    sealed.write_json(path, content)  # whoever writes it can make the checksum anew
    with pytest.raises(TableError, match=reason) as refused:
        load_table(path)
    assert str(refused.value).startswith(str(path))
