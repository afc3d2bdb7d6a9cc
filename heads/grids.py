"""The grids of heads that experiments are made of.

The sixteen configurations are paper V-A to V-C (Table III), the seven encoder subsets Table II.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import fields
from typing import Any

from mmmos.heads.config import HeadConfig
from mmmos.heads.network.aggregators import AGGREGATORS
from mmmos.heads.network.losses import LOSSES
from mmmos.store.names import choose
from mmmos.store.schema import EncoderSpec

ENCODER_ORDER = ("wavlm", "muq", "m2d")
"""The paper's encoders in the order in which their features are laid side by side."""

BI_ENC = ("wavlm", "m2d")
TRI_ENC = ("wavlm", "muq", "m2d")
PAPER_AGGREGATORS = ("mlp", "blstm_h", "blstm_t")
PAPER_LOSSES = ("ccc", "con", "dcq", "ut")

FRAME_RATES_HZ = (6.25, 12.5, 25.0)
"""Common frame rates that every encoder's own rate is a whole multiple or divisor of."""

DEFAULT_FRAME_RATE_HZ = 6.25
"""M2D's own rate.  On the demonstration corpus 12.5 and 25 Hz predict no better (PAM SRCC 0.77, 0.77,
0.75 in that order, each within 0.05 over seeds) and cost 2.4 and 7 times as much."""


def configure(
    data: str, encoders: Iterable[str], aggregator: str = "mlp", loss: str = "ut", **overrides: Any
) -> HeadConfig:
    """A config with the paper's values, `overrides` put over them where they are not None.

    Fields that the aggregator does not use are at rest, so that no two ids name one result.
    ValueError for names that are unknown and for overrides without a field.
    """
    choose("loss", loss, LOSSES)
    uses = AGGREGATORS[choose("aggregator", aggregator, AGGREGATORS)].uses
    known = {field.name for field in fields(HeadConfig)}
    given = {choose("field", name, known): value for name, value in overrides.items() if value is not None}
    paper: dict[str, Any] = {
        "batch": 16 if aggregator.startswith("blstm") else 32,
        "width": 128,
        "frame_rate_hz": DEFAULT_FRAME_RATE_HZ,
    }
    values = {**paper, **given}
    values["width"] = values["width"] if "width" in uses else 0
    values["precision"] = values.get("precision", "fp32") if "precision" in uses else "fp32"
    values["frame_rate_hz"] = float(values["frame_rate_hz"]) if "frame_rate_hz" in uses else 0.0
    if "frame_rate_hz" in uses and values["frame_rate_hz"] not in FRAME_RATES_HZ:
        raise ValueError(f"frame_rate_hz is {values['frame_rate_hz']}; known: {FRAME_RATES_HZ}")
    return HeadConfig(data=data, encoders=tuple(encoders), aggregator=aggregator, loss=loss, **values)


Cell = tuple[tuple[str, ...], str, str]
"""Encoder names, aggregator, loss: one place of a grid."""


def _with_further(names: Sequence[str], present: Sequence[str]) -> tuple[str, ...]:
    """Those of `names` that are present, and every present encoder that the paper does not know."""
    return tuple(name for name in present if name in names or name not in ENCODER_ORDER)


def _paper_cells(present: Sequence[str]) -> list[Cell]:
    sets = [(BI_ENC, ("mlp",)), (TRI_ENC, PAPER_AGGREGATORS)]
    return [
        (_with_further(names, present), aggregator, loss)
        for names, aggregators in sets
        for aggregator in aggregators
        for loss in PAPER_LOSSES
    ]


def _subsets(present: Sequence[str]) -> list[tuple[str, ...]]:
    """Every subset of the paper's encoders, and each further encoder alone."""
    paper = [name for name in present if name in ENCODER_ORDER]
    sizes = range(1, len(paper) + 1)
    subsets = [subset for size in sizes for subset in itertools.combinations(paper, size)]
    return subsets + [(name,) for name in present if name not in ENCODER_ORDER]


def _encoder_cells(present: Sequence[str]) -> list[Cell]:
    return [(names, "mlp", "ut") for names in _subsets(present)]


def _full_cells(present: Sequence[str]) -> list[Cell]:
    return list(itertools.product(_subsets(present), PAPER_AGGREGATORS, PAPER_LOSSES))


def _beyond_cells(present: Sequence[str]) -> list[Cell]:
    names = _with_further(TRI_ENC, present)
    return list(itertools.product([names], AGGREGATORS, LOSSES))


