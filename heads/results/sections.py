"""The sections of the report: which tables and plots stand where, and what is said about them.

A section is a function of `Findings` and an entry of SECTIONS.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from mmmos.heads.ensemble import Ensemble
from mmmos.heads.metrics import METRICS
from mmmos.heads.results import plots, reproduction, tables
from mmmos.heads.results.assess import Assessment, figures_by_split
from mmmos.heads.results.baselines import baseline_of
from mmmos.heads.results.evaluation import EVERYWHERE, Row, evaluate, index_rows, main_axis
from mmmos.heads.results.experiment import Experiment
from mmmos.heads.results.page import Plot, Section, Tile
from mmmos.heads.results.published import AGAINST
from mmmos.heads.results.scores import note_seen
from mmmos.heads.results.series import Series, worst
from mmmos.heads.results.studies import metric_of, read_study
from mmmos.heads.runs import Run
from mmmos.store.rows import read_rows
from mmmos.store.schema import SPLITS
from mmmos.store.table import Cell, Table

MOST_SWEEPS = 6
"""Histories of more studies than this would fill pages; the tables in work/sweeps hold them all."""

MOST_RUNS = 40
"""Of more runs than this (sweeps, many seeds) the best are shown."""

MOST_REJECTS = 50
MAX_REJECTS_BYTES = 1 << 28

HEADLINES = (("system", "srcc"), ("utterance", "srcc"), ("utterance", "lcc"), ("utterance", "mse"))
"""(level, metric) of the figures to read first."""


@dataclass(frozen=True, eq=False)
class Findings:
    """What the sections tell of.

    Parameters
    ----------
    experiment, ensemble
        The work folder's.
    split
        The split that counts: test where it is scored.
    scored
        The ensemble on every split.
    compared
        The rules side by side.
    series
        The ensemble on `split`, clip by clip.
    """

    experiment: Experiment
    ensemble: Ensemble
    split: str
    scored: Assessment
    compared: Assessment
    series: tuple[Series, ...]


def tiles(rows: Sequence[Row], run: str, split: str) -> list[Tile]:
    """The composite in four numbers, each beside what is possible and what is trivial."""
    found, axis = index_rows(rows), main_axis(row.axis for row in rows)
    result = []
    for level, metric in HEADLINES:
        row = found[(run, split, level, EVERYWHERE, axis, metric)]
        base = found.get((baseline_of(metric).run, split, level, EVERYWHERE, axis, metric))
        interval = row.reason if row.low is None else f"95 %: {row.low:.2f} to {row.high:.2f}"
        possible = "ceiling unknown" if row.ceiling is None else f"ceiling {row.ceiling:.2f}"
        beside = [f"{axis}, {split}", interval, possible]
        if base is not None and base.value is not None:
            beside.append(f"{baseline_of(metric).label} {base.value:.2f}")
        label = f"{metric.upper()} over {row.n} {'systems' if level == 'system' else 'clips'}"
        value = "–" if row.value is None else f"{row.value:.3f}"
        result.append(Tile(label, value, "; ".join(part for part in beside if part)))
    return result


def result(found: Findings) -> Section:
    """The ensemble on the split that counts: bars, then every figure."""
    scored, ensemble, split = found.scored, found.ensemble, found.split
    rows = [r for r in scored.rows if r.run == ensemble.id and r.split == split]
    trivial = {
        (r.level, r.axis, r.metric): r.value
        for r in scored.rows
        if (r.split, r.domain) == (split, EVERYWHERE) and r.run == baseline_of(r.metric).run
    }
    captions = {
        "srcc": "bars with 95 % intervals over whole systems, or what the table below says. The ceiling is "
        "what the raters' noise leaves to the best predictor; the dashed line needs only each clip's domain.",
        "mse": "the green line is the raters' own noise; the dashed one always answers the train mean.",
    }
    charts = [
        Plot(plots.bars(rows, trivial, metric), f"{metric.upper()} on {split}: {caption}")
        for metric, caption in captions.items()
    ]
    label = scored.labels[ensemble.id]
    blocks: list[Table | Plot | str] = [
        *charts,
        *tables.figures(scored.rows, ensemble.id, split, label, scored.beside),
    ]
    blocks += [table for table in scored.tables if table.title.startswith(AGAINST)]
    within = tables.domains(scored.rows, ensemble.id, split)
    opening = f"Every figure of the ensemble on {split}, beside the human ceiling and the trivial baseline."
    return Section("Result", opening, (*blocks, *([within] if within else [])))


def all_figures(found: Findings) -> Section:
    """The splits that chose the ensemble, and the ensemble against the best single run."""
    scored, ensemble = found.scored, found.ensemble
    blocks: list[Table] = [t for t in scored.tables if " against " in t.title]
    for split in found.experiment.splits:
        if split != found.split:
            label = scored.labels[ensemble.id]
            blocks += tables.figures(scored.rows, ensemble.id, split, label, scored.beside)
            within = tables.domains(scored.rows, ensemble.id, split)
            blocks += [within] if within else []
    opening = "The splits by which the ensemble was chosen flatter it; they are here to be complete."
    return Section("All figures", opening, tuple(blocks))


def clips(found: Findings) -> Section:
    """Clip by clip, system by system, and the worst misses."""
    data, split, scale = found.series, found.split, found.experiment.table.scale
    last = data[-1]
    scatter = Plot(
        plots.scatter(data, scale),
        f"Predicted against rated on {split}, clip by clip; dotted: perfect agreement."
        f"{'' if plots.many_points(data) else ' Bars: the standard error of each mean rating.'}",
    )
    ranking = Plot(
        plots.ranking(last, scale),
        f"Systems on {split} by their mean rating, with 95 % intervals over clips.",
    )
    calibration = Plot(
        plots.calibration(data, scale),
        f"Calibration on {split}: mean rating of clips that were predicted alike, with 95 % intervals. "
        "Where the line lies on the dotted one, a prediction can be taken at its word.",
    )
    several = len({clip.system for clip in last.clips if clip.system}) > 1
    opening = "Where the ensemble agrees with the raters, and where it fails."
    charts = (scatter, ranking, calibration) if several else (scatter, calibration)
    return Section("Clips and systems", opening, (*charts, worst(last)))


def ensembles(found: Findings) -> Section:
    """The paper's Table IV for these runs, with our own rules."""
    chart = Plot(
        plots.contenders(figures_by_split(found.compared)),
        "SRCC of each ensemble by split, with 95 % intervals.",
    )
    opening = (
        "The paper's rules and ours over the same runs (Table IV); no rule looks at the test split. Rules "
        "that choose the same runs stand together."
    )
    return Section("Ensembles", opening, (chart, *found.compared.tables))


