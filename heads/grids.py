"""The grids of heads that experiments are made of.  No torch.

The sixteen configurations are paper V-A to V-C (Table III), the seven encoder subsets Table II.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import fields
from typing import Any

from mmmos.heads.config import AGGREGATOR_FIELDS, CLOSED_FORM, LOSS_NAMES, TRAINING_FIELDS, HeadConfig
from mmmos.store.names import choose
from mmmos.store.schema import EncoderSpec

BI_ENC = ("wavlm", "m2d")
TRI_ENC = ("wavlm", "muq", "m2d")
"""The paper's encoders, in the order in which their features are laid side by side."""
PAPER_AGGREGATORS = ("mlp", "blstm_h", "blstm_t")
PAPER_LOSSES = ("ccc", "con", "dcq", "ut")

FRAME_RATES_HZ = (6.25, 12.5, 25.0)
"""Common frame rates that every encoder's own rate is a whole multiple or divisor of."""

DEFAULT_FRAME_RATE_HZ = 6.25
"""M2D's own rate.  On the demonstration corpus 12.5 and 25 Hz predict no better (PAM SRCC 0.77, 0.77,
0.75 in that order, each within 0.05 over seeds) and cost 2.4 and 7 times as much."""

PAPER_WIDTH = 128
"""Units per direction of a BLSTM."""


def configure(
    data: str, encoders: Iterable[str], aggregator: str = "mlp", loss: str = "ut", **overrides: Any
) -> HeadConfig:
    """A config with the paper's values, `overrides` put over them where they are not None.

    Fields that the aggregator ignores keep the default of HeadConfig, so that equal heads have equal ids;
    heads in closed form have the loss "mse" whatever is asked.
    ValueError for names that are unknown and for overrides without a field.
    """
    choose("loss", loss, LOSS_NAMES)
    uses = AGGREGATOR_FIELDS[choose("aggregator", aggregator, AGGREGATOR_FIELDS)]
    known = {field.name for field in fields(HeadConfig)}
    given = {choose("field", name, known): value for name, value in overrides.items() if value is not None}
    values: dict[str, Any] = {
        "batch": 16 if aggregator.startswith("blstm") else 32,
        "width": PAPER_WIDTH,
        "frame_rate_hz": DEFAULT_FRAME_RATE_HZ,
    } | given
    for ignored in frozenset().union(*AGGREGATOR_FIELDS.values()) - uses:
        values.pop(ignored, None)
    if loss != "ut":
        values.pop("tau", None)
    if aggregator == "linear":
        values.pop("hidden", None)
    if aggregator in CLOSED_FORM:
        loss = "mse"
        for ignored in (*TRAINING_FIELDS, "tau"):
            values.pop(ignored, None)
    if "frame_rate_hz" in values:
        values["frame_rate_hz"] = float(values["frame_rate_hz"])
        if values["frame_rate_hz"] not in FRAME_RATES_HZ:
            raise ValueError(f"frame_rate_hz is {values['frame_rate_hz']}; known: {FRAME_RATES_HZ}")
    return HeadConfig(data=data, encoders=tuple(encoders), aggregator=aggregator, loss=loss, **values)


Cell = tuple[tuple[str, ...], str, str]
"""Encoder names, aggregator, loss: one place of a grid."""


def position(encoder: str) -> tuple[int, str]:
    """What to sort encoder names by: the paper's first, in its order."""
    return (TRI_ENC.index(encoder) if encoder in TRI_ENC else len(TRI_ENC)), encoder


def _with_further(names: Sequence[str], present: Sequence[str]) -> tuple[str, ...]:
    """Those of `names` that are present, and every present encoder that the paper does not know."""
    return tuple(name for name in present if name in names or name not in TRI_ENC)


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
    paper = [name for name in present if name in TRI_ENC]
    sizes = range(1, len(paper) + 1)
    subsets = [subset for size in sizes for subset in itertools.combinations(paper, size)]
    return subsets + [(name,) for name in present if name not in TRI_ENC]


def _encoder_cells(present: Sequence[str]) -> list[Cell]:
    return [(names, "mlp", "ut") for names in _subsets(present)]


def _full_cells(present: Sequence[str]) -> list[Cell]:
    return list(itertools.product(_subsets(present), PAPER_AGGREGATORS, PAPER_LOSSES))


