"""The paper's tables and ours, from rows: one form for the terminal, the notebooks and the report."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from mmmos.heads.ensemble import FURTHER, TABLE4, Ensemble
from mmmos.heads.metrics import LEVELS, METRICS
from mmmos.heads.permutation import holm
from mmmos.heads.results.baselines import BASELINES, baseline_of
from mmmos.heads.results.comparison import Comparison
from mmmos.heads.results.evaluation import EVERYWHERE, Row, index_rows, main_axis, parts
from mmmos.heads.results.experiment import Experiment
from mmmos.heads.selectors import encoder_cost
from mmmos.store.clips import ClipTable
from mmmos.store.schema import COMPOSITE
from mmmos.store.table import Cell, Table

TABLE3_LEVELS = {"dev": "utterance", "pam": "utterance", "test": "system", "oof": "utterance"}
"""The level at which the paper prints each split (Table III)."""

P_NOTE = (
    "p: share of random swaps of the two runs' predictions that bring as large a difference; p (Holm): the "
    "same corrected for the number of comparisons in this table."
)

NOT_KEPT = "not among the figures that were kept when this split was scored"
"""Of a metric that is newer than the kept figures."""


def configurations(experiment: Experiment, rows: Sequence[Row], title: str = "Configurations") -> Table:
    """Table III: every run's composite MSE, LCC, SRCC, KTAU on dev and PAM (clips) and test (systems)."""
    found, axis = index_rows(rows), main_axis(row.axis for row in rows)
    splits = experiment.splits
    columns = [
        "encoders",
        "aggregator",
        "loss",
        *(f"{split} {m.upper()}" for split in splits for m in METRICS),
    ]
    # Tuned runs and seeds share their first cells; then only the id tells them apart.
    cells = [(run.encoders, run.config.aggregator, run.config.loss) for run in experiment.runs]
    named = len(set(cells)) < len(cells)
    columns += ["run"] * named
    body: list[tuple[Cell, ...]] = []
    for run in experiment.runs:
        figures = [
            value_of(found.get((run.id, split, TABLE3_LEVELS[split], EVERYWHERE, axis, metric)))
            for split in splits
            for metric in METRICS
        ]
        if any(figure is not None for figure in figures):
            body.append(
                ("+".join(run.encoders), run.config.aggregator, run.config.loss, *figures, *[run.id] * named)
            )
    levels = ", ".join(
        f"{split} over {'clips' if TABLE3_LEVELS[split] == 'utterance' else 'systems'}" for split in splits
    )
    return Table(title, tuple(columns), tuple(body), (f"{axis_note(axis)}; {levels}.",))


def encoders(experiment: Experiment, rows: Sequence[Row], aggregator: str = "mlp", loss: str = "ut") -> Table:
    """Table II: one line for each set of encoders under one aggregator and loss, the cheapest first."""
    found, splits = index_rows(rows), experiment.splits
    axis = main_axis(row.axis for row in rows)
    body: list[tuple[Cell, ...]] = []
    for run in experiment.runs:
        if (run.config.aggregator, run.config.loss) == (aggregator, loss):
            where = [(run.id, split, TABLE3_LEVELS[split], EVERYWHERE, axis) for split in splits]
            shown = [value_of(found.get((*place, metric))) for place in where for metric in ("mse", "srcc")]
            body.append(("+".join(run.encoders), round(encoder_cost(run.encoders, experiment.gflop)), *shown))
    named = [f"{split} {metric}" for split in splits for metric in ("MSE", "SRCC")]
    columns = ("encoders", "GFLOP/crop", *named)
    notes = (
        f"{axis_note(axis)}; aggregator {aggregator}, loss {loss}. Train all seven sets with "
        "`python pipeline.py heads --grid encoders`.",
    )
    return Table("Sets of encoders", columns, tuple(sorted(body, key=lambda line: (line[1], line[0]))), notes)


def members(experiment: Experiment, ensemble: Ensemble) -> Table:
    """The members of an ensemble with their weights and selection scores."""
    runs = {run.id: run for run in experiment.everything}
    scores = experiment.pool.scores
    body = [
        (runs[member].title, weight, *(of_split.get(member) for of_split in scores.values()), member)
        for member, weight in zip(ensemble.members, ensemble.weights, strict=True)
    ]
    columns = ("run", "weight", *(f"{split} SRCC" for split in scores), "id")
    return Table(f"Ensemble {ensemble.rule}: {len(body)} of {experiment.pooled}", columns, tuple(body))


