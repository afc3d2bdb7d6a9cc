"""Score the runs and ensembles of a work folder, write the rows down, and put them into tables."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from functools import partial
from pathlib import Path

from mmmos.heads.ensemble import FURTHER, TABLE4, Ensemble, default_rule
from mmmos.heads.permutation import PERMUTATIONS
from mmmos.heads.recipe_file import Choice
from mmmos.heads.results import tables
from mmmos.heads.results.baselines import baselines
from mmmos.heads.results.comparison import Comparison, compare
from mmmos.heads.results.evaluation import EVERYWHERE, Row, evaluate, main_axis
from mmmos.heads.results.experiment import ENSEMBLE_FILE, SAID_OF_AXES, SAID_OF_OOF, Experiment
from mmmos.heads.results.nested import predict
from mmmos.heads.results.published import baseline_rows, baseline_table, caveats, stored_baselines
from mmmos.heads.results.scores import contenders, score, times_test_was_scored
from mmmos.heads.runs import Run
from mmmos.store import files, noted
from mmmos.store.console import kept_if_writable
from mmmos.store.predictions import Predictions
from mmmos.store.schema import OOF
from mmmos.store.table import Table

ENSEMBLE = "ensemble"
"""How the ensemble of work/ensemble.json is called on the command line."""


@dataclass(frozen=True)
class Assessment:
    """What was scored.

    Parameters
    ----------
    rows
        Of every run, ensemble and baseline.
    comparisons
        Paired comparisons between them.
    tables
        Of both.
    labels
        Run or ensemble id -> what a reader calls it.
    beside
        What a reader calls it -> id of each predictor that stands beside the runs in their tables.
    caveats
        To be said wherever a figure appears.
    notes
        Further sentences for the reader.
    written
        What -> the file in the work folder that keeps it, of those that could be written.
    """

    rows: tuple[Row, ...]
    comparisons: tuple[Comparison, ...]
    tables: tuple[Table, ...]
    labels: dict[str, str]
    beside: dict[str, str]
    caveats: tuple[str, ...]
    notes: tuple[str, ...]
    written: Mapping[str, Path]


def select_ensemble(experiment: Experiment, rule: str = "") -> Ensemble:
    """Choose the ensemble by `rule` and keep it as work/ensemble.json.

    Left out, the rule is that of work/recipe.json, else the default one.
    """
    data = experiment.table.id
    choice = Choice(data, rule) if rule else Choice.of(experiment.work, data)
    chosen = choice.chooser({run.id for run in experiment.runs}, experiment.run_set)(experiment.pool)
    chosen.save(experiment.work / ENSEMBLE_FILE)
    return chosen


def load_ensemble(experiment: Experiment) -> Ensemble:
    """The ensemble of a work folder, chosen by the default rule where there is none yet.

    Where it was chosen among another set of runs than the experiment's, its rule is followed among these,
    and what is kept stays as it is.
    """
    path = experiment.work / ENSEMBLE_FILE
    ensemble = Ensemble.load(path) if path.is_file() else select_ensemble(experiment)
    if ensemble.data != experiment.table.id:
        raise ValueError(
            f"{path} was chosen on {ensemble.data}, the clip table is {experiment.table.id}: "
            f"run `python pipeline.py ensemble --work {experiment.work}` again"
        )
    if ensemble.runs is not None and ensemble.runs.name != experiment.run_set.name:
        choice = Choice(experiment.table.id, ensemble.rule)
        runs = {run.id for run in experiment.runs}
        return choice.chooser(runs, experiment.run_set)(experiment.pool)
    return ensemble


def evaluate_runs(
    experiment: Experiment, runs: Sequence[str] = (), against: str = "", intervals: bool = True
) -> Assessment:
    """Score runs on dev, PAM and test beside the baselines, and write work/evaluation.csv, comparison.csv.

    Published predictors stand beside them, too, where their predictions are stored (see `published`).

    Parameters
    ----------
    experiment
        The work folder's.
    runs
        Run ids, beginnings of them or titles, or "ensemble"; by default the ensemble of work/ensemble.json
        (chosen by the default rule where there is none yet).
    against
        Another such name; every one of `runs` is compared with it, paired by clip.  By default the single
        run that is best on PAM (or else dev).
    intervals
        False leaves intervals and p-values out, which is much faster.
    """
    experiment.held_out()
    names = list(dict.fromkeys(runs)) or [ENSEMBLE]
    subjects = [_subject(experiment, name) for name in names]
    other = _subject(experiment, against) if against else _best_single(experiment)
    ridge = [_subject(experiment, experiment.ridge.id)] if experiment.ridge else []
    rows: list[Row] = []
    comparisons: list[Comparison] = []
    for split in experiment.splits:
        clips = experiment.table.of(split)
        for subject in {s.id: s for s in [*subjects, other, *ridge]}.values():
            rows += subject.rows(split, intervals)
        rows += experiment.shown(evaluate(baselines(experiment.table, split), clips, intervals=False))
        for subject in subjects:
            if subject.id != other.id:
                pair = subject.predictions(split), other.predictions(split)
                found = compare(*pair, clips, PERMUTATIONS if intervals else 0)
                comparisons += experiment.shown(found)
    published = {name: baseline_rows(experiment, name) for name in stored_baselines(experiment)}
    rows += [row for of_one in published.values() for row in of_one]
    written = _write("all rows", experiment.work / "evaluation.csv", Row, rows)
    written |= _write("comparisons", experiment.work / "comparison.csv", Comparison, comparisons)
    beside = dict([*(("ridge regression", one.id) for one in ridge), *((name, name) for name in published)])
    shown = [t for s in subjects for t in _tables_of(s, rows, experiment, beside)]
    for subject in subjects:
        if of_subject := [c for c in comparisons if c.run == subject.id]:
            shown.append(tables.differences(of_subject, f"{subject.label} against {other.label}"))
    labels = {subject.id: subject.label for subject in [*subjects, other]}
    shown += [baseline_table(rows, of_one, name, labels) for name, of_one in published.items()]
    return _assessment(experiment, rows, comparisons, shown, labels, written, beside)


def compare_ensembles(
    experiment: Experiment,
    rules: Sequence[str] = (*TABLE4, *FURTHER),
    against: str = "",
    intervals: bool = True,
) -> Assessment:
    """Table IV for the runs of a work folder: each rule's ensemble scored, compared with that of `against`.

    Writes work/ensembles.csv, the rows of all of them.

    Raises
    ------
    ValueError
        Where the rule `against` (left out: the default one) cannot be followed.
    """
    experiment.held_out()
    against = against or default_rule(experiment.pool)
    found = contenders(experiment, tuple(dict.fromkeys([*rules, against])))
    chosen = {rule: ensemble for rule, ensemble in found.items() if isinstance(ensemble, Ensemble)}
    if against not in chosen:
        raise ValueError(f"nothing to compare with: {against}: {found[against]}")
    rows = [
        row
        for ensemble in {ensemble.id: ensemble for ensemble in chosen.values()}.values()
        for split in experiment.splits
        for row in score(ensemble, experiment, split, intervals).rows
    ]
    comparisons = _against(experiment, chosen, against, main_axis(row.axis for row in rows), intervals)
    written = _write("all rows", experiment.work / "ensembles.csv", Row, rows)
    table = tables.ensembles(experiment, found, rows, comparisons, against)
    # Rules that choose the same runs share an entry.
    labels: dict[str, str] = {}
    for rule, ensemble in chosen.items():
        name = {**TABLE4, **FURTHER}.get(rule, rule)
        labels[ensemble.id] = f"{labels[ensemble.id]} = {name}" if ensemble.id in labels else name
    return _assessment(experiment, rows, list(comparisons.values()), [table], labels, written)


def figures_by_split(compared: Assessment) -> list[tuple[str, dict[str, Row]]]:
    """Each ensemble's label and its SRCC rows by split, at the levels at which the paper prints them."""
    axis = main_axis(row.axis for row in compared.rows)
    found: dict[str, dict[str, Row]] = {}
    for row in compared.rows:
        level = tables.TABLE3_LEVELS[row.split]
        if (row.level, row.domain, row.axis, row.metric) == (level, EVERYWHERE, axis, "srcc"):
            found.setdefault(row.run, {})[row.split] = row
    return [(compared.labels[run], by_split) for run, by_split in found.items()]


