"""What `evaluate` and `ensemble --compare` do: score a work folder's runs and write the rows down."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from mmmos.heads.ensemble import (
    FURTHER,
    TABLE4,
    Ensemble,
    choose_ensemble,
    default_rule,
)
from mmmos.heads.results import tables
from mmmos.heads.results.baselines import baselines
from mmmos.heads.results.comparison import Comparison, compare
from mmmos.heads.results.evaluation import EVERYWHERE, RESAMPLES, Row, evaluate
from mmmos.heads.results.experiment import Experiment, open_experiment
from mmmos.heads.results.scores import contenders, score, times_test_was_scored
from mmmos.heads.results.table import axis_of_record
from mmmos.store import files
from mmmos.store.predictions import Predictions
from mmmos.store.table import Table

ENSEMBLE = "ensemble"
"""How the ensemble of work/ensemble.json is called on the command line."""


@dataclass(frozen=True)
class Assessment:
    """What was scored: rows of every subject and baseline, paired comparisons, and tables of them.

    labels: run or ensemble id -> what a reader calls it; caveats: to be said wherever a figure appears.
    """

    rows: tuple[Row, ...]
    comparisons: tuple[Comparison, ...]
    tables: tuple[Table, ...]
    labels: dict[str, str]
    caveats: tuple[str, ...]
    notes: tuple[str, ...]


def select_ensemble(work: Path, rule: str = "") -> Ensemble:
    """Choose the ensemble by `rule` (left out: the default one) and keep it as work/ensemble.json."""
    experiment = open_experiment(work)
    chosen = choose_ensemble(experiment.pool, experiment.table.id, rule)
    chosen.save(experiment.work / "ensemble.json")
    return chosen


def load_ensemble(experiment: Experiment) -> Ensemble:
    """The ensemble of a work folder, chosen by the default rule where there is none yet."""
    path = experiment.work / "ensemble.json"
    ensemble = Ensemble.load(path) if path.is_file() else select_ensemble(experiment.work)
    if ensemble.data != experiment.table.id:
        raise ValueError(
            f"{path} was chosen on {ensemble.data}, the clip table is {experiment.table.id}: "
            f"run `python pipeline.py ensemble --work {experiment.work}` again"
        )
    return ensemble


def members_table(work: Path, ensemble: Ensemble) -> Table:
    """The members of an ensemble with their weights and selection scores."""
    experiment = open_experiment(work)
    runs = {run.id: run for run in experiment.runs}
    splits = tuple(experiment.pool.scores)
    body = [
        (runs[member].title, weight, *(experiment.pool.scores[s].get(member) for s in splits), member)
        for member, weight in zip(ensemble.members, ensemble.weights, strict=True)
    ]
    columns = ("run", "weight", *(f"{split} SRCC" for split in splits), "id")
    return Table(f"Ensemble {ensemble.rule}: {len(body)} of {len(runs)} runs", columns, tuple(body))


def evaluate_work(
    work: Path, runs: Sequence[str] = (), against: str = "", resamples: int = RESAMPLES
) -> Assessment:
    """Score runs on dev, PAM and test beside the baselines, and write work/evaluation.csv, comparison.csv.

    runs:    run ids, beginnings of them or titles, or "ensemble"; by default the ensemble of
             work/ensemble.json (chosen by the default rule where there is none yet).
    against: another such name; every subject is compared with it, pair by pair; by default the single
             run that is best on PAM (or else dev).
    """
    experiment = open_experiment(work)
    names = list(dict.fromkeys(runs)) or [ENSEMBLE]
    subjects = {name: _subject(experiment, name) for name in names}
    other = _subject(experiment, against) if against else _best_single(experiment)
    labels = {subject.id: subject.label for subject in [*subjects.values(), other]}
    rows: list[Row] = []
    comparisons: list[Comparison] = []
    for split in experiment.splits:
        clips = experiment.table.of(split)
        for subject in {s.id: s for s in [*subjects.values(), other]}.values():
            rows += subject.rows(split, resamples)
        rows += evaluate(baselines(experiment.table, split), clips, resamples=0)
        for subject in subjects.values():
            if subject.id != other.id:
                pair = subject.predictions(split), other.predictions(split)
                comparisons += compare(*pair, clips, resamples)
    shown = [
        table
        for subject in subjects.values()
        for split in experiment.splits
        for table in (
            *tables.figures(rows, subject.id, split, subject.label),
            tables.domains(rows, subject.id, split),
        )
        if table is not None
    ]
    for subject in subjects.values():
        of_subject = [c for c in comparisons if c.run == subject.id]
        if of_subject:
            shown.append(tables.differences(of_subject, f"{subject.label} against {other.label}"))
    write_csv(experiment.work / "evaluation.csv", rows)
    write_csv(experiment.work / "comparison.csv", comparisons)
    return Assessment(
        tuple(rows), tuple(comparisons), tuple(shown), labels, experiment.caveats, _notes(experiment)
    )


def compare_ensembles(
    work: Path,
    rules: Sequence[str] = (*TABLE4, *FURTHER),
    against: str = "",
    resamples: int = RESAMPLES,
) -> Assessment:
    """Table IV for the runs of a work folder: each rule's ensemble scored, and paired with that of `against`.

    Writes work/ensembles.csv, the rows of all of them.
    """
    experiment = open_experiment(work)
    against = against or default_rule(experiment.pool)
    found = contenders(experiment, tuple(dict.fromkeys([*rules, against])))
    chosen = {rule: ensemble for rule, ensemble in found.items() if isinstance(ensemble, Ensemble)}
    if against not in chosen:
        raise ValueError(f"nothing to compare with: {against}: {found[against]}")
    rows: dict[str, list[Row]] = {}
    for ensemble in chosen.values():
        if ensemble.id not in rows:
            rows[ensemble.id] = [
                row for s in experiment.splits for row in score(ensemble, experiment, s, resamples).rows
            ]
    everything = [row for of_one in rows.values() for row in of_one]
    comparisons: dict[str, Comparison] = {}
    if "test" in experiment.splits:
        clips, other = experiment.table.of("test"), chosen[against].predict(experiment.runs, "test")
        axis = axis_of_record(everything)
        for rule, ensemble in chosen.items():
            if ensemble.id != chosen[against].id:
                pairs = compare(ensemble.predict(experiment.runs, "test"), other, clips, resamples, only=axis)
                where = ("system", EVERYWHERE, "srcc")
                comparisons[rule] = next(c for c in pairs if (c.level, c.domain, c.metric) == where)
    labels: dict[str, str] = {}
    for rule, ensemble in chosen.items():
        name = {**TABLE4, **FURTHER}.get(rule, rule)
        labels[ensemble.id] = f"{labels[ensemble.id]} = {name}" if ensemble.id in labels else name
    table = tables.ensembles(experiment, found, everything, comparisons, against)
    write_csv(experiment.work / "ensembles.csv", everything)
    paired = tuple(comparisons.values())
    return Assessment(tuple(everything), paired, (table,), labels, experiment.caveats, _notes(experiment))


def write_csv(path: Path, records: Iterable[Any]) -> None:
    """Rows or comparisons in long form; an undefined figure is an empty cell."""
    frame = pd.DataFrame([asdict(record) for record in records])
    files.write_text(path, frame.to_csv(index=False))


@dataclass(frozen=True)
class _Subject:
    id: str
    label: str
    predictions: Callable[[str], Predictions]
    rows: Callable[[str, int], list[Row]]


def _subject(experiment: Experiment, name: str) -> _Subject:
    if name != ENSEMBLE:
        run = experiment.run(name)

        def rows_of(split: str, resamples: int) -> list[Row]:
            return evaluate([run.predictions(split)], experiment.table.of(split), resamples)

        return _Subject(run.id, run.title, run.predictions, rows_of)
    ensemble = load_ensemble(experiment)

    def scored(split: str, resamples: int) -> list[Row]:
        return list(score(ensemble, experiment, split, resamples).rows)

    return _Subject(
        ensemble.id, f"ensemble {ensemble.rule}", partial(ensemble.predict, experiment.runs), scored
    )


def _best_single(experiment: Experiment) -> _Subject:
    split = next((s for s in ("pam", "dev") if s in experiment.pool.scores), "")
    if not split:
        return _subject(experiment, experiment.runs[0].id)
    return _subject(experiment, experiment.pool.ranked(split)[0])


def _notes(experiment: Experiment) -> tuple[str, ...]:
    notes = [f"{len(experiment.other_data)} runs of other clip tables were left out"] * bool(
        experiment.other_data
    )
    times = times_test_was_scored(experiment)
    if times:
        notes.append(f"{times} different ensembles have been scored on this test split so far")
    return tuple(notes)