def _beyond_cells(present: Sequence[str]) -> list[Cell]:
    return list(itertools.product([_with_further(TRI_ENC, present)], AGGREGATOR_FIELDS, LOSS_NAMES))


def _release_cells(present: Sequence[str]) -> list[Cell]:
    return [(_with_further(TRI_ENC, present), "linear", "ut")]


GRIDS = {
    "paper": _paper_cells,  # Table III: sixteen
    "encoders": _encoder_cells,  # Table II: seven subsets, ut, mlp
    "full": _full_cells,  # seven subsets x three aggregators x four losses
    "beyond": _beyond_cells,  # all encoders x every aggregator x every loss
    "release": _release_cells,  # what the paper's released code trains, as nearly as frozen features allow
}

OF_GRID: dict[str, dict[str, Any]] = {
    "release": {"layer": "wavlm=layermix,muq=last,m2d=last", "tau": 0.5},
}
"""Grid -> fields of HeadConfig that it has in place of the paper's values; given ones come before them."""


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

    Parameters
    ----------
    encoders
        Only these encoder names (or spec ids) of `specs`; empty: all.  Where some are joined by "+", as in
        wavlm+m2d, each item is one set, and no other sets are kept.
    aggregators, losses
        Keep only these of the grid; empty: all of it.
    seeds
        Train each with seeds 0 .. seeds - 1 (or seed .. where `seed` is overridden).
    overrides
        Fields of HeadConfig put over the paper's values; None leaves the paper's.

    Raises
    ------
    ValueError
        For a name that the grid does not have, and where one encoder name stands for several specs.
    """
    asked = [item.split("+") for item in encoders]
    by_name = named_specs(specs, [one for joined in asked for one in joined])
    present = sorted(by_name, key=position)
    cells = [cell for cell in GRIDS[choose("grid", name, GRIDS)](present) if cell[0]]
    if not cells:
        raise ValueError(f"no encoder's features are stored for grid {name!r}")
    joined = ["+".join(n for n in present if {n, by_name[n].id} & {*one}) for one in asked]
    sets = joined if any(len(one) > 1 for one in asked) else ()
    kept = (
        _kept(name, "set", sets, ("+".join(cell[0]) for cell in cells), sets),
        _kept(name, "aggregator", aggregators, (cell[1] for cell in cells), AGGREGATOR_FIELDS),
        _kept(name, "loss", losses, (cell[2] for cell in cells), LOSS_NAMES),
    )
    given = {field: value for field, value in overrides.items() if value is not None}
    _check_layer_rule(given.get("layer", ""), present)
    overrides = {**OF_GRID.get(name, {}), **given}
    first = overrides.pop("seed", None) or 0
    configs = [
        configure(data, (by_name[n].id for n in names), aggregator, loss, seed=seed, **overrides)
        for names, aggregator, loss in cells
        if "+".join(names) in kept[0] and aggregator in kept[1] and loss in kept[2]
        for seed in range(first, first + max(1, seeds))
    ]
    return tuple(dict.fromkeys(configs))


def _check_layer_rule(rule: str, present: Sequence[str]) -> None:
    """ValueError for a rule by encoder that is not written as one, or names an encoder that is not there."""
    parts = [part.partition("=") for part in rule.split(",")]
    if len(parts) == 1 and "=" not in rule and ":" not in rule:
        return
    if not all(equals and of_one for _, equals, of_one in parts):
        raise ValueError(
            f"a layer rule by encoder is ENCODER=RULE,..., for example wavlm=layermix,muq=last, not {rule!r}"
        )
    for name, _, _ in parts:
        choose("encoder in the layer rule", name, present)


def _kept(
    grid_name: str, kind: str, asked: Sequence[str], of_cells: Iterable[str], known: Iterable[str]
) -> set[str]:
    """What is kept of a grid: all where nothing is asked; ValueError for what is unknown or no cell has."""
    offered = dict.fromkeys(of_cells)
    for name in asked:
        if choose(kind, name, known) not in offered:
            raise ValueError(
                f"grid {grid_name!r} has no {kind} {name!r}, only {', '.join(offered)}; "
                "grid 'beyond' has every aggregator and loss, 'encoders' every set"
            )
    return set(asked or offered)


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