def _against(
    experiment: Experiment, chosen: dict[str, Ensemble], against: str, axis: str, intervals: bool
) -> dict[str, Comparison]:
    """Rule -> its ensemble's system-level test SRCC compared with that of `against`."""
    if "test" not in experiment.splits:
        return {}
    clips, other = experiment.table.of("test"), chosen[against]
    theirs = other.predict(experiment.everything, "test")
    swaps = PERMUTATIONS if intervals else 0
    where = ("system", EVERYWHERE, "srcc")
    result = {}
    for rule, ensemble in chosen.items():
        if ensemble.id != other.id:
            pairs = compare(ensemble.predict(experiment.everything, "test"), theirs, clips, swaps, only=axis)
            result[rule] = next(c for c in pairs if (c.level, c.domain, c.metric) == where)
    return result


def _assessment(
    experiment: Experiment,
    rows: Sequence[Row],
    comparisons: Sequence[Comparison],
    shown: Sequence[Table],
    labels: dict[str, str],
    written: dict[str, Path],
    beside: dict[str, str] | None = None,
) -> Assessment:
    notes = [SAID_OF_OOF] if OOF in experiment.splits else []
    if experiment.other_data:
        notes.append(f"{len(experiment.other_data)} runs of other clip tables were left out")
    if not experiment.together:
        notes.append(SAID_OF_AXES)
    if any(times := times_test_was_scored(experiment)):
        notes.append(
            f"the test split was looked at {sum(times)} times so far: "
            f"{times[0]} ensembles and {times[1]} runs"
        )
    beside = beside or {}
    published = [name for name in stored_baselines(experiment) if name in beside]
    said = dict.fromkeys([*experiment.caveats, *(c for name in published for c in caveats(experiment, name))])
    made = tuple(rows), tuple(comparisons), tuple(shown)
    return Assessment(*made, labels, beside, tuple(said), tuple(notes), written)


