"""The paper's Tables II to IV and its claims from the runs of a work folder.

A figure is the mean over the seeds.  Ensembles are chosen anew for every seed, among the sixteen runs of that
seed.  Only stored predictions are read, without torch.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial

from mmmos.heads.config import HeadConfig, encoder_name
from mmmos.heads.ensemble import PAPER_RULE, TABLE4, Ensemble
from mmmos.heads.grids import GRIDS, TRI_ENC, Cell, position
from mmmos.heads.results import printed
from mmmos.heads.results.claims import CLAIMS, Figures, answer, best_by
from mmmos.heads.results.evaluation import EVERYWHERE, Row, rows
from mmmos.heads.results.experiment import Experiment
from mmmos.heads.results.mse_table import in_paper, mse_table
from mmmos.heads.results.printed import PRINTED_LEVELS, PRINTED_METRICS, TABLE_III, Place
from mmmos.heads.results.published import baseline_rows
from mmmos.heads.results.reproduction import PaperFigure, Reproduction
from mmmos.heads.results.scores import contenders, note_seen, score
from mmmos.heads.run_sets import RunSet
from mmmos.heads.runs import NotStoredError, Run
from mmmos.store.predictions import Predictions
from mmmos.store.schema import AES_AXES, COMPOSITE

SUBSET_CELLS = frozenset((tuple(cell[0]), cell[1], cell[2]) for cell in GRIDS["encoders"](TRI_ENC))
PAPER_CELLS = frozenset((tuple(cell[0]), cell[1], cell[2]) for cell in GRIDS["paper"](TRI_ENC))
"""The places of Tables II and III."""

SUBMITTED = TABLE4[PAPER_RULE]
TABLE4_SPLITS = ("pam", "test")


def cell_of(config: HeadConfig) -> Cell:
    """A config's place in the paper's tables, its encoders in the paper's order."""
    return tuple(sorted(map(encoder_name, config.encoders), key=position)), config.aggregator, config.loss


def by_cell(runs: Iterable[Run], cells: Iterable[Cell]) -> dict[Cell, list[Run]]:
    """Cell -> its runs by seed, where it has any; ValueError where two runs share cell and seed."""
    found: dict[Cell, list[Run]] = {cell: [] for cell in sorted(cells, key=_order)}
    for run in sorted(runs, key=lambda run: run.config.seed):
        place = found.get(cell_of(run.config))
        if place is None:
            continue
        if place and place[-1].config.seed == run.config.seed:
            raise ValueError(
                f"{place[-1].id} and {run.id} are both {run.title}: `mmmos reproduce` knows which it trained"
            )
        place.append(run)
    return {cell: runs for cell, runs in found.items() if runs}


def of_configs(experiment: Experiment, configs: Iterable[HeadConfig]) -> Experiment:
    """The same where only the runs of these configs count."""
    wanted = {config.id for config in configs}
    return _among(experiment, "reproduction", [run for run in experiment.everything if run.id in wanted])