def runs(found: Findings) -> Section:
    """Table III of the best MOST_RUNS runs, and the learning curves of the best of each kind."""
    experiment = found.experiment
    split = next((s for s in ("pam", "dev", "oof") if s in experiment.pool.scores), "")
    ranked = experiment.pool.ranked(split)[:MOST_RUNS] if split else [run.id for run in experiment.runs]
    shown = [run for run in experiment.runs if run.id in set(ranked[:MOST_RUNS])]
    rows = [
        row
        for name in experiment.splits
        for row in experiment.shown(
            evaluate(
                [run.predictions(name) for run in shown if run.has(name)],
                experiment.table.of(name),
                intervals=False,
            )
        )
    ]
    note_seen(experiment, [run for run in shown if run.has("test")])
    best_first = sorted(shown, key=lambda run: ranked.index(run.id))
    caption = (
        "Learning curves, a panel a loss, of the best run of each kind: train dashed, dev solid, a marker "
        "where the kept weights are from."
    )
    chart = Plot(plots.curves(first_of_each_kind(best_first)), caption)
    opening = f"Every trained configuration (Table III) of {experiment.pooled}."
    if len(shown) < len(experiment.runs):
        opening = (
            f"The {len(shown)} best of {len(experiment.runs)} trained configurations by SRCC on {split}."
        )
    return Section("Configurations", opening, (tables.configurations(experiment, rows), chart))


