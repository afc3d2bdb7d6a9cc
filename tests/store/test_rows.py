"""The one reader of tables that people write: row numbers, and a reason for every row that is refused."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from mmmos.store import row_formats
from mmmos.store.row_formats import Row, RowError, csv_rows, json_rows
from mmmos.store.rows import convert, parse_number, read_rows, refusal


def test_csv_rows_are_numbered_as_a_spreadsheet_counts_them() -> None:
    rows = list(csv_rows('id, note\na,"two\nlines"\n\nb,\n'))
    assert [(row.number, dict(row.values)) for row in rows] == [
        (2, {"id": "a", "note": "two\nlines"}),
        (4, {"id": "b", "note": ""}),
    ]


def test_json_rows_are_numbered_by_their_lines() -> None:
    rows = list(json_rows('{"id": 1}\n\n{"id": [2]}'))
    assert [(row.number, dict(row.values)) for row in rows] == [(1, {"id": 1}), (3, {"id": [2]})]


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_a_text_cut_at_the_end_of_any_row_holds_the_rows_up_to_it(newline: str) -> None:
    texts = {
        csv_rows: newline.join(["id,note", 'ä,"one\ntwo"', "b,x", ""]),
        json_rows: newline.join(['{"id": "ä"}', '{"id": "b"}', ""]),
    }
    for read, text in texts.items():
        rows = list(read(text))
        assert rows[-1].end == len(text.encode())
        for count, row in enumerate(rows, start=1):
            assert list(read(text.encode()[: row.end].decode())) == rows[:count]


@pytest.mark.parametrize("odd", ["\x0b", "\x1c", "\x85", "\u2028"])
def test_only_newlines_end_a_line(odd: str) -> None:
    name = f"a{odd}b"
    assert [row.values for row in csv_rows(f"id\n{name}\n")] == [{"id": name}]
    line = json.dumps({"id": name}, ensure_ascii=False)
    assert [row.values for row in json_rows(f"{line}\n{line}\n")] == [{"id": name}] * 2


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("id,path\na\n", Row(2, {}, 10, "1 cells under 2 columns")),
        ("id,path\na,b,c\n", Row(2, {}, 14, "3 cells under 2 columns")),
        ("id,id\na,b\n", Row(1, {}, 6, "column 'id' occurs twice")),
        ("id;path\na;b\n", Row(1, {}, 8, "the columns are not separated by commas")),
        ('id\n"a"b\n', Row(2, {}, 8, "',' expected after '\"'")),
        ('id\nx\n"a', Row(3, {}, 7, "unexpected end of data")),
        (
            ",".join(map(str, range(10_001))),
            Row(1, {}, 48895, "10001 columns, where a table has 10000 at most"),
        ),
    ],
)
def test_csv_that_is_not_strict_is_refused(text: str, problem: Row) -> None:
    assert list(csv_rows(text))[-1] == problem


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("[1]", "not a JSON object"),
        ("{", "not JSON: Expecting property name"),
        ("[" * 100_000, "not JSON: maximum recursion depth"),
        ('{"PQ": 1, "PQ": 9}', "the key 'PQ' occurs twice"),
        ('{"a": {"b": 1, "b": 2}}', "the key 'b' occurs twice"),
    ],
)
def test_a_json_line_that_is_no_single_object_is_refused_and_the_others_are_read(
    line: str, problem: str
) -> None:
    first, second, third = json_rows(f'{{"id": 1}}\n{line}\n{{"id": 3}}\n')
    assert (first.values, third.values) == ({"id": 1}, {"id": 3})
    assert second.problem.startswith(problem)


def test_columns_are_checked_once_in_csv_and_on_every_json_line() -> None:
    def only_id(names: Sequence[str]) -> None:
        if list(names) != ["id"]:
            raise RowError(f"columns {list(names)}")

    assert [(row.number, row.problem) for row in csv_rows("no\na\nb\n", only_id)] == [(1, "columns ['no']")]
    rows = json_rows('{"no": 1}\n{"id": 1}\n', only_id)
    assert [(row.number, row.problem) for row in rows] == [(1, "columns ['no']"), (2, "")]


def test_the_suffix_decides_and_a_byte_order_mark_is_no_part_of_the_text(tmp_path: Path) -> None:
    for name, text in {"a.csv": "id\nx\n", "a.txt": "id\nx\n", "a.JSONL": '{"id": "x"}'}.items():
        (tmp_path / name).write_text(text, encoding="utf-8-sig")
        assert [row.values for row in read_rows(tmp_path / name, 100)] == [{"id": "x"}]


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"id\n\xff\n")
    for name, size in {"a.csv": 100, "absent.csv": 100}.items():
        with pytest.raises(RowError, match=rf"{name} cannot be read: "):
            read_rows(tmp_path / name, size)
    with pytest.raises(RowError, match=r"absent\.csv cannot be read: there is no file /"):
        read_rows(tmp_path / "absent.csv", 100)
    (tmp_path / "a.csv").write_text("id\n" * 100)
    with pytest.raises(RowError, match=r"a\.csv cannot be read: "):
        read_rows(tmp_path / "a.csv", 99)


def test_what_is_made_of_rows_comes_with_the_reasons_against_the_others() -> None:
    made, reasons = convert(csv_rows("n\n1\nx\n3\n4,5\n"), lambda values: int(values["n"]))
    assert made == {2: 1, 4: 3}
    assert reasons == [
        "row 3: invalid literal for int() with base 10: 'x'",
        "row 5: 2 cells under 1 columns",
    ]


def test_a_refusal_lists_the_first_fifty_reasons() -> None:
    lines = refusal("a.csv", [f"row {n}" for n in range(52)]).splitlines()
    assert lines[0] == "a.csv is refused, 52 reason(s):"
    assert lines[50:] == ["  row 49", "  ... and 2 more"]


@pytest.mark.parametrize("text", ["1_0", "\u0661", "\uff11", "0x1", "1e", "", ".", "1,5", "1 0", "+-1"])
def test_only_decimal_numbers_in_ascii_digits_are_numbers(text: str) -> None:
    with pytest.raises(ValueError, match="is not a number"):
        parse_number(text)
    assert [parse_number(one) for one in ("1", "-1.5", " .5", "5.", "1e2")] == [1, -1.5, 0.5, 5, 100]


def test_a_line_without_end_is_refused_before_it_is_read(tmp_path: Path) -> None:
    for name, text in (
        ("a.csv", "c," * (1 << 21)),
        ("a.jsonl", "[" * (1 << 22)),
        ("a.json", '{"a": "' + "x" * (1 << 22)),
    ):
        (tmp_path / name).write_text(text)
        assert "a line of more than" in next(read_rows(tmp_path / name, 1 << 30)).problem


def test_a_file_of_refused_rows_is_not_read_to_its_end() -> None:
    rows = (Row(number, {}, 0, "bad") for number in itertools.count())
    assert len(convert(rows, lambda values: values)[1]) == 1001


def test_a_long_run_of_digits_is_judged_in_one_pass() -> None:
    with pytest.raises(ValueError, match="is not a number"):
        parse_number("1" * 1_000_000 + "}")


@pytest.mark.parametrize("read", [csv_rows, json_rows])
def test_a_file_of_line_breaks_is_not_read_to_its_end(
    read: Callable[[str], Iterator[Row]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(row_formats, "MAX_BLANK_LINES", 5)
    first = "a\n" if read is csv_rows else '{"a": 1}\n'
    assert not [row for row in read(first + "\n" * 5 + first) if row.problem]
    *_, last = read(first + "\n" * 6 + first)
    assert last.problem == "more than 5 blank lines in a row"


def test_a_whole_number_that_no_64_bits_hold_is_refused() -> None:
    (row,) = json_rows('{"a": 1' + "0" * 400 + "}")
    assert "is too large a number" in row.problem


def test_a_table_may_be_a_link_and_a_circle_of_links_is_told(tmp_path: Path) -> None:
    (tmp_path / "blob").write_text("id\na\n")
    (tmp_path / "clips.csv").symlink_to("blob")
    assert [row.values for row in read_rows(tmp_path / "clips.csv", 100)] == [{"id": "a"}]
    (tmp_path / "round.csv").symlink_to("round.csv")
    (tmp_path / "zero.csv").symlink_to("/dev/zero")
    for name in ("round.csv", "zero.csv"):
        with pytest.raises(RowError, match=rf"{name} cannot be read: .*(symbolic link|not a regular file)"):
            read_rows(tmp_path / name, 100)