def _write(
    what: str, path: Path, kind: type[Row | Comparison], records: Sequence[Row | Comparison]
) -> dict[str, Path]:
    """Rows or comparisons in long form; an undefined figure is an empty cell.

    Returns `Assessment.written`: nothing where the folder is read-only, which is said.
    """
    columns = [field.name for field in fields(kind)]
    with kept_if_writable(path), noted.noting(path.parent, path.name):
        files.write_csv(path, columns, ([*asdict(record).values()] for record in records))
        return {what: path}
    return {}


@dataclass(frozen=True)
class _Subject:
    """A run or the ensemble; its predictions by split, and its rows by split, with intervals or without."""

    id: str
    label: str
    predictions: Callable[[str], Predictions]
    rows: Callable[[str, bool], Sequence[Row]]


def _subject(experiment: Experiment, name: str) -> _Subject:
    one: Ensemble | Run = load_ensemble(experiment) if name == ENSEMBLE else experiment.run(name)

    def scored(split: str, intervals: bool) -> Sequence[Row]:
        return score(one, experiment, split, intervals).rows

    if isinstance(one, Run):
        return _Subject(one.id, one.title, one.predictions, scored)
    return _Subject(one.id, f"ensemble {one.rule}", partial(predict, one, experiment), scored)


def _best_single(experiment: Experiment) -> _Subject:
    split = next((s for s in ("pam", "dev", OOF) if s in experiment.pool.scores), "")
    if not split:
        return _subject(experiment, experiment.runs[0].id)
    return _subject(experiment, experiment.pool.ranked(split)[0])


def _tables_of(
    subject: _Subject, rows: Sequence[Row], experiment: Experiment, beside: dict[str, str]
) -> list[Table]:
    shown: list[Table] = []
    for split in experiment.splits:
        shown += tables.figures(rows, subject.id, split, subject.label, beside)
        within = tables.domains(rows, subject.id, split)
        shown += [within] if within else []
    return shown
