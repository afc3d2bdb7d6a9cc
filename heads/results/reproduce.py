"""The paper's Tables II to IV from the runs of a work folder, each figure beside the printed one.

A configuration's figure is the mean over its seeds, with their deviation; the interval is that of the first seed.
Ensembles are chosen anew for every seed, among the sixteen runs of that seed.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from mmmos.heads.ensemble import TABLE4
from mmmos.heads.grids import GRIDS, TRI_ENC, Cell
from mmmos.heads.metrics import METRICS, Array, mse_parts
from mmmos.heads.results.claims import CLAIMS, Answer, Figures, answer
from mmmos.heads.results.evaluation import EVERYWHERE, Row, predicted, rows
from mmmos.heads.results.experiment import Experiment
from mmmos.heads.results.printed import PRINTED_LEVELS, PRINTED_METRICS, TABLE_III, Place
from mmmos.heads.results.scores import contenders, note_seen, score
from mmmos.heads.run_sets import RunSet
from mmmos.heads.runs import Run
from mmmos.store import files
from mmmos.store.schema import COMPOSITE
from mmmos.store.table import Table

REPRODUCTION_FILE = "reproduction.json"

ENCODER_CELLS = frozenset((cell[0], cell[1], cell[2]) for cell in GRIDS["encoders"](TRI_ENC))
PAPER_CELLS = frozenset((cell[0], cell[1], cell[2]) for cell in GRIDS["paper"](TRI_ENC))
"""The places of Tables II and III."""


@dataclass(frozen=True)
class Figure:
    """One figure of a table, over seeds.

    Parameters
    ----------
    table
        "II", "III" or "IV" of the paper, or "per axis": the challenge's figures of the submitted ensemble.
    name
        Of the configuration or ensemble.
    split, level, axis, metric
        What the figure is of.
    value, deviation
        Mean and standard deviation over the seeds; no deviation of one seed.
    low, high
        95 % interval of the first seed; None where there is none.
    seeds
        How many.
    printed
        The paper's value; None where it is not known here.
    """

    table: str
    name: str
    split: str
    level: str
    axis: str
    metric: str
    value: float
    deviation: float | None
    low: float | None
    high: float | None
    seeds: int
    printed: float | None = None

    @property
    def inside(self) -> bool | None:
        """Whether the printed value lies in the interval; None where one of them is not known."""
        if self.printed is None or self.low is None or self.high is None:
            return None
        return self.low <= self.printed <= self.high


def cell_of(run: Run) -> Cell:
    """A run's place in the paper's tables, its encoders in the paper's order."""
    order = sorted(run.encoders, key=lambda name: (TRI_ENC.index(name) if name in TRI_ENC else 99, name))
    return tuple(order), run.config.aggregator, run.config.loss


def by_cell(runs: Iterable[Run], cells: Iterable[Cell]) -> dict[Cell, list[Run]]:
    """Cell -> its runs by seed, for the cells that have any; ValueError where two runs share cell and seed."""
    found: dict[Cell, list[Run]] = {cell: [] for cell in sorted(cells, key=_place)}
    for run in sorted(runs, key=lambda run: run.config.seed):
        place = found.get(cell_of(run))
        if place is None:
            continue
        if place and place[-1].config.seed == run.config.seed:
            raise ValueError(
                f"{place[-1].id} and {run.id} are both {run.title}: reproduce in a folder of its own (--work)"
            )
        place.append(run)
    return {cell: runs for cell, runs in found.items() if runs}


def reproduce(experiment: Experiment) -> tuple[list[Figure], list[Answer], list[Table]]:
    """The figures of Tables II to IV and of every axis, the answers to the paper's claims, and what the MSE is made of.

    Parameters
    ----------
    experiment
        Over the runs of the grids "encoders" and "paper" (see `Experiment.over`).
    """
    paper = by_cell(experiment.runs, PAPER_CELLS)
    heads = [
        figure
        for table, cells in (("II", by_cell(experiment.runs, ENCODER_CELLS)), ("III", paper))
        for cell, runs in cells.items()
        for figure in _of_cell(experiment, table, cell, runs)
    ]
    note_seen(experiment, [run for runs in paper.values() for run in runs if run.has("test")])
    seeds = sorted({run.config.seed for runs in paper.values() for run in runs})
    chosen = {seed: _ensembles(_of_seed(experiment, paper, seed)) for seed in seeds}
    ensembles = [
        figure
        for rule, label in TABLE4.items()
        for figure in _over_seeds("IV", label, [chosen[seed].get(rule, []) for seed in seeds])
    ]
    submitted = [chosen[seed].get("intersect:12,12", []) for seed in seeds]
    axes = [
        figure
        for figure in _over_seeds("per axis", "submitted", submitted, every_axis=True)
        if figure.split == "test" and figure.axis != COMPOSITE
    ]
    figures = [replace(figure, printed=_printed(figure)) for figure in [*heads, *ensembles, *axes]]
    seen = [_figures(paper, chosen[seed], seed, experiment) for seed in seeds]
    return figures, [answer(claim, seen) for claim in CLAIMS], [_mse_table(experiment, paper)]


