"""Predictions: what they refuse to be, their round trip, and averages worked by hand."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mmmos.store.predictions import Predictions, average


def predictions(run: str = "r", values: object = ((1.0, 2.0), (3.0, 4.0)), **fields: object) -> Predictions:
    settings = {"split": "dev", "clip_ids": ("a", "b"), "axes": ("CE", "PQ")} | fields
    return Predictions(run=run, values=np.array(values, dtype=np.float64), **settings)  # type: ignore[arg-type]


def test_round_trip(tmp_path: Path) -> None:
    ours = predictions(clip_ids=("Ä, ö", 'b"c'), caveats=("random weights", "synthetic audio"))
    ours.save(tmp_path / "run" / "predictions-dev.parquet")
    assert Predictions.load(tmp_path / "run" / "predictions-dev.parquet") == ours
    ours.to_csv(tmp_path / "p.csv")
    assert (tmp_path / "p.csv").read_text() == (
        'id,CE,PQ,caveats\n"Ä, ö",1.0,2.0,random weights; synthetic audio\n'
        '"b""c",3.0,4.0,random weights; synthetic audio\n'
    )


def test_no_clips_is_a_valid_set(tmp_path: Path) -> None:
    empty = predictions(values=np.empty((0, 2)), clip_ids=())
    empty.save(tmp_path / "p.parquet")
    assert Predictions.load(tmp_path / "p.parquet") == empty


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"values": ((1.0, np.nan), (3.0, 4.0))}, "not finite, first a"),
        ({"values": ((1.0, 2.0), (np.inf, 4.0))}, "not finite, first b"),
        ({"values": ((1.0,), (2.0,))}, "shape"),
        ({"clip_ids": ("a", "a")}, "twice"),
        ({"axes": ("PQ", "PQ")}, "different names"),
        ({"axes": ("CE", "composite")}, "mean over the axes"),
    ],
)
def test_refuses(fields: dict[str, object], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        predictions(**fields)  # type: ignore[arg-type]


def test_strange_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "p.parquet"
    path.write_bytes(b"PAR1 not really PAR1")
    with pytest.raises(ValueError, match=r"p\.parquet does not hold predictions"):
        Predictions.load(path)


def test_average_aligns_clips_and_weighs_runs() -> None:
    one = predictions("one", ((1.0, 2.0), (3.0, 4.0)), caveats=("random weights",))
    two = predictions("two", ((7.0, 8.0), (5.0, 6.0)), clip_ids=("b", "a"))
    plain = average([one, two])
    np.testing.assert_array_equal(plain.values, [[3.0, 4.0], [5.0, 6.0]])
    assert (plain.run, plain.clip_ids, plain.caveats) == ("ensemble", ("a", "b"), ("random weights",))
    np.testing.assert_array_equal(average([one, two], [3, 1]).values, [[2.0, 3.0], [4.0, 5.0]])


def test_average_refuses_what_does_not_belong_together() -> None:
    one = predictions("one")
    for other, what in (
        (predictions("two", clip_ids=("a", "c")), "clips"),
        (predictions("two", split="pam"), "splits"),
        (predictions("two", axes=("CE", "CU")), "axes"),
    ):
        with pytest.raises(ValueError, match=f"one and two predict different {what}"):
            average([one, other])
    for weights in ([1.0], [-1.0, 2.0], [0.0, 0.0], [np.nan, 1.0]):
        with pytest.raises(ValueError, match="cannot be averaged with weights"):
            average([one, one], weights)
    with pytest.raises(ValueError, match="no predictions"):
        average([])


def test_values_come_in_the_order_of_the_clips_asked_for() -> None:
    one = Predictions("r", "dev", ("a", "b", "c"), np.array([[1.0], [2.0], [3.0]]), ("MOS",))
    np.testing.assert_array_equal(one.of(("c", "a")), [[3.0], [1.0]])
    with pytest.raises(ValueError, match="no prediction for clip 'd' on 'dev'"):
        one.of(("a", "d"))


def test_any_changed_byte_is_found(tmp_path: Path) -> None:
    path = tmp_path / "p.parquet"
    predictions("run").save(path)
    whole = path.read_bytes()
    for at in range(len(whole)):
        broken = bytearray(whole)
        broken[at] ^= 1 << (at % 8)
        path.write_bytes(broken)
        with pytest.raises(ValueError, match=r"p\.parquet is damaged"):
            Predictions.load(path)


def _parquet(path: Path, table: pa.Table, **options: object) -> None:
    meta = {"format": "mmmos-predictions-1", "run": "r", "split": "dev", "caveats": []}
    pq.write_table(table.replace_schema_metadata({"mmmos": json.dumps(meta)}), path, **options)


def test_a_file_of_earlier_versions_is_read(tmp_path: Path) -> None:
    _parquet(tmp_path / "p.parquet", pa.table({"clip_id": ["a", "b"], "PQ": [1.0, 2.0]}))
    assert Predictions.load(tmp_path / "p.parquet").values.tolist() == [[1.0], [2.0]]


def test_what_unpacks_to_more_than_it_can_hold_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "p.parquet"
    many = pa.table({"clip_id": pa.array([""]).take([0] * 300_000), "PQ": np.zeros(300_000)})
    deep = pa.array([1.0])
    for _ in range(2000):
        deep = pa.StructArray.from_arrays([deep], ["x"])
    for table, options, reason in (
        (many, {}, "300000 rows in"),
        (many.slice(0, 300), {"compression": "zstd"}, "compressed by ZSTD"),
        (pa.table({"clip_id": ["a"], "PQ": [1]}), {}, "column 'PQ' is int64"),
        (pa.table({"clip_id": ["a"], "PQ": [np.nan]}), {}, "not finite"),
        (pa.table({"clip_id": ["a"], "PQ": deep}), {}, "footer is longer|column 'PQ'|nest"),
        (pa.table({"clip_id": ["a"], **{f"c{n}": [1.0] for n in range(3000)}}), {}, "longer|columns"),
    ):
        _parquet(path, table, **options)
        with pytest.raises(ValueError, match=rf"p\.parquet does not hold predictions.*({reason})"):
            Predictions.load(path)


def test_a_large_file_that_is_no_parquet_is_refused_unread(tmp_path: Path) -> None:
    with (tmp_path / "p.parquet").open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(ValueError, match=r"p\.parquet is damaged, or does not hold predictions"):
        Predictions.load(tmp_path / "p.parquet")
