"""A part of a table is named I/N, and N of them are the whole."""

from __future__ import annotations

import pytest

from mmmos.store.parts import WHOLE, Part, complete, in_name


def test_the_parts_of_a_table_share_its_rows_out() -> None:
    parts = [Part(number, 3) for number in (1, 2, 3)]
    rows = range(8)
    assert [[row for row in rows if part.has(row)] for part in parts] == [[0, 3, 6], [1, 4, 7], [2, 5]]
    for part in parts:
        turns = part.turns()
        assert [next(turns) for _ in rows] == [part.has(row) for row in rows]
    assert all(WHOLE.has(row) for row in rows)


def test_a_part_is_read_from_its_text_and_its_name() -> None:
    assert Part.parse("3/64") == Part(3, 64)
    assert Part.parse("") == Part.parse("1/1") == WHOLE
    assert str(Part(3, 64)) == "3/64"
    assert in_name(Part(3, 64).name) == Part(3, 64)
    assert in_name("part-3-of-64.old") is None


@pytest.mark.parametrize(
    "text", ["0/4", "5/4", "1/0", "1", "1/", "-1/4", "1/4/4", "a/b", "1 / 4", "٣/٤", "1/1000000"]
)
def test_what_is_no_part_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="--part takes I/N, from 1/N for the first"):
        Part.parse(text)


def test_missing_parts_are_named() -> None:
    assert complete([Part(2, 2), Part(1, 2)], "here") == [Part(1, 2), Part(2, 2)]
    for there, said in (
        ([], "no parts are there"),
        ([Part(1, 3)], "of 3 parts, 2/3, 3/3 are missing"),
        ([Part(1, 20)], r"11/20 and 9 more are missing"),
        ([Part(1, 1), Part(1, 2)], "parts of 1 and of 2 lie together"),
    ):
        with pytest.raises(ValueError, match=said):
            complete(there, "here")
