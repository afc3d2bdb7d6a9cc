"""A work folder as evaluation sees it: the clip table, the whole runs, what they predict.  No torch.

Reads only clips.json, runs/*/config.json, runs/*/record.json and runs/*/predictions-*.parquet, so results
can be looked at where neither features nor heads nor audio are.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np

from mmmos.heads.metrics import Array
from mmmos.heads.pool import SELECTION_SPLITS, Pool, agreement
from mmmos.heads.run_sets import ALL, LAST, RunSet, run_set
from mmmos.heads.runs import RECORD, NotStoredError, Run, runs_folder
from mmmos.heads.together import has_composite
from mmmos.store import sealed
from mmmos.store.clips import ClipTable, load_table
from mmmos.store.predictions import Predictions
from mmmos.store.schema import COMPOSITE, FACTS_BEFORE, OOF


class HasAxis(Protocol):
    """A figure about one axis, or about the composite."""

    @property
    def axis(self) -> str: ...


Figure = TypeVar("Figure", bound=HasAxis)

EVERY_RUN = RunSet(ALL, ())
SCORED_SPLITS = ("dev", "pam", "test")

SAID_OF_OOF = (
    "oof: no split was held out, so these are out-of-fold figures: each clip of train as predicted by heads "
    "that saw none of its group. An ensemble is chosen once more without each fold before it predicts it; "
    "which of several rules or heads is best, read off these figures, is flattered a little."
)
"""To be said wherever such figures stand."""


SAID_OF_AXES = (
    "the axes oppose each other, or are in different units, so no composite is formed: runs are ranked by "
    "the mean of the axes' own SRCC"
)

RIDGE = "ridge"
"""The aggregator whose runs stand beside every figure."""
ENSEMBLE_FILE = "ensemble.json"


@dataclass(frozen=True)
class Experiment:
    """The table and the runs trained on it.

    Parameters
    ----------
    work, table
        The work folder and its clip table.
    runs
        Those that count: of `run_set`.
    other_data
        Ids of runs that belong to other tables.
    outside
        Runs of this table that are not in `run_set`; they can still be asked for by name.
    run_set
        Which runs count.
    """

    work: Path
    table: ClipTable
    runs: tuple[Run, ...]
    other_data: tuple[str, ...] = ()
    outside: tuple[Run, ...] = ()
    run_set: RunSet = EVERY_RUN

    @property
    def everything(self) -> tuple[Run, ...]:
        """All runs of this table, whether they count or not."""
        return (*self.runs, *self.outside)

    @property
    def pooled(self) -> str:
        """ "16 runs (paper)", or "16 runs (paper; 8 others do not count)"."""
        left = len(self.outside)
        others = f"; {left} other{' does' if left == 1 else 's do'} not count" if left else ""
        return f"{len(self.runs)} run{'s' * (len(self.runs) != 1)} ({self.run_set.name}{others})"

    def over(self, chosen: str) -> Experiment:
        """The same with another set of runs (see `run_sets.run_set`)."""
        found = run_set(chosen, self.everything, self.work)
        ordered = sorted(self.everything, key=lambda run: (run.title, run.id))
        inside = tuple(run for run in ordered if run.id in found.runs)
        outside = tuple(run for run in ordered if run.id not in found.runs)
        return replace(self, runs=inside, outside=outside, run_set=found)

    @property
    def caveats(self) -> tuple[str, ...]:
        """What must be said wherever these results appear, of the table and of every run."""
        of_runs = [caveat for run in self.runs for caveat in run.record.get("caveats", ())]
        return tuple(dict.fromkeys([*self.table.caveats, *of_runs]))

    @cached_property
    def splits(self) -> tuple[str, ...]:
        """Those of dev, pam and test with rated clips and predictions; where none is, "oof" if stored."""
        scored = [
            split
            for split in (*SCORED_SPLITS, OOF)
            if any(run.has(split) for run in self.runs) and _rated(self.table, self.table.of(split))
        ]
        return tuple(split for split in scored if split != OOF) or tuple(scored)

    @cached_property
    def together(self) -> bool:
        """Whether the axes have a composite, see `heads.together`."""
        axes = self.table.axes.names
        return len(axes) == 1 or has_composite(self.table.scores(), axes)

    def shown(self, figures: Iterable[Figure]) -> list[Figure]:
        """Rows, comparisons or series without those of a composite that says nothing."""
        return [one for one in figures if self.together or one.axis != COMPOSITE]

    def held_out(self) -> tuple[str, ...]:
        """`splits`; NotStoredError, which says what to do, where there is nothing to score."""
        if not self.splits:
            raise NotStoredError(
                f"nothing to score: the table of {self.work} has no rated clips in dev, pam or test, and no "
                f"out-of-fold predictions are stored. Make them with the options that the heads were trained "
                f"with and --folds: `python pipeline.py heads --folds 5 --work {self.work}`; or hold clips "
                "out with `extract --split 0.8`"
            )
        return self.splits

    @cached_property
    def ridge(self) -> Run | None:
        """A plain ridge regression among the runs, on means and deviations: what a head has to beat."""
        found = [run for run in self.everything if run.config.aggregator == RIDGE]
        return min(found, key=lambda run: (run.config.reads != "statistics", run.title), default=None)

    @cached_property
    def gflop(self) -> dict[str, float]:
        """Encoder name -> GFLOP a crop of the full-size encoder, as the runs' own specs say."""
        known = {name: gflop for name, (gflop, _) in FACTS_BEFORE.items()}
        for run in self.runs:
            specs = run.record.get("encoders", {}).values()
            known |= {spec["name"]: spec["gflop"] for spec in specs if spec.get("gflop") is not None}
        return known

    def run(self, name: str) -> Run:
        """A run by its id, the beginning of it, or its title; ValueError lists the known."""
        found = [run for run in self.runs if name in (run.id, run.title)]
        found = found or [run for run in self.everything if name in (run.id, run.title)]
        found = found or [run for run in self.everything if run.id.startswith(name)]
        if len(found) != 1:
            known = "\n  ".join(f"{run.id}  {run.title}" for run in self.everything)
            raise ValueError(f"{len(found)} runs are called {name!r}; known:\n  {known}")
        return found[0]

    @cached_property
    def pool(self) -> Pool:
        """What selectors may look at: dev, PAM and out-of-fold predictions, never test."""
        by_id = {clip.id: clip for clip in self.table}
        scores: dict[str, dict[str, float | None]] = {}
        predictions: dict[str, dict[str, Array]] = {}
        truth = {}
        for split in SELECTION_SPLITS:
            stored = {run.id: run.predictions(split) for run in self.runs if run.has(split)}
            if not stored:
                continue
            first = next(iter(stored.values()))
            strange = [clip_id for clip_id in first.clip_ids if clip_id not in by_id]
            if strange:
                raise ValueError(f"predictions on {split} are for clip {strange[0]!r}, which the table lacks")
            rated = self.table.scores([by_id[clip_id] for clip_id in first.clip_ids], first.axes)
            # The order in memory decides how sums are rounded, and so the last digit of stacked weights, from
            # which the ids of ensembles are made: it stays as it was when the first ones were stored.
            rated = np.asfortranarray(rated)
            if not (rated == rated).any():
                continue
            truth[split] = rated
            predictions[split] = {run: _aligned(one, first) for run, one in stored.items()}
            scores[split] = {
                run: agreement(values, rated, together=self.together)
                for run, values in predictions[split].items()
            }
        encoders = {run.id: run.encoders for run in self.runs}
        return Pool(scores, predictions, truth, encoders, self.gflop, self.together)


