"""A reproduction of the paper as it is kept and shown: figures beside printed ones, claims, parts of the MSE.

`reproduce.reproduce` makes it from stored predictions; it lies in work/reproduction.json.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mmmos.heads.results.claims import CLAIMS, Answer, Figures, answer
from mmmos.heads.results.experiment import Experiment
from mmmos.heads.results.page import Section
from mmmos.heads.results.printed import PRINTED_METRICS, TABLE_III
from mmmos.heads.runs import NotStoredError
from mmmos.store import sealed
from mmmos.store.shape import NOTHING, NUMBER, require, shape_of
from mmmos.store.table import Cell, Table

REPRODUCTION_FILE = "reproduction.json"

TITLES = {
    "II": "Table II: sets of encoders (mlp, ut)",
    "III": "Table III: the sixteen configurations",
    "IV": "Table IV: ensembles",
    "per axis": "The challenge's figures: the submitted ensemble on test, axis by axis",
}
"""The paper's tables that are made anew, in their order."""

NOT_KNOWN = (
    "Of the paper's values, those of its Table III are known to this program; where no printed line stands "
    "below ours, the paper's is not known."
)
SAID_OF_INTERVALS = (
    "Each figure is the mean over the seeds, ± their standard deviation where there are several; [ ] is the "
    "mean of the seeds' 95 % intervals over systems. Inside: the printed value lies in it."
)


@dataclass(frozen=True)
class PaperFigure:
    """One figure of a table, over seeds.

    Parameters
    ----------
    table
        A name of TITLES.
    name
        Of the configuration or ensemble.
    split, level, axis, metric
        What the figure is of.
    value, deviation
        Mean and standard deviation over the seeds; no deviation of one seed.
    low, high
        Means of the seeds' 95 % intervals; None where one of them has none.
    seeds
        How many.
    reason
        Why there is no interval, or what it is about where that is less than usual.
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
    reason: str = ""
    printed: float | None = None

    @property
    def inside(self) -> bool | None:
        """Whether the printed value lies in the interval; None where one of them is not known."""
        if self.printed is None or self.low is None or self.high is None:
            return None
        return self.low <= self.printed <= self.high


SHAPE = {
    "data": str,
    "seeds": [int],
    "caveats": [str],
    "figures": [shape_of(PaperFigure)],
    "claims": [shape_of(Answer)],
    "mse": {"title": str, "columns": [str], "rows": [[(str, *NUMBER, NOTHING)]], "notes": [str]},
}
"""Of the file that keeps a reproduction."""


@dataclass(frozen=True)
class Reproduction:
    """The paper's tables and claims from runs of our own.

    Parameters
    ----------
    data
        Id of the clip table.
    seeds
        With which every configuration was trained.
    caveats
        What must be said beside every figure.
    figures
        Of the tables of TITLES.
    claims
        The paper's claims answered from them.
    mse
        The parts of the mean squared error, see `metrics.mse_parts`.
    """

    data: str
    seeds: tuple[int, ...]
    caveats: tuple[str, ...]
    figures: tuple[PaperFigure, ...]
    claims: tuple[Answer, ...]
    mse: Table

    def tables(self) -> list[Table]:
        """Every table, for the terminal, the report and notebooks."""
        made = [_table(name, [f for f in self.figures if f.table == name]) for name in TITLES]
        return [*(table for table in made if table.rows), claims_table(self.claims), self.mse]

    def save(self, work: Path) -> Path:
        """Keep it as work/reproduction.json."""
        path = Path(work) / REPRODUCTION_FILE
        figures = [asdict(figure) | {"inside": figure.inside} for figure in self.figures]
        sealed.write_json(path, {**asdict(self), "figures": figures})
        return path

    @staticmethod
    def load(work: Path) -> Reproduction:
        """Read what `save` wrote.

        Raises
        ------
        NotStoredError
            Where there is none.
        ValueError
            Where the file holds something else.
        """
        path = Path(work) / REPRODUCTION_FILE
        if not os.path.lexists(path):
            raise NotStoredError(
                f"{path} is not there: run `mmmos reproduce --clips TABLE --work {work}` first"
            )
        content = sealed.read_object(path)
        try:
            require(content, SHAPE, path)
            figures = tuple(
                PaperFigure(**{name: value for name, value in one.items() if name != "inside"})
                for one in content["figures"]
            )
            claims = tuple(Answer(**{**one, "failed": tuple(one["failed"])}) for one in content["claims"])
            return Reproduction(
                content["data"],
                tuple(content["seeds"]),
                tuple(content["caveats"]),
                figures,
                claims,
                _table_of(content["mse"]),
            )
        except (KeyError, TypeError, AttributeError) as reason:
            raise ValueError(f"{path} does not hold a reproduction: {reason}; remove it") from None


def section(experiment: Experiment) -> Section | None:
    """The report's section; none where nothing was reproduced on this clip table."""
    if not (experiment.work / REPRODUCTION_FILE).is_file():
        return None
    found = Reproduction.load(experiment.work)
    if found.data != experiment.table.id:
        return None
    opening = f"The paper's tables and claims from our own runs, {_seeds(len(found.seeds))} each."
    marks = [f"Beware: {', '.join(found.caveats)}."] if found.caveats else []
    return Section("The paper", opening, (*marks, *found.tables()))


