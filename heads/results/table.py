"""How rows of an evaluation become cells of a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mmmos.heads.results.evaluation import Row
from mmmos.store.schema import AXES, COMPOSITE

Index = Mapping[tuple[str, str, str, str, str, str], Row]


def index_rows(rows: Sequence[Row]) -> Index:
    """Rows by (run, split, level, domain, axis, metric)."""
    return {(r.run, r.split, r.level, r.domain, r.axis, r.metric): r for r in rows}


def with_interval(row: Row | None, digits: int = 3) -> str | None:
    """ "0.873 [0.812, 0.921]", the value alone where there is no interval, None where it is undefined."""
    if row is None or row.value is None:
        return None
    value = f"{row.value:.{digits}f}"
    return value if row.low is None else f"{value} [{row.low:.{digits}f}, {row.high:.{digits}f}]"


def axis_of_record(rows: Sequence[Row]) -> str:
    """The composite, or the only axis where one axis alone is rated."""
    axes = {row.axis for row in rows}
    return COMPOSITE if COMPOSITE in axes else next((axis for axis in AXES if axis in axes), COMPOSITE)


def rounded(value: float | None) -> str | None:
    return None if value is None else f"{value:.3f}"


def axis_note(axis: str) -> str:
    return "Composite of the rated axes" if axis == COMPOSITE else f"{axis}, the only rated axis"


def value_of(row: Row | None) -> float | None:
    return None if row is None else row.value