def _place(cell: Cell) -> tuple[int, tuple[str, ...], str, str]:
    return len(cell[0]), cell[0], cell[2], cell[1]


def _name(cell: Cell) -> str:
    return f"{'+'.join(cell[0])} {cell[1]} {cell[2]}"


def _rows(experiment: Experiment, run: Run, intervals: bool) -> list[Row]:
    return [
        row
        for split in experiment.splits
        if run.has(split)
        for row in rows(run.predictions(split), experiment.table.of(split), intervals)
    ]


def _of_cell(experiment: Experiment, table: str, cell: Cell, runs: Sequence[Run]) -> list[Figure]:
    """The composite's figures at the paper's levels; only the first seed needs intervals."""
    found = [_rows(experiment, run, intervals=number == 0) for number, run in enumerate(runs)]
    return _over_seeds(table, _name(cell), found)


def _over_seeds(
    table: str, name: str, of_seeds: Sequence[Sequence[Row]], every_axis: bool = False
) -> list[Figure]:
    """Figures from the rows of each seed; where a seed lacks a figure, that figure is of the other seeds."""
    places: dict[tuple[str, str, str, str], list[Row]] = {}
    for of_seed in of_seeds:
        for row in of_seed:
            if row.value is None or row.domain != EVERYWHERE or row.metric not in PRINTED_METRICS:
                continue
            if every_axis or (row.axis == COMPOSITE and PRINTED_LEVELS.get(row.split) == row.level):
                places.setdefault((row.split, row.level, row.axis, row.metric), []).append(row)
    figures = []
    for place, found in places.items():
        values = [row.value for row in found if row.value is not None]
        deviation = statistics.stdev(values) if len(values) > 1 else None
        mean, first = statistics.fmean(values), found[0]
        figures.append(
            Figure(table, name, *place, mean, deviation, first.low, first.high, len(values))
        )
    return figures


def _printed(figure: Figure) -> float | None:
    """The paper's value of a figure of Table III."""
    if figure.table != "III":
        return None
    encoders, aggregator, loss = figure.name.split()
    row = TABLE_III.get((tuple(encoders.split("+")), aggregator, loss), {})
    return row.get(Place(figure.split, figure.metric))


def _of_seed(experiment: Experiment, paper: dict[Cell, list[Run]], seed: int) -> Experiment:
    """The same with the sixteen runs of one seed alone."""
    runs = tuple(run for runs in paper.values() for run in runs if run.config.seed == seed)
    outside = tuple(run for run in experiment.everything if run not in runs)
    among = RunSet(f"paper, seed {seed}", tuple(sorted(run.id for run in runs)))
    return replace(experiment, runs=runs, outside=outside, run_set=among)


def _ensembles(experiment: Experiment) -> dict[str, list[Row]]:
    """Rule -> the rows of its ensemble on every split, for the rules that can be followed."""
    return {
        rule: [row for split in experiment.splits for row in score(ensemble, experiment, split).rows]
        for rule, ensemble in contenders(experiment, tuple(TABLE4)).items()
        if not isinstance(ensemble, str)
    }


def _figures(
    paper: dict[Cell, list[Run]], chosen: dict[str, list[Row]], seed: int, experiment: Experiment
) -> Figures:
    """What the claims are answered from, of one seed."""
    heads = {
        cell: _row(_rows(experiment, run, intervals=False))
        for cell, runs in paper.items()
        for run in runs
        if run.config.seed == seed
    }
    labels = {rule: label.split(":")[0] for rule, label in TABLE4.items()}
    return Figures(heads, {labels[rule]: _row(found) for rule, found in chosen.items()})


def _row(found: Iterable[Row]) -> dict[Place, float]:
    return {
        Place(row.split, row.metric): row.value
        for row in found
        if row.value is not None
        and (row.axis, row.domain) == (COMPOSITE, EVERYWHERE)
        and PRINTED_LEVELS.get(row.split) == row.level
    }


def _mse_table(experiment: Experiment, paper: dict[Cell, list[Run]]) -> Table:
    """MSE of each configuration's first seed on every split: level, spread and rest."""
    body: list[tuple[Any, ...]] = []
    for cell, runs in paper.items():
        for split in experiment.splits:
            if not runs[0].has(split):
                continue
            clips = experiment.table.of(split)
            pred: Array = predicted(runs[0].predictions(split), clips)[COMPOSITE]
            truth = experiment.table.scores(clips).mean(axis=1)
            body.append((_name(cell), split, METRICS["mse"](pred, truth), *mse_parts(pred, truth)))
    note = "Level: the squared difference of the means; spread: of the deviations; rest: what no shift or scale mends."
    return Table("What the MSE is made of, over clips", ("configuration", "split", "MSE", "level", "spread", "rest"), tuple(body), (note,))


def save(work: Path, figures: Sequence[Figure], answers: Sequence[Answer], tables: Sequence[Table]) -> Path:
    """Keep a reproduction as work/reproduction.json, for the report and the notebooks."""
    path = Path(work) / REPRODUCTION_FILE
    content = {
        "figures": [asdict(figure) | {"inside": figure.inside} for figure in figures],
        "claims": [asdict(one) for one in answers],
        "tables": [asdict(table) for table in tables],
    }
    files.write_json(path, content)
    return path