GRIDS = {
    "paper": _paper_cells,  # Table III: sixteen
    "encoders": _encoder_cells,  # Table II: seven subsets, ut, mlp
    "full": _full_cells,  # seven subsets x three aggregators x four losses
    "beyond": _beyond_cells,  # all encoders x every aggregator x every loss
}


def grid(
    name: str,
    specs: Iterable[EncoderSpec],
    data: str,
    *,
    encoders: Sequence[str] = (),
    aggregators: Sequence[str] = (),
    losses: Sequence[str] = (),
    seeds: int = 1,
    **overrides: Any,
) -> tuple[HeadConfig, ...]:
    """The configs of a named grid over the encoders that are there; equal ones are kept once.

    encoders:  only these encoder names (or spec ids) of `specs`; empty: all.  Where some are joined by "+",
               as in wavlm+m2d, each item is one set, and no other sets are kept.
    aggregators, losses: keep only these of the grid; empty: all of it.
    seeds:     trains each with seeds 0 .. seeds - 1 (or seed .. where `seed` is overridden).
    overrides: fields of HeadConfig put over the paper's values; None leaves the paper's.
    ValueError for a name that the grid does not have, and where one encoder name stands for several specs.
    """
    sets = [item.split("+") for item in encoders]
    by_name = named_specs(specs, [one for names in sets for one in names])
    present = sorted(by_name, key=lambda n: (ENCODER_ORDER.index(n) if n in ENCODER_ORDER else 99, n))
    every = [cell for cell in GRIDS[choose("grid", name, GRIDS)](present) if cell[0]]
    if not every:
        raise ValueError(f"no encoder's features are stored for grid {name!r}")
    _refuse_absent(name, "aggregator", aggregators, AGGREGATORS, {cell[1] for cell in every})
    _refuse_absent(name, "loss", losses, LOSSES, {cell[2] for cell in every})
    if any(len(one) > 1 for one in sets):
        wanted = [frozenset(n for n, spec in by_name.items() if {n, spec.id} & {*one}) for one in sets]
        every = _with_sets(name, every, wanted)
    cells = [
        cell
        for cell in every
        if (not aggregators or cell[1] in aggregators) and (not losses or cell[2] in losses)
    ]
    first = overrides.pop("seed", None) or 0
    configs = [
        configure(data, (by_name[n].id for n in names), aggregator, loss, seed=seed, **overrides)
        for names, aggregator, loss in cells
        for seed in range(first, first + max(1, seeds))
    ]
    return tuple(dict.fromkeys(configs))


def _with_sets(grid_name: str, cells: Sequence[Cell], sets: Sequence[frozenset[str]]) -> list[Cell]:
    """The cells with one of these sets of encoders; ValueError for a set that the grid does not have."""
    offered = {frozenset(cell[0]): "+".join(cell[0]) for cell in cells}
    for names in sets:
        if names not in offered:
            raise ValueError(
                f"grid {grid_name!r} has no set {'+'.join(sorted(names))}, only {', '.join(offered.values())}"
            )
    return [cell for cell in cells if frozenset(cell[0]) in sets]


def _refuse_absent(
    grid_name: str, kind: str, asked: Iterable[str], known: Iterable[str], offered: set[str]
) -> None:
    """ValueError for a name that is unknown or not in the grid, so that no filter is half obeyed."""
    for name in asked:
        if choose(kind, name, known) not in offered:
            raise ValueError(
                f"grid {grid_name!r} has no {kind} {name!r}, only {', '.join(sorted(offered))}; "
                "grid 'beyond' has every aggregator and loss"
            )


def paper_grid(specs: Iterable[EncoderSpec], data: str, **overrides: Any) -> tuple[HeadConfig, ...]:
    """The sixteen configurations of Table III over the encoders that are there."""
    return grid("paper", specs, data, **overrides)


def named_specs(specs: Iterable[EncoderSpec], only: Sequence[str] = ()) -> dict[str, EncoderSpec]:
    """Specs by encoder name, restricted to `only` names or spec ids.

    ValueError for a name that is not there, and where one name has several specs.
    """
    found = list(specs)
    for name in only:
        choose("encoder", name, [s.name for s in found] + [s.id for s in found])
    kept = [spec for spec in found if not only or spec.name in only or spec.id in only]
    by_name = {spec.name: spec for spec in kept}
    if len(by_name) != len(kept):
        ids = sorted(spec.id for spec in kept)
        raise ValueError(
            f"several features of one encoder are stored: {', '.join(ids)}; choose one by its full name"
        )
    return by_name
