"""Columns of a clip table, and what one row becomes; whole files are in test_clips."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from mmmos.store.clip_rows import check_columns, columns_of, off_scale, to_clip
from mmmos.store.row_formats import RowError
from mmmos.store.schema import Axes, Clip, Scale

AXES = Axes(("MOS", "SIG"))


def made(**values: Any) -> Clip:
    return to_clip({"id": "a", "path": "a.wav", **values}, AXES)


def test_a_table_may_have_texts_then_scores_then_ratings() -> None:
    texts = ("id", "path", "domain", "source", "system", "group", "split")
    assert columns_of(AXES) == (*texts, "MOS", "SIG", "MOS_ratings", "SIG_ratings")


def test_a_path_is_enough_and_remarks_are_free() -> None:
    check_columns(["path", "_my remark"], AXES)
    with pytest.raises(RowError, match="column 'path' is missing"):
        check_columns(["id"], AXES)


def test_an_unknown_column_is_told_with_the_nearest_known_one() -> None:
    with pytest.raises(
        RowError, match=r"unknown column 'Sistem' \(did you mean 'system'\?\).*known columns: id"
    ):
        check_columns(["id", "path", "Sistem"], AXES)


def test_cells_are_stripped_and_a_number_may_name_a_clip() -> None:
    clip = made(id=7, domain=" speech ")
    assert (clip.id, clip.domain, clip.split, clip.axes) == ("7", "speech", "none", AXES.names)


def test_an_empty_cell_is_not_rated() -> None:
    clip = made(MOS="", SIG=None, MOS_ratings=" ")
    assert (clip.scores, clip.ratings) == ((None, None), ((), ()))


def test_ratings_stand_in_for_a_missing_score_and_never_replace_one() -> None:
    clip = made(MOS_ratings="[1, 2, 5]", SIG=4, SIG_ratings=[1, 2])
    assert clip.scores == (8 / 3, 4.0)
    assert clip.ratings == ((1.0, 2.0, 5.0), (1.0, 2.0))


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"path": ""}, "path is empty"),
        ({"domain": ["speech"]}, r"domain \['speech'\] is not text"),
        ({"domain": "a\nb"}, r"domain 'a\\nb' holds control characters"),
        ({"split": "Trian"}, "unknown split 'Trian'"),
        ({"MOS": "4,5"}, r"MOS '4,5' is not a number \(decimal comma\?\)"),
        ({"MOS": True}, "MOS True is not a number"),
        ({"MOS": float("nan")}, "MOS nan is not a finite number"),
        ({"MOS": 10**400}, "is not a number"),
        ({"MOS": -1e308}, "is not a bearable number"),
        ({"MOS_ratings": [1e308, 1e308]}, "is not a bearable number"),
        ({"MOS_ratings": '["1"]'}, "MOS_ratings is not a JSON list of numbers"),
        ({"MOS_ratings": "[" * 100_000}, "is not a JSON list of numbers"),
        ({"MOS": "?", "split": "x"}, "unknown split 'x'.*; MOS '\\?' is not a number"),
    ],
)
def test_every_reason_against_a_row_is_told(values: dict[str, Any], reason: str) -> None:
    with pytest.raises(RowError, match=reason):
        made(**values)


def test_a_clip_without_an_id_is_called_by_its_path() -> None:
    assert made(id="").id == "a.wav"


@pytest.mark.parametrize(
    ("word", "split"),
    [("Train", "train"), ("VAL", "dev"), ("validation", "dev"), (" eval ", "test"), ("", "none")],
)
def test_the_words_that_people_use_for_splits_are_understood(word: str, split: str) -> None:
    assert made(split=word).split == split


def test_a_wrong_scale_is_one_line_that_names_the_option() -> None:
    clips = {n: made(MOS=n, MOS_ratings=[n, 7]) for n in range(2, 60)}
    (line,) = off_scale(clips, Scale(1, 5))
    assert line.startswith("row 2: MOS 7 is outside the scale 1 to 5; in all")
    assert "from 6 to 59" in line
    assert line.endswith("--scale LO,HI, as in --scale 0,100")
    two = replace(clips[2], axes=("MOS", "SIG"), scores=(2.0, 9.0), ratings=((), ()))
    (line,) = off_scale({2: two}, Scale(1, 5))
    assert line.endswith("or --scale SIG=LO:HI,... where axes have scales of their own")
    assert off_scale(clips, Scale(0, 100)) == []


def test_each_axis_is_held_against_its_own_scale() -> None:
    scale = Scale.of_axes([(1, 5), (0, 100)])
    assert off_scale({2: made(MOS=5, SIG=90)}, scale) == []
    (line,) = off_scale({2: made(MOS=6, SIG=90)}, scale)
    assert "1 of 2 values" in line
