"""JSON of another shape than its reader expects is told with the place."""

from __future__ import annotations

from typing import Any

import pytest

from mmmos.store.shape import NOTHING, NUMBER, require

SHAPE = {"run": str, "curve": [{"number": int, "loss": (*NUMBER, NOTHING)}], "seen?": {str: str}}
GOOD: dict[str, Any] = {"run": "r", "curve": [{"number": 1, "loss": None}], "more": 1}


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"run": 1}, "run is 1"),
        ({"run": True}, "run is True"),
        ({"curve": {}}, "curve is {}"),
        ({"curve": [{"number": 1}]}, "curve.0.loss is missing"),
        ({"curve": [{"number": True, "loss": 1.0}]}, "curve.0.number is True"),
        ({"seen": {"a": None}}, "seen.a is None"),
    ],
)
def test_what_differs_is_named(changed: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=f"^here: {said}"):
        require({**GOOD, **changed}, SHAPE, "here")


def test_the_right_shape_passes() -> None:
    require(GOOD, SHAPE, "here")
    require({**GOOD, "seen": {}}, SHAPE, "here")
    with pytest.raises(ValueError, match="here: what it holds is None"):
        require(None, SHAPE, "here")