def figures(
    rows: Sequence[Row], run: str, split: str, title: str, beside: Mapping[str, str] | None = None
) -> list[Table]:
    """Every axis of a run on a split, a table a level: the run, the human ceiling, baselines, and what else
    stands `beside` (label -> run id).
    """
    found = index_rows(rows)
    others = {label: other for label, other in (beside or {}).items() if other != run}
    axes = _axes_of(rows, run, split)
    result: list[Table] = []
    for level in LEVELS:
        body: list[tuple[Cell, ...]] = []
        reasons: dict[str, list[tuple[str, str]]] = {}
        for axis in axes:
            of_axis = {metric: found.get((run, split, level, EVERYWHERE, axis, metric)) for metric in METRICS}
            trivial = [found.get((baseline_of(m).run, split, level, EVERYWHERE, axis, m)) for m in METRICS]
            body.append((axis, title, *(with_interval(row) for row in of_axis.values())))
            ceilings = (rounded(row.ceiling if row else None) for row in of_axis.values())
            body.append(("", "human ceiling", *ceilings))
            body.append(("", "baseline", *(rounded(value_of(row)) for row in trivial)))
            for label, other in others.items():
                theirs = [found.get((other, split, level, EVERYWHERE, axis, m)) for m in METRICS]
                body.append(("", label, *(with_interval(row) for row in theirs)))
            for metric, row in of_axis.items():
                reason = NOT_KEPT if row is None else row.reason
                if reason:
                    reasons.setdefault(reason, []).append((axis, metric))
        n = next((r.n for r in rows if (r.run, r.split, r.level) == (run, split, level)), 0)
        what = f"{n} clips" if level == LEVELS[0] else f"{n} systems"
        columns = ("axis", "", *(f"{metric.upper()} [95 %]" for metric in METRICS))
        why = [f"{reason}: {_where(where, axes)}." for reason, where in reasons.items()]
        notes = (*why, *(_figure_notes() if level == LEVELS[-1] else ()))
        result.append(Table(f"{split}, {level} level, {what}", columns, tuple(body), notes))
    return result


def raters(table: ClipTable, split: str) -> Table:
    """How far the raters agree, axis by axis: the noise of their mean and what it leaves to a predictor."""
    body: list[tuple[Cell, ...]] = []
    for part in parts(table.of(split), table.axes.names):
        if (part.level, part.domain) == (LEVELS[0], EVERYWHERE) and part.ceiling.n:
            c = part.ceiling
            body.append((part.axis, c.n, c.of("noise"), c.of("lcc"), c.of("srcc"), c.split_half))
    columns = ("axis", "clips", "noise MSE", "highest LCC", "highest SRCC", "split-half SRCC")
    notes = (
        "Noise MSE: the variance that another panel of as many raters would have brought.",
        "Split-half: one half of the raters against the other; highest: corrected to a faultless predictor.",
    )
    return Table(
        f"Agreement of the raters, {split}", columns, tuple(body), notes if body else ("No single ratings.",)
    )


def domains(rows: Sequence[Row], run: str, split: str, metric: str = "srcc") -> Table | None:
    """One metric of a run within each domain, utterance level; None where there is one domain only."""
    found = index_rows(rows)
    names = sorted({r.domain for r in rows if (r.run, r.split) == (run, split)} - {EVERYWHERE})
    if not names:
        return None
    body: list[tuple[Cell, ...]] = []
    for axis in _axes_of(rows, run, split):
        of_axis = [found.get((run, split, LEVELS[0], name, axis, metric)) for name in (EVERYWHERE, *names)]
        body.append((axis, *(with_interval(row, 2) for row in of_axis)))
    notes = ("Within one domain nothing can be won by telling speech, music and sound apart.",)
    title = f"{metric.upper()} within domains, {split}, utterance level"
    return Table(title, ("axis", EVERYWHERE, *names), tuple(body), notes)


