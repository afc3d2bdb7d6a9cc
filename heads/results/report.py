"""The report: everything that a work folder's stored predictions tell, on one page."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from mmmos.heads.ensemble import Ensemble
from mmmos.heads.results.assessment import ENSEMBLE, compare_ensembles, evaluate_work
from mmmos.heads.results.evaluation import RESAMPLES
from mmmos.heads.results.experiment import open_experiment
from mmmos.heads.results.page import render
from mmmos.heads.results.pairs import series
from mmmos.heads.results.scores import score
from mmmos.heads.results.sections import (
    all_figures_section,
    clips_section,
    data_section,
    ensemble_section,
    result_section,
    runs_section,
    sweep_section,
    tiles,
)
from mmmos.store import files


def write_report(work: Path, output: Path | None = None, resamples: int = RESAMPLES) -> Path:
    """Write one self-contained HTML page about the runs, the ensemble and the data of a work folder.

    output: where to, work/report.html by default.  The ensemble is that of work/ensemble.json, chosen by
    the default rule where there is none.  Needs neither torch nor features nor audio.
    """
    experiment = open_experiment(work)
    scored = evaluate_work(work, [ENSEMBLE], resamples=resamples)
    compared = compare_ensembles(work, resamples=resamples)
    ensemble = Ensemble.load(experiment.work / "ensemble.json")
    split = "test" if "test" in experiment.splits else experiment.splits[-1]
    data = series(ensemble.predict(experiment.runs, split), experiment.table.of(split))
    sections = (
        result_section(scored, ensemble, split),
        clips_section(experiment, data, split),
        ensemble_section(compared),
        runs_section(experiment),
        *sweep_section(experiment.work),
        data_section(experiment),
        all_figures_section(experiment, scored, ensemble, split),
    )
    facts = [
        f"{experiment.table.id}",
        f"ensemble {ensemble.rule}, {len(ensemble.members)} of {len(experiment.runs)} runs",
        f"{split} scored {_readable(score(ensemble, experiment, split, resamples).scored_at)}",
        *compared.notes,
        f"page written {_readable(datetime.now(UTC).isoformat())}",
    ]
    page = render(
        "How well people's ratings are predicted",
        "; ".join(facts),
        experiment.caveats,
        tiles(scored.rows, ensemble.id, split),
        sections,
    )
    target = output or experiment.work / "report.html"
    files.write_text(target, page)
    return target


def _readable(moment: str) -> str:
    """ "2026-11-23 16:45 UTC" of an ISO time in UTC."""
    return f"{moment[:16].replace('T', ' ')} UTC"
