"""Which runs of a work folder count: those of a grid, those that match a filter, or all of them.

An ensemble of "the sixteen" must stay the same when another grid or a sweep is trained in the same folder.
So a command that trains a grid notes its runs in work/grids.json, the grid that was trained last at the end.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from mmmos.heads.config import HeadConfig
from mmmos.heads.grids import GRIDS, position
from mmmos.heads.runs import Run
from mmmos.store import sealed
from mmmos.store.names import choose
from mmmos.store.shape import require

GRIDS_FILE = "grids.json"
BY_SIZE = "size"
"""What is trained by the number of clips, see `training.recipe`; noted like a grid."""
LAST, UNTUNED, ALL = "last", "untuned", "all"
"""The grid that was trained last; every run that no sweep trained; every run."""
NAMES = (*GRIDS, BY_SIZE, LAST, UNTUNED, ALL)

FILTERED = ("study", *(field.name for field in fields(HeadConfig)))
"""What a filter may name."""


@dataclass(frozen=True)
class RunSet:
    """The runs among which is chosen.

    Parameters
    ----------
    name
        What was asked for: a grid's name, a filter, "untuned" or "all".
    runs
        Their ids, in alphabetical order.
    """

    name: str
    runs: tuple[str, ...]


def note_grid(work: Path, name: str, configs: Iterable[HeadConfig]) -> None:
    """Note the runs of a grid that is trained in `work` as the one that was trained last.

    Training a part of a grid again (some losses, after a kill) does not make the grid smaller.
    """
    configs = list(configs)
    runs = sorted(config.id for config in configs)
    grids = trained_grids(work)
    whole = next((g for g in grids if g["grid"] == name and set(runs) <= set(g["runs"])), None)
    one = whole or {"grid": name, "data": configs[0].data, "runs": runs}
    kept = [g for g in grids if g is not whole and not (g["grid"] == name and set(g["runs"]) <= set(runs))]
    sealed.write_json(Path(work) / GRIDS_FILE, {"grids": [*kept, one]})


def trained_grids(work: Path) -> list[dict[str, Any]]:
    """{"grid", "data", "runs"} of each grid that was trained in `work`, the last one at the end."""
    path = Path(work) / GRIDS_FILE
    if not path.is_file():
        return []
    kept = sealed.read_object(path)
    try:
        require(kept, {"grids": [{"grid": str, "data": str, "runs": [str]}]}, path)
    except ValueError as reason:
        raise ValueError(f"{reason}: not trained grids; remove it and train the grid again") from None
    found: list[dict[str, Any]] = kept["grids"]
    return found


def run_set(text: str, runs: Sequence[Run], work: Path) -> RunSet:
    """The set that `text` asks for among the whole runs of a work folder.

    Parameters
    ----------
    text
        A grid's name, "size", "last", "untuned", "all", or a filter such as "loss=ut|con,aggregator=mlp":
        fields of HeadConfig with one or more values.  A filter leaves the trials of sweeps out unless it
        names `study`.

    Raises
    ------
    ValueError
        For an unknown set, and where no run is in it.
    """
    if "=" in text:
        name, found = text, _filtered(text, runs)
    else:
        name = choose("set of runs (or FIELD=VALUE)", text, NAMES)
        name, found = _named(name, runs, work)
    if not found:
        known = ", ".join(NAMES)
        raise ValueError(f"none of the {len(runs)} runs here is in {text!r}; known: {known}, FIELD=VALUE")
    return RunSet(name, tuple(sorted(run.id for run in found)))


def _named(name: str, runs: Sequence[Run], work: Path) -> tuple[str, list[Run]]:
    """The name to keep, and the runs."""
    if name == ALL:
        return ALL, list(runs)
    untuned = [run for run in runs if not run.record.get("study")]
    by_id = {run.id: run for run in runs}
    for grid in reversed(trained_grids(work)):
        there = [by_id[one] for one in grid["runs"] if one in by_id]
        if there and name in {LAST, grid["grid"]}:
            return grid["grid"], there
    if name in GRIDS:
        present = sorted({e for run in runs for e in run.encoders}, key=position)
        cells = {(tuple(names), *rest) for names, *rest in GRIDS[name](present)}
        return name, [run for run in untuned if _cell(run) in cells]
    return UNTUNED, [] if name == BY_SIZE else untuned


def _cell(run: Run) -> tuple[tuple[str, ...], str, str]:
    return tuple(sorted(run.encoders, key=position)), run.config.aggregator, run.config.loss


def _filtered(text: str, runs: Sequence[Run]) -> list[Run]:
    wanted: dict[str, set[str]] = {}
    for part in text.split(","):
        field, equals, values = part.partition("=")
        if not equals:
            raise ValueError(f"a filter is FIELD=VALUE[|VALUE],..., for example loss=ut|con, not {text!r}")
        wanted[choose("field", field.strip(), FILTERED)] = {value.strip() for value in values.split("|")}
    wanted.setdefault("study", {""})
    return [run for run in runs if all(_value(run, name) in values for name, values in wanted.items())]


def _value(run: Run, field: str) -> str:
    if field == "study":
        return str(run.record.get("study", ""))
    if field == "encoders":
        return "+".join(run.encoders)
    value = getattr(run.config, field)
    return f"{value:g}" if isinstance(value, float) else str(value)