def open_experiment(work: Path, runs: str = "") -> Experiment:
    """Read a work folder; NotStoredError says what is missing and which command makes it.

    Parameters
    ----------
    runs
        Which runs count (see `run_sets.run_set`); left out: those that the kept ensemble was chosen among,
        or without one the grid that was trained last.
    """
    work, asked = Path(work), runs
    if not (work / "clips.json").is_file():
        raise NotStoredError(
            f"{work} has no clips.json: run `python pipeline.py extract --clips TABLE --work {work}`"
        )
    table = load_table(work / "clips.json")
    found = [Run.open(path.parent) for path in sorted(runs_folder(work).glob(f"*/{RECORD}"))]
    ours = sorted((run for run in found if run.config.data == table.id), key=lambda run: (run.title, run.id))
    others = tuple(run.id for run in found if run.config.data != table.id)
    if not ours:
        why = f": the {len(others)} there belong to another clip table than {table.id}" if others else ""
        raise NotStoredError(f"{work} has no trained runs{why}; run `python pipeline.py heads --work {work}`")
    everything = Experiment(work, table, tuple(ours), others)
    return everything.over(asked or set_of_ensemble(work, table.id) or LAST)


def set_of_ensemble(work: Path, data: str) -> str:
    """The name of the set that the ensemble of a work folder was chosen among; "" where that is not known."""
    path = Path(work) / ENSEMBLE_FILE
    try:
        kept = sealed.read_object(path) if path.is_file() else {}
        return str(kept["runs"]["name"]) if kept.get("data") == data and kept.get("runs") else ""
    except (AttributeError, KeyError, TypeError, ValueError):
        return ""  # whoever needs the ensemble itself will say what is wrong with it


def _aligned(one: Predictions, first: Predictions) -> Array:
    """Values in the order of `first`; ValueError where the clips or axes differ."""
    if (set(one.clip_ids), one.axes) != (set(first.clip_ids), first.axes):
        raise ValueError(
            f"runs {first.run} and {one.run} predict different clips or axes on {one.split}; train them anew"
        )
    return one.of(first.clip_ids)


def _rated(table: ClipTable, clips: Sequence[Any]) -> bool:
    scores = table.scores(clips)
    return bool((scores == scores).any())
