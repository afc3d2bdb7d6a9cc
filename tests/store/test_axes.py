"""Axes belong to a clip table: any listening test has its own; the paper's four are the default."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from mmmos.store.axes import parse_axes, parse_scale
from mmmos.store.clips import (
    ClipTable,
    TableError,
    load_table,
    read_clips,
    save_table,
    score_array,
)
from mmmos.store.schema import AES_AXES, Axes, Clip, Scale

MOS = Axes(("MOS", "SIG"), ("Overall quality", "Signal quality"))


def csv_of(folder: Path, text: str) -> Path:
    path = folder / "clips.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_table_names_its_axes_in_a_file_beside_it(tmp_path: Path) -> None:
    path = csv_of(tmp_path, 'id,path,MOS,SIG_ratings\na,a.wav,3.5,"[1, 4]"\n')
    (tmp_path / "clips.axes.json").write_text(json.dumps({"MOS": "Overall quality", "SIG": "Signal quality"}))
    table = read_clips(path)
    assert table.axes == MOS
    assert table.clips[0].scores == (3.5, 2.5)
    assert table.axes.title("SIG") == "Signal quality"


def test_axes_given_by_hand_stand_over_the_sidecar(tmp_path: Path) -> None:
    path = csv_of(tmp_path, "id,path,B\na,a.wav,1\n")
    (tmp_path / "clips.axes.json").write_text('{"MOS": "Overall quality"}')
    assert read_clips(path, axes=parse_axes("B=Brightness")).axes == Axes(("B",), ("Brightness",))


def test_an_unknown_column_is_told_with_the_columns_of_these_axes(tmp_path: Path) -> None:
    path = csv_of(tmp_path, "id,path,MSO\na,a.wav,1\n")
    with pytest.raises(TableError, match=r"'MSO' \(did you mean 'MOS'\?\).*SIG_ratings"):
        read_clips(path, axes=MOS)


def test_saving_and_loading_keeps_axes_and_their_titles(tmp_path: Path) -> None:
    clip = Clip("a", "a.wav", scores=(3.0, None), ratings=((), ()), axes=MOS.names)
    table = ClipTable((clip,), axes=MOS)
    save_table(table, tmp_path / "clips.json")
    assert load_table(tmp_path / "clips.json") == table


def test_the_id_tells_axes_apart_but_not_their_titles() -> None:
    one, other = (Clip("a", "a.wav", scores=(3.0,), axes=(name,)) for name in ("MOS", "SIG"))
    ids = [ClipTable((one,), axes=Axes(("MOS",), (title,))).id for title in ("x", "y")]
    assert ids[0] == ids[1] != ClipTable((other,), axes=Axes(("SIG",))).id


def test_a_table_of_the_papers_axes_keeps_the_id_it_always_had() -> None:
    clip = Clip(
        "a", "a.wav", split="dev", scores=(1.0, None, 2.0, 3.0), ratings=((), (), (), (3.0,)), audio="x"
    )
    assert ClipTable((clip,)).id == "data-426bbc945043"


def test_a_clip_has_one_score_per_axis() -> None:
    with pytest.raises(ValueError, match=r"clip 'a': 5 scores .* for 4 axes"):
        Clip("a", "a.wav", scores=(1.0,) * 5)
    with pytest.raises(TableError, match="'a' is rated on MOS, the table on CE, CU, PC, PQ"):
        ClipTable((Clip("a", "a.wav", axes=("MOS",)),))


def test_scores_come_by_name_whatever_the_order() -> None:
    clips = (Clip("a", "a.wav", scores=(1.0, 2.0, None, 4.0)),)
    np.testing.assert_array_equal(score_array(clips, ("PQ", "CE", "PC")), [[4.0, 1.0, np.nan]])
    with pytest.raises(ValueError, match="unknown axis 'MOS'"):
        score_array(clips, ("MOS",))


@pytest.mark.parametrize(
    ("names", "reason"),
    [
        ((), "1 to 32"),
        (("a", "a"), "different names"),
        (("",), "printable"),
        (("a\nb",), "printable"),
        (("composite",), "mean over the axes"),
        (("x" * 41,), "1 to 40"),
    ],
)
def test_what_cannot_name_an_axis_is_refused(names: tuple[str, ...], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        Axes(names)


@pytest.mark.parametrize("text", ["[]", '{"MOS": 3}', "{", '{"": "x"}', "{}"])
def test_a_sidecar_that_names_no_axes_is_refused_by_name(tmp_path: Path, text: str) -> None:
    path = csv_of(tmp_path, "id,path\na,a.wav\n")
    (tmp_path / "clips.axes.json").write_text(text)
    with pytest.raises(TableError, match=r"clips\.axes\.json does not name axes"):
        read_clips(path)


def test_the_default_axes_are_the_papers() -> None:
    assert AES_AXES.names == ("CE", "CU", "PC", "PQ")
    assert AES_AXES.title("PQ") == "Production Quality"


def test_a_scale_is_two_numbers_for_all_axes_or_two_for_each() -> None:
    axes = Axes(("MOS", "noise"))
    assert parse_scale("0,100", axes) == Scale(0, 100)
    assert parse_scale("-1, 1", axes) == parse_scale("-1:1", axes) == Scale(-1, 1)
    each = parse_scale("noise=0:100,MOS=1:5", axes)
    assert [each.axis(n) for n in (0, 1)] == [Scale(1, 5), Scale(0, 100)]
    assert (each.low, each.high) == (0, 100)
    assert parse_scale("noise=1:5,MOS=1:5", axes) == Scale(1, 5)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        *((text, "--scale takes LO,HI") for text in ("5", "1,2,3", "a,b", "", "3,1", "MOS=1,noise=2")),
        ("MOS=1:5", "says nothing about noise"),
        ("MOS=1:5,nois=1:5", "Did you mean 'noise'"),
    ],
)
def test_a_scale_that_is_none_is_refused_with_the_form(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        parse_scale(text, Axes(("MOS", "noise")))


def test_a_table_keeps_the_scale_of_each_axis(tmp_path: Path) -> None:
    path = tmp_path / "clips.csv"
    path.write_text("path,MOS,noise\na.wav,4,90\n")
    axes = Axes(("MOS", "noise"))
    table = read_clips(path, axes=axes, scale=Scale.of_axes([(1, 5), (0, 100)]))
    save_table(table, tmp_path / "clips.json")
    assert load_table(tmp_path / "clips.json") == table
    assert table.id != read_clips(path, axes=axes, scale=Scale(0, 100)).id