def ensembles(
    experiment: Experiment,
    found: Mapping[str, Ensemble | str],
    rows: Sequence[Row],
    comparisons: Mapping[str, Comparison],
    against: str,
) -> Table:
    """Table IV: each rule's ensemble, what it costs, its composite SRCC, and test against one rule's."""
    index, splits = index_rows(rows), experiment.splits
    axis = main_axis(row.axis for row in rows)
    encoders = {run.id: run.encoders for run in experiment.everything}
    shown = [f"{split} {'SRCC [95 %]' if split == 'test' else 'SRCC'}" for split in splits]
    columns = ("ensemble", "rule", "runs", "GFLOP/crop", *shown, "test MSE", "difference", "p", "p (Holm)")
    body: list[tuple[Cell, ...]] = []
    corrected = dict(zip(comparisons, holm([c.p for c in comparisons.values()]), strict=True))
    for rule, ensemble in found.items():
        name = {**TABLE4, **FURTHER}.get(rule, rule)
        if isinstance(ensemble, str):
            body.append((name, rule, *[None] * (len(columns) - 2)))
            continue
        of = {s: index.get((ensemble.id, s, TABLE3_LEVELS[s], EVERYWHERE, axis, "srcc")) for s in splits}
        error = value_of(index.get((ensemble.id, "test", "system", EVERYWHERE, axis, "mse")))
        needed = [name for member in ensemble.members for name in encoders[member]]
        gflop = round(encoder_cost(needed, experiment.gflop))
        srccs = [with_interval(row) if s == "test" else value_of(row) for s, row in of.items()]
        paired = comparisons.get(rule)
        pair = (paired.difference, paired.p, corrected[rule]) if paired else (None, None, None)
        body.append((name, rule, len(ensemble.members), gflop, *srccs, error, *pair))
    notes = [
        f"{axis_note(axis)}; dev and PAM over clips, test over systems.",
        "GFLOP: the full-size encoders that are needed, each run once on 10 s.",
    ]
    if comparisons:
        notes.append(f"Difference: test SRCC less that of {against}, over the same systems.")
        notes += [P_NOTE, *dict.fromkeys(f"{c.reason}." for c in comparisons.values() if c.reason)]
    notes.append(f"Chosen among {experiment.pooled}.")
    runs = len(experiment.runs)
    few = {split: len(stored) for split, stored in experiment.pool.predictions.items() if len(stored) < runs}
    notes += [
        f"On {split} {count} of {runs} runs have predictions; rules choose among them."
        for split, count in few.items()
    ]
    notes += [f"{rule}: {reason}." for rule, reason in found.items() if isinstance(reason, str)]
    return Table("Ensembles", columns, tuple(body), tuple(notes))


def differences(comparisons: Sequence[Comparison], title: str) -> Table:
    """Paired comparison of two runs in the composite, over all domains: difference, interval, p."""
    axis = main_axis(c.axis for c in comparisons)
    body: list[tuple[Cell, ...]] = []
    silent: dict[str, list[str]] = {}
    for c in comparisons:
        if (c.domain, c.axis) != (EVERYWHERE, axis):
            continue
        if c.reason:
            silent.setdefault(c.reason, []).append(f"{c.split} {c.level} {c.metric.upper()}")
        if c.difference is None:
            continue
        where = (c.split, c.level, c.metric.upper())
        bounds = None if c.low is None else f"[{c.low:.3f}, {c.high:.3f}]"
        body.append((*where, c.difference, bounds, c.p, c.swapped if c.p is not None else None))
    corrected = holm([line[5] for line in body])  # type: ignore[misc]
    body = [(*line[:6], p, line[6]) for line, p in zip(body, corrected, strict=True)]
    columns = ("split", "level", "metric", "difference", "95 %", "p", "p (Holm)", "swapped")
    notes = (
        f"{axis_note(axis)}.",
        P_NOTE,
        *(f"{reason}: {', '.join(where)}." for reason, where in silent.items()),
    )
    return Table(title, columns, tuple(body), notes)


def with_interval(row: Row | None, digits: int = 3) -> str | None:
    """ "0.873 [0.812, 0.921]", "0.873 (no interval: 8 systems)", the value alone where no interval was asked
    for, None where it is undefined.
    """
    if row is None or row.value is None:
        return None
    value = f"{row.value:.{digits}f}"
    if row.low is None:
        return f"{value} ({row.reason.partition(',')[0]})" if row.reason else value
    return f"{value} [{row.low:.{digits}f}, {row.high:.{digits}f}]"


def rounded(value: float | None) -> str | None:
    return None if value is None else f"{value:.3f}"


def axis_note(axis: str) -> str:
    return "Composite of the rated axes" if axis == COMPOSITE else f"{axis}, as the axes have no composite"


def value_of(row: Row | None) -> float | None:
    return None if row is None else row.value


def _axes_of(rows: Iterable[Row], run: str, split: str) -> list[str]:
    """The axes of a run's figures, in their order."""
    return list(dict.fromkeys(row.axis for row in rows if (row.run, row.split) == (run, split)))


def _where(places: Sequence[tuple[str, str]], axes: Sequence[str]) -> str:
    """ "MSE of every axis, CE LCC": a metric that is meant for all axes is named once."""
    whole = [metric for metric in METRICS if all((axis, metric) in places for axis in axes)]
    rest = [f"{axis} {metric.upper()}" for axis, metric in places if metric not in whole]
    named = f"{', '.join(metric.upper() for metric in whole)} of every axis"
    return ", ".join([*([named] if whole else []), *rest])


def _figure_notes() -> tuple[str, ...]:
    def named(field: str, value: str) -> str:
        return ", ".join(name.upper() for name, m in METRICS.items() if getattr(m, field) == value)

    ways = [f"for {named('baseline', key)} {baseline.rule}" for key, baseline in BASELINES.items()]
    least = f"(for {named('better', 'low')} the least error)"
    return (
        f"Human ceiling: what the raters' own noise leaves to the best predictor {least}.",
        f"Baseline: {'; '.join(ways)}.",
    )