def reproduce(experiment: Experiment, baseline: str = "", caveats: Iterable[str] = ()) -> Reproduction:
    """The figures of the paper's tables, the answers to its claims, and the parts of the MSE.

    Parameters
    ----------
    experiment
        Over the runs of the grids "encoders" and "paper" (see `of_configs`).
    baseline
        Name of the published predictor whose stored predictions the gain is measured against; "": none.
    caveats
        What must be said beside those of the experiment.

    Raises
    ------
    NotStoredError
        Where no split of the paper is scored, or the baseline's predictions are missing.
    ValueError
        For a table of other axes, and see `by_cell`.
    """
    if experiment.table.axes.names != AES_AXES.names:
        raise ValueError(
            f"the paper's tables are about {', '.join(AES_AXES.names)}; the clips of {experiment.work} are "
            f"rated on {', '.join(experiment.table.axes.names)}"
        )
    subsets, paper = (by_cell(experiment.runs, cells) for cells in (SUBSET_CELLS, PAPER_CELLS))
    runs = {run.id: run for cells in (subsets, paper) for of_cell in cells.values() for run in of_cell}
    if not any(run.has(split) for split in PRINTED_LEVELS for run in runs.values()):
        raise NotStoredError(
            f"{experiment.work} has no run of the paper's grids with predictions on dev, pam or test: run "
            "`mmmos reproduce`"
        )
    note_seen(experiment, [run for run in runs.values() if run.has("test")])
    found = {name: _of_paper(experiment, run.predictions, run.has) for name, run in runs.items()}
    seeds = sorted({run.config.seed for run in runs.values()})
    chosen = [_ensembles(_of_seed(experiment, paper, seed)) for seed in seeds]
    scored = [{label: _scored(experiment, one) for label, one in of_seed.items()} for of_seed in chosen]
    figures = [
        *_of_cells("II", subsets, found),
        *_of_cells("III", paper, found),
        *_table_iv(scored),
        *_per_axis(experiment, chosen),
    ]
    beside = _row(baseline_rows(experiment, baseline)) if baseline else {}
    answered = [
        Figures(
            _of_one_seed(paper, seed, found),
            {label.split(":")[0]: _row(of_ensemble) for label, of_ensemble in ensembles.items()},
            beside,
            _of_one_seed(subsets, seed, found),
        )
        for seed, ensembles in zip(seeds, scored, strict=True)
    ]
    return Reproduction(
        experiment.table.id,
        tuple(seeds),
        tuple(dict.fromkeys([*experiment.caveats, *caveats])),
        tuple(replace(figure, printed=_printed(figure)) for figure in figures),
        tuple(answer(claim, answered) for claim in CLAIMS),
        mse_table(experiment.table, _by_name(experiment, paper, chosen)),
    )


def _order(cell: Cell) -> tuple[int, list[tuple[int, str]], str, str]:
    return len(cell[0]), [position(name) for name in cell[0]], cell[2], cell[1]


def _name(cell: Cell) -> str:
    return f"{'+'.join(cell[0])} {cell[1]} {cell[2]}"


def _of_paper(
    experiment: Experiment, predict: Callable[[str], Predictions], has: Callable[[str], bool]
) -> list[Row]:
    """The figures of the composite at the paper's levels, with intervals."""
    return [
        row
        for split in PRINTED_LEVELS
        if split in experiment.splits and has(split)
        for row in rows(predict(split), experiment.table.of(split), only=partial(in_paper, split=split))
    ]


def _scored(experiment: Experiment, ensemble: Ensemble) -> list[Row]:
    """An ensemble's figures of Table IV; that it was scored on test is noted."""
    if "test" in experiment.splits:
        score(ensemble, experiment, "test", intervals=False)
    return _of_paper(
        experiment,
        lambda split: ensemble.predict(experiment.everything, split),
        lambda split: split in TABLE4_SPLITS,
    )


def _of_cells(
    table: str, cells: Mapping[Cell, Sequence[Run]], found: Mapping[str, Sequence[Row]]
) -> Iterator[PaperFigure]:
    for cell, runs in cells.items():
        yield from _over_seeds(table, _name(cell), [found[run.id] for run in runs])


def _table_iv(scored: Sequence[Mapping[str, Sequence[Row]]]) -> Iterator[PaperFigure]:
    for label in TABLE4.values():
        yield from _over_seeds("IV", label, [one[label] for one in scored if label in one])


def _per_axis(experiment: Experiment, chosen: Sequence[Mapping[str, Ensemble]]) -> Iterator[PaperFigure]:
    """The submitted ensemble on test: every axis at both levels."""
    if "test" not in experiment.splits:
        return
    of_seeds = [
        [
            row
            for row in score(one[SUBMITTED], experiment, "test").rows
            if row.domain == EVERYWHERE and row.axis != COMPOSITE
        ]
        for one in chosen
        if SUBMITTED in one
    ]
    yield from _over_seeds("per axis", SUBMITTED, of_seeds)


