"""Values from the JSON of a bundle, which anybody may have written: ValueError for other kinds."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any, TypeVar

T = TypeVar("T")


def is_number(value: object) -> bool:
    """Whether it is a number that is finite as a float."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return abs(value) <= sys.float_info.max


def is_count(value: object) -> bool:
    """Whether it is a whole number from 0 on."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def text(value: object, what: str) -> str:
    """A text; `what` names it in the message."""
    if not isinstance(value, str):
        raise ValueError(f"{what} is {value!r:.60}, not a text")
    return value


def texts(values: object, what: str) -> tuple[str, ...]:
    """A list of texts."""
    if not isinstance(values, list):
        raise ValueError(f"{what} is {values!r:.60}, not a list of texts")
    return tuple(text(value, f"one of {what}") for value in values)


def numbers(values: Sequence[Any], axes: Sequence[str]) -> tuple[float | None, ...]:
    """A number from 0 on, or None, for each axis."""
    if len(values) != len(axes):
        raise ValueError(f"{len(values)} values for {len(axes)} axes")
    if any(n is not None and not (is_number(n) and n >= 0) for n in values):
        raise ValueError("a quantile or a base is not a number from 0 on")
    return tuple(None if n is None else float(n) for n in values)


def record(kind: type[T], values: Mapping[str, Any]) -> T:
    """A dataclass whose fields are texts and numbers."""
    for field in fields(kind):  # type: ignore[arg-type]
        if field.type == "str":
            text(values[field.name], field.name)
        elif not is_number(values[field.name]):
            raise ValueError(f"{field.name} is {values[field.name]!r:.60}, not a number")
    return kind(**values)
