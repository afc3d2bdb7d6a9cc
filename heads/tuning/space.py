"""The search space of a sweep: what may be tuned, and within which bounds.  Knows no Optuna."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from mmmos.heads.config import AGGREGATOR_FIELDS, HeadConfig

CELL = "cell"
"""The parameter that chooses among configs when one study covers a whole grid."""

Draw = Callable[[Any, HeadConfig], Any]
"""(trial, base) -> a field's value."""


def _among(field: str, *choices: float) -> Draw:
    """One of the choices; the base's own value is always among them."""
    return lambda trial, base: trial.suggest_categorical(field, sorted({*choices, getattr(base, field)}))


def _between(field: str, low: float, high: float, *, log: bool = False) -> Draw:
    """A float in a range, widened to hold the base's own value."""

    def draw(trial: Any, base: HeadConfig) -> Any:
        own = getattr(base, field)
        return trial.suggest_float(field, min(low, own), max(high, own), log=log)

    return draw


SPACE: dict[str, Draw] = {
    "learning_rate": _between("learning_rate", 1e-5, 1e-2, log=True),
    "batch": _among("batch", 8, 16, 32, 64),
    "hidden": _among("hidden", 32, 64, 128, 256),
    "width": _among("width", 64, 128, 256),
    "dropout": _between("dropout", 0.0, 0.5),
    "weight_decay": _among("weight_decay", 0.0, 1e-3, 1e-2, 1e-1),
}
"""Field -> how it is drawn.  Encoders, aggregator and loss are cells, not parameters of a cell; the frame
rate is left out because it multiplies the cost of a trial by four."""


def suggest(trial: Any, base: HeadConfig) -> HeadConfig:
    """The config of a trial: `base` with each field of SPACE that its aggregator uses drawn from the trial.

    A pure function of what the trial answers; the seed is set by whoever runs the trial.
    """
    return replace(base, **{field: SPACE[field](trial, base) for field in _fields(base)})


def suggest_cell(trial: Any, bases: Sequence[HeadConfig]) -> HeadConfig:
    """As `suggest`, over a grid: the cell is drawn first, by its title."""
    if len(bases) == 1:
        return suggest(trial, bases[0])
    by_title = {base.title: base for base in bases}
    return suggest(trial, by_title[trial.suggest_categorical(CELL, list(by_title))])


def paper_params(bases: Sequence[HeadConfig]) -> dict[str, Any]:
    """The parameters under which `suggest_cell` gives the first base unchanged."""
    first = bases[0]
    cell = {CELL: first.title} if len(bases) > 1 else {}
    return {**cell, **{field: getattr(first, field) for field in _fields(first)}}


def _fields(base: HeadConfig) -> list[str]:
    uses = AGGREGATOR_FIELDS[base.aggregator]
    return [field for field in SPACE if field != "width" or field in uses]