def first_of_each_kind(runs: Iterable[Run]) -> dict[str, list[tuple[str, dict[str, Any]]]]:
    """Loss -> (encoders and aggregator, record) of the first run of each kind, both in alphabetical order."""
    found: dict[str, dict[str, dict[str, Any]]] = {}
    for run in runs:
        name = f"{'+'.join(run.encoders)} {run.config.aggregator}"
        found.setdefault(run.config.loss, {}).setdefault(name, run.record)
    return {loss: sorted(found[loss].items()) for loss in sorted(found)}


def sweeps(found: Findings) -> Section | None:
    """Histories of the sweeps whose results are stored; no section where there are none."""
    paths = sorted((found.experiment.work / "sweeps").glob("*.json"))
    if not paths:
        return None
    body: list[tuple[Cell, ...]] = []
    charts = []
    for study in map(read_study, paths):
        first, best = ((study[which] or {}).get("value") for which in ("first", "best"))
        bounds = None if study["low"] is None else f"[{study['low']:.3f}, {study['high']:.3f}]"
        about = (study["study"], study["objective"], len(study["trials"]))
        body.append((*about, first, best, study["difference"], bounds, study["reason"]))
        values = [(t["number"], t["value"]) for t in study["trials"] if t["state"] == "complete"]
        if values:
            lower = METRICS[metric_of(study)].better == "low"
            chart = plots.sweep(values, first, study["objective"], lower)
            charts.append(Plot(chart, f"{study['study']}: {study['objective']} by trial."))
    columns = ("study", "objective", "trials", "first", "best", "gain", "95 %", "note")
    notes = ("First, best: on the clips that chose. Gain: on clips that the objective never saw.",)
    table = Table("Sweeps: the best trial against the first, the paper's values", columns, tuple(body), notes)
    opening = "What tuning has brought, and whether it is more than chance."
    return Section("Sweeps", opening, (table, *charts[:MOST_SWEEPS]))


def data(found: Findings) -> Section:
    """How many clips of what, and the files that were left out."""
    experiment = found.experiment
    body: list[tuple[Cell, ...]] = []
    for split in SPLITS:
        clips = experiment.table.of(split)
        if not clips:
            continue
        domains = Counter(clip.domain or "(none)" for clip in clips)
        listed = ", ".join(f"{name} {count}" for name, count in sorted(domains.items()))
        panel = [len(single) for clip in clips for single in clip.ratings if single]
        raters = (
            (str(min(panel)) if min(panel) == max(panel) else f"{min(panel)}-{max(panel)}") if panel else None
        )
        hours = round(sum(clip.duration_s for clip in clips) / 3600, 3)
        systems = len({clip.system for clip in clips if clip.system})
        body.append((split, len(clips), hours, systems, listed, raters))
    rated = [tables.raters(experiment.table, split) for split in experiment.splits]
    scale = experiment.table.scale
    title = f"Clips of {experiment.table.id}, scores from {scale.low:g} to {scale.high:g}"
    columns = ("split", "clips", "hours", "systems", "domains", "raters a clip")
    blocks: list[Table | Plot | str] = [Table(title, columns, tuple(body)), *rated]
    rejects = experiment.work / "rejects.csv"
    if rejects.is_file():
        rows = [tuple(row.values.values()) for row in read_rows(rejects, MAX_REJECTS_BYTES)]
        shown = tuple(rows[:MOST_REJECTS])
        title = f"{len(rows)} files could not be used"
        none = "Every file of the table could be read."
        blocks.append(Table(title, ("clip", "path", "reason"), shown) if rows else none)
    return Section("Data", "What was rated, and what was left out.", tuple(blocks))


SECTIONS: dict[str, Callable[[Findings], Section | None]] = {
    "result": result,
    "clips": clips,
    "ensembles": ensembles,
    "runs": runs,
    "sweeps": sweeps,
    "data": data,
    "figures": all_figures,
    "paper": lambda found: reproduction.section(found.experiment),
}
"""The sections in their order, by the ids that the page's links lead to; one that is None is left out."""