def _over_seeds(table: str, name: str, of_seeds: Sequence[Sequence[Row]]) -> Iterator[PaperFigure]:
    """Figures from the rows of each seed; where a seed lacks a figure, that figure is of the other seeds."""
    places: dict[tuple[str, str, str, str], list[Row]] = {}
    for row in (row for of_seed in of_seeds for row in of_seed):
        if row.value is not None and row.metric in PRINTED_METRICS:
            places.setdefault((row.split, row.level, row.axis, row.metric), []).append(row)
    for place, found in places.items():
        values = [row.value for row in found if row.value is not None]
        deviation = statistics.stdev(values) if len(values) > 1 else None
        lows = [row.low for row in found if row.low is not None]
        highs = [row.high for row in found if row.high is not None]
        whole = len(lows) == len(highs) == len(found)
        low, high = (statistics.fmean(lows), statistics.fmean(highs)) if whole else (None, None)
        reason = next((row.reason for row in found if row.reason), "")
        value = statistics.fmean(values)
        yield PaperFigure(table, name, *place, value, deviation, low, high, len(found), reason)


def _printed(figure: PaperFigure) -> float | None:
    """The paper's value of a figure, as its Table III prints it.

    Two of Table II's configurations are also in Table III, and the best single one of Table IV is that of
    its highest SRCC on PAM.
    """
    row: printed.Row = {}
    if figure.table in ("II", "III"):
        encoders, aggregator, loss = figure.name.split()
        row = TABLE_III.get((tuple(encoders.split("+")), aggregator, loss), {})
    elif figure.name == TABLE4["best:pam"]:
        row = best_by(TABLE_III, "pam")
    return row.get(Place(figure.split, figure.metric))


def _among(experiment: Experiment, name: str, runs: Sequence[Run]) -> Experiment:
    inside = {run.id for run in runs}
    outside = tuple(run for run in experiment.everything if run.id not in inside)
    return replace(experiment, runs=tuple(runs), outside=outside, run_set=RunSet(name, tuple(sorted(inside))))


def _of_seed(experiment: Experiment, paper: Mapping[Cell, Sequence[Run]], seed: int) -> Experiment:
    """The same with the sixteen runs of one seed alone."""
    runs = [run for of_cell in paper.values() for run in of_cell if run.config.seed == seed]
    return _among(experiment, f"paper, seed {seed}", runs)


def _ensembles(experiment: Experiment) -> dict[str, Ensemble]:
    """Strategy of Table IV -> its ensemble, for those that can be followed."""
    found = contenders(experiment, tuple(TABLE4)) if experiment.runs else {}
    return {TABLE4[rule]: one for rule, one in found.items() if isinstance(one, Ensemble)}


def _of_one_seed(
    cells: Mapping[Cell, Sequence[Run]], seed: int, found: Mapping[str, Sequence[Row]]
) -> dict[Cell, printed.Row]:
    return {
        cell: _row(found[run.id]) for cell, runs in cells.items() for run in runs if run.config.seed == seed
    }


def _row(found: Iterable[Row]) -> dict[Place, float]:
    return {
        Place(row.split, row.metric): row.value
        for row in found
        if row.value is not None
        and (row.axis, row.domain) == (COMPOSITE, EVERYWHERE)
        and PRINTED_LEVELS.get(row.split) == row.level
    }


def _by_name(
    experiment: Experiment,
    paper: Mapping[Cell, Sequence[Run]],
    chosen: Sequence[Mapping[str, Ensemble]],
) -> Iterator[tuple[str, str, list[Predictions]]]:
    """Name, split and predictions of every seed, of each configuration and ensemble."""
    for split in (split for split in PRINTED_LEVELS if split in experiment.splits):
        for cell, runs in paper.items():
            yield _name(cell), split, [run.predictions(split) for run in runs if run.has(split)]
        for label in TABLE4.values() if split in TABLE4_SPLITS else ():
            of_seeds = [one[label] for one in chosen if label in one]
            yield label, split, [one.predict(experiment.everything, split) for one in of_seeds]
