"""The report: everything that a work folder's stored predictions tell, on one page."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from mmmos.heads.results.assess import ENSEMBLE, compare_ensembles, evaluate_runs
from mmmos.heads.results.chosen import load_ensemble
from mmmos.heads.results.experiment import open_experiment
from mmmos.heads.results.nested import predict
from mmmos.heads.results.page import render
from mmmos.heads.results.scores import score
from mmmos.heads.results.sections import SECTIONS, Findings, tiles
from mmmos.heads.results.series import series
from mmmos.store import files, folders, noted

REPORT_FILE = "report.html"
TITLE = "How well people's ratings are predicted"


def write_report(work: Path, output: Path | None = None, runs: str = "") -> Path:
    """Write one self-contained HTML page about the runs, the ensemble and the data of a work folder.

    The ensemble is that of work/ensemble.json, chosen by the default rule where there is none.  Needs neither
    torch nor features nor audio.

    Parameters
    ----------
    work
        The work folder.
    output
        Where to write; work/report.html by default.
    runs
        Which runs count, see `open_experiment`.

    Returns
    -------
    The path of the page.
    """
    if output is not None:
        folders.refuse_foreign_file(output, [f"<title>{TITLE[:15]}"], "report")
    experiment = open_experiment(work, runs)
    split = "test" if "test" in experiment.held_out() else experiment.splits[-1]
    ensemble = load_ensemble(experiment)
    found = Findings(
        experiment,
        ensemble,
        split,
        evaluate_runs(experiment, [ENSEMBLE]),
        compare_ensembles(experiment),
        tuple(experiment.shown(series(predict(ensemble, experiment, split), experiment.table, split))),
    )
    facts = [
        experiment.table.id,
        f"ensemble {ensemble.rule}, {len(ensemble.members)} of {experiment.pooled}",
        f"{split} scored {_readable(score(ensemble, experiment, split).scored_at)}",
        *found.compared.notes,
        f"page written {_readable(datetime.now(UTC).isoformat())}",
    ]
    sections = {name: made for name, make in SECTIONS.items() if (made := make(found)) is not None}
    page = render(
        TITLE,
        "; ".join(facts),
        found.scored.caveats,
        tiles(found.scored.rows, ensemble.id, split),
        sections,
    )
    if output is not None:
        files.write_text(output, page)
        return output
    with noted.noting(experiment.work, REPORT_FILE):
        files.write_text(experiment.work / REPORT_FILE, page)
    return experiment.work / REPORT_FILE


def _readable(moment: str) -> str:
    """ "2026-11-23 16:45 UTC" of an ISO time in UTC."""
    return f"{moment[:16].replace('T', ' ')} UTC"
