"""Columns of a clip table, and what one row becomes; whole files are in test_clips."""

from __future__ import annotations

from typing import Any

import pytest

from mmmos.store.clip_rows import check_columns, columns_of, to_clip
from mmmos.store.rows import RowError
from mmmos.store.schema import Axes, Clip, Scale

AXES = Axes(("MOS", "SIG"))


def made(**values: Any) -> Clip:
    return to_clip({"id": "a", "path": "a.wav", **values}, Scale(1, 5), AXES)


def test_a_table_may_have_texts_then_scores_then_ratings() -> None:
    texts = ("id", "path", "domain", "source", "system", "group", "split")
    assert columns_of(AXES) == (*texts, "MOS", "SIG", "MOS_ratings", "SIG_ratings")


def test_id_and_path_are_enough_and_remarks_are_free() -> None:
    check_columns(["path", "id", "_my remark"], AXES)
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
        ({"id": ""}, "id is empty"),
        ({"domain": ["speech"]}, r"domain \['speech'\] is not text"),
        ({"domain": "a\nb"}, r"domain 'a\\nb' holds control characters"),
        ({"split": "Train"}, "unknown split 'Train'"),
        ({"MOS": "4,5"}, r"MOS '4,5' is not a number \(decimal comma\?\)"),
        ({"MOS": True}, "MOS True is not a number"),
        ({"MOS": float("nan")}, "MOS nan is outside the scale 1 to 5"),
        ({"MOS": 10**400}, "is not a number"),
        ({"MOS_ratings": "[1, 6]"}, "MOS_ratings 6 is outside the scale"),
        ({"MOS_ratings": '["1"]'}, "MOS_ratings is not a JSON list of numbers"),
        ({"MOS_ratings": "[" * 100_000}, "is not a JSON list of numbers"),
        ({"MOS": 0, "split": "x"}, "unknown split 'x'.*; MOS 0 is outside"),
    ],
)
def test_every_reason_against_a_row_is_told(values: dict[str, Any], reason: str) -> None:
    with pytest.raises(RowError, match=reason):
        made(**values)
