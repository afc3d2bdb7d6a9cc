"""Values from a stranger's JSON: only what is of the right kind passes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from mmmos.heads.scoring.json_values import is_count, is_number, numbers, record, text, texts


@pytest.mark.parametrize("value", [0, -1, 0.5, 1e308, 10**308])
def test_numbers(value: Any) -> None:
    assert is_number(value)


@pytest.mark.parametrize("value", [True, "1", None, [], float("nan"), float("inf"), 10**400])
def test_no_numbers(value: Any) -> None:
    assert not is_number(value)


def test_counts_are_whole_and_not_negative() -> None:
    assert is_count(0)
    assert not any(map(is_count, (True, -1, 1.0, "1")))


@dataclass(frozen=True)
class Pair:
    name: str
    value: float


def test_records_have_the_kinds_of_their_fields() -> None:
    assert record(Pair, {"name": "a", "value": 1}) == Pair("a", 1)
    for values in ({"name": 1, "value": 1}, {"name": "a", "value": "1"}):
        with pytest.raises(ValueError, match="not a"):
            record(Pair, values)


def test_lists() -> None:
    assert texts(["a"], "names") == ("a",)
    assert text("a", "name") == "a"
    assert numbers([1, None], ("PQ", "CE")) == (1.0, None)
    for refused in (lambda: texts("a", "names"), lambda: texts([1], "names"), lambda: numbers([-1], ("PQ",))):
        with pytest.raises(ValueError, match="not a"):
            refused()