def claims_table(ours: Sequence[Answer]) -> Table:
    """The paper's claims as our figures and as its own printed Table III answer them."""
    by_claim = {one.claim: one for one in ours}
    body: list[tuple[Cell, ...]] = []
    for claim in CLAIMS:
        cells: list[Cell] = []
        printed = answer(claim, [Figures(TABLE_III)])
        for one in (by_claim.get(claim), printed):
            cells += [one.answer, f"{one.held} of {one.n}"] if one else [None, None]
        failed = by_claim[claim].failed if claim in by_claim else ()
        body.append((claim, *cells, ", ".join(failed)))
    columns = ("claim", "ours", "holds", "printed", "holds there", "fails here in")
    notes = (
        "True: every comparison holds with every seed. False: one fails with every seed. Cannot tell: the "
        "seeds disagree, or the figures for it are not there. Comparisons are of point values, without a "
        "test of significance.",
        "Printed: the same comparisons on the paper's own Table III, the only one known to this program; it "
        "holds no ensembles and no baseline, so choosing by PAM or dev is compared for single runs alone.",
    )
    return Table("The paper's claims", columns, tuple(body), notes)


def _table(name: str, figures: Sequence[PaperFigure]) -> Table:
    """A row for each configuration and split, and where printed values are known one below it."""
    rows: dict[tuple[str, str, str, str], dict[str, PaperFigure]] = {}
    for figure in figures:
        place = (figure.name, figure.split, figure.level, figure.axis)
        rows.setdefault(place, {})[figure.metric] = figure
    body: list[tuple[Cell, ...]] = []
    for (who, split, level, axis), found in rows.items():
        first = axis if name == "per axis" else who
        seeds = max(figure.seeds for figure in found.values())
        shown = [found.get(metric) for metric in PRINTED_METRICS]
        body.append((first, split, level, f"ours, {_seeds(seeds)}", *map(_ours, shown)))
        if any(figure is not None and figure.printed is not None for figure in shown):
            body.append(("", "", "", "printed", *map(_printed, shown)))
    columns = ("axis" if name == "per axis" else "name", "split", "level", "whose")
    return Table(TITLES[name], (*columns, *map(str.upper, PRINTED_METRICS)), tuple(body), _notes(figures))


def _notes(figures: Sequence[PaperFigure]) -> tuple[str, ...]:
    compared = [figure.inside for figure in figures if figure.inside is not None]
    known = all(figure.printed is not None for figure in figures)
    counted = f"{sum(compared)} of {len(compared)} printed values lie in our intervals." if compared else ""
    about = dict.fromkeys(f"{f.split}, {f.level}: {f.reason}" for f in figures if f.reason)
    return tuple(note for note in (SAID_OF_INTERVALS, counted, "" if known else NOT_KNOWN, *about) if note)


def _ours(figure: PaperFigure | None) -> Cell:
    if figure is None:
        return None
    interval = "" if figure.low is None else f" [{figure.low:.3f}, {figure.high:.3f}]"
    return f"{figure.value:.3f}{interval}" + (f" ± {figure.deviation:.3f}" if figure.deviation else "")


def _printed(figure: PaperFigure | None) -> Cell:
    if figure is None or figure.printed is None:
        return None
    where = {True: " inside", False: " outside", None: ""}[figure.inside]
    return f"{figure.printed:.3f}{where}"


def _seeds(count: int) -> str:
    return f"{count} seed{'s' * (count != 1)}"


def _table_of(content: dict[str, Any]) -> Table:
    rows = tuple(tuple(row) for row in content["rows"])
    return Table(content["title"], tuple(content["columns"]), rows, tuple(content["notes"]))
