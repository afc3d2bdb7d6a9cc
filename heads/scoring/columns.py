"""Which columns the linear heads of a bundle weigh most, where the encoders' numbers have names.

A linear head's weight is what its score gains for one standard deviation of a column among the training
clips.  Kernels and networks have no such weights, and nothing is said of them here.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mmmos.extract.front import columns_of
from mmmos.heads.config import BUNDLE
from mmmos.heads.network.aggregators import Solved
from mmmos.heads.network.model import Head
from mmmos.heads.network.profile import READINGS, names_of
from mmmos.heads.network.towers import BoundedLinear
from mmmos.heads.scoring.bundle import Bundle
from mmmos.store.schema import EncoderSpec
from mmmos.store.table import Cell, Table

SHOWN = 5
"""Columns an axis."""

TITLE = "What the linear heads weigh most"


def heaviest_columns(bundle: Bundle) -> Table | None:
    """The heaviest columns of each axis, their weights averaged over the linear heads as the ensemble does.

    None where no head is linear, or none of the numbers that they read have names.
    """
    shares, _ = bundle.mixture.linear(len(bundle.axes))
    total: dict[str, NDArray[np.float64]] = {}
    said = np.zeros(len(bundle.axes))
    count = 0
    for head, share in zip(bundle.heads.values(), shares, strict=True):
        names = _names(head, bundle)
        if names:
            count, said = count + 1, said + share
            for name, weight in zip(names, share * _points(head), strict=True):
                total[name] = total.get(name, np.zeros(len(said))) + weight
    if not count:
        return None
    rows: list[tuple[Cell, ...]] = []
    for axis, name in enumerate(bundle.axes):
        weights = {column: of[axis] / said[axis] for column, of in total.items() if of[axis]}
        ranked = sorted(weights, key=lambda column: (-abs(weights[column]), column))[:SHOWN]
        rows += [(name, column, f"{weights[column]:+.3g}") for column in ranked]
    part = said.sum() / shares.sum()
    notes = (
        f"{count} of {len(bundle.heads)} heads, with {part:.0%} of the say: points of the scale for one "
        "standard deviation of the column more, among the clips of training.",
        "Columns that go together, as neighbouring bands do, share a weight: one that is not named here may "
        "matter as much, and none of them need be a cause.",
    )
    return Table(TITLE, ("axis", "column", "points"), tuple(rows), notes)


def _names(head: Head, bundle: Bundle) -> tuple[str, ...]:
    """What each number that a linear head weighs is; () for another head, or where one has no name."""
    if not isinstance(head.towers, BoundedLinear) or head.reading.kind not in READINGS:
        return ()
    parts = [_columns(spec, bundle) for spec in head.specs]
    names = tuple(name for columns in parts for name in names_of(head.reading.kind, columns))
    return names if all(parts) and len(names) == head.aggregator.dim else ()


def _columns(spec: EncoderSpec, bundle: Bundle) -> tuple[str, ...]:
    if spec.name == BUNDLE:
        return tuple(f"{axis} ({BUNDLE})" for axis in bundle.prior.axes) if bundle.prior else ()
    return tuple(f"{column} ({spec.name})" for column in columns_of(spec))


def _points(head: Head) -> NDArray[np.float64]:
    """[dim, A] points of the scale that a linear head's score gains for one deviation of each column."""
    assert isinstance(head.aggregator, Solved)
    assert isinstance(head.towers, BoundedLinear)
    gains = np.repeat(head.aggregator.gains, head.aggregator.widths)
    z = head.towers.weight.detach().squeeze(1).double().numpy().T
    points: NDArray[np.float64] = z * gains[:, None] * (head.slope * head.target_std).numpy()
    return points
