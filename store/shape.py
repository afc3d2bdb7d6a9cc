"""Whether JSON from a file that anybody may have written has the shape that its reader takes for granted."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

Shape = Any
"""A type; (shape, shape) for either; [shape] for lists; {"key": shape, "perhaps?": shape} for objects, or
{str: shape} where the keys may be any.  Neither True nor False is a number."""

NUMBER = (int, float)
NOTHING = type(None)


OF_ANNOTATIONS: dict[str, Shape] = {
    "str": str,
    "int": int,
    "float": NUMBER,
    "float | None": (*NUMBER, NOTHING),
    "tuple[str, ...]": [str],
    "tuple[int, ...]": [int],
    "dict[str, Any]": dict,
}


def shape_of(kind: type) -> Shape:
    """The shape of a dataclass's `asdict`; KeyError for a field of another kind than OF_ANNOTATIONS."""
    return {field.name: OF_ANNOTATIONS[str(field.type)] for field in fields(kind)}


def require(value: Any, shape: Shape, what: object) -> None:
    """ValueError beginning with `what` (a path), with the place, where a value has another shape."""
    if (wrong := _wrong(value, shape, "")) is not None:
        raise ValueError(f"{what}: {wrong}")


def _wrong(value: Any, shape: Shape, place: str) -> str | None:
    """What is wrong with a value, or with the first wrong one in it; None where nothing is."""
    if isinstance(shape, tuple):
        wrong = [_wrong(value, one, place) for one in shape]
        return None if None in wrong else wrong[0]
    kind: type = list if isinstance(shape, list) else dict if isinstance(shape, dict) else shape
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        return f"{place[1:] or 'what it holds'} is {value!r:.60}"
    inside: list[tuple[Any, Shape, str]] = []
    if isinstance(shape, list):
        inside = [(one, shape[0], f"{place}.{n}") for n, one in enumerate(value)]
    elif isinstance(shape, dict) and str in shape:
        inside = [(one, shape[str], f"{place}.{name}") for name, one in value.items()]
    elif isinstance(shape, dict):
        missing = [name for name in shape if not name.endswith("?") and name not in value]
        if missing:
            return f"{f'{place}.{missing[0]}'[1:]} is missing"
        plain = {name.removesuffix("?"): below for name, below in shape.items()}
        inside = [(value[name], below, f"{place}.{name}") for name, below in plain.items() if name in value]
    found = (_wrong(*one) for one in inside)
    return next((wrong for wrong in found if wrong is not None), None)
