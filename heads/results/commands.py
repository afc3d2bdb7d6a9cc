"""The commands on results, from stored predictions alone: `ensemble`, `evaluate`, `report`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mmmos.store.console import Work, say, show

if TYPE_CHECKING:
    from mmmos.heads.results.assessment import Assessment


def ensemble(
    work: Work = Path("work"),
    rule: Annotated[
        str,
        typer.Option(
            help="intersect:D,P | top:SPLIT:K | best:SPLIT | all | greedy:SPLITS | stack:SPLITS | cost:SPLITS"
            "; a split is dev, pam or oof. Left out: intersect:12,12, or top:dev:8 without PAM."
        ),
    ] = "",
    compare: Annotated[
        bool, typer.Option("--compare", help="Score every rule side by side (the paper's Table IV) instead.")
    ] = False,
    export: Annotated[
        Path | None,
        typer.Option(help="Also write it as a bundle, one folder that scores audio, to this folder."),
    ] = None,
    push_to_hub: Annotated[
        str,
        typer.Option(metavar="OWNER/NAME", help="Also upload that bundle to the Hugging Face hub, private."),
    ] = "",
) -> None:
    """Choose an ensemble from stored predictions alone, and keep it as ensemble.json in the work folder."""
    from mmmos.heads.results.assessment import compare_ensembles, members_table, select_ensemble
    from mmmos.heads.results.experiment import open_experiment

    if push_to_hub and export is None:
        raise ValueError("--push-to-hub uploads the bundle that --export writes: name its folder, too")
    if compare:
        _show(compare_ensembles(work))
        return
    chosen = select_ensemble(work, rule)
    show([members_table(work, chosen)], open_experiment(work).caveats)
    say(f"kept as {work / 'ensemble.json'}")
    if export is not None:
        from mmmos.heads.scoring.export import export_bundle

        export_bundle(work, export)
        say(f"bundle with its model card: {export}")
        if push_to_hub:
            from mmmos.heads.scoring import hub

            say(hub.push_to_hub(export, push_to_hub))


def evaluate(
    runs: Annotated[
        list[str] | None, typer.Argument(help="Run ids or beginnings of them; left out: the chosen ensemble.")
    ] = None,
    work: Work = Path("work"),
    against: Annotated[
        str, typer.Option(help="Compare with this run; left out: the single best on PAM.")
    ] = "",
) -> None:
    """Every metric per axis, level and domain, with intervals, human ceiling and baselines."""
    from mmmos.heads.results.assessment import evaluate_work

    _show(evaluate_work(work, runs or (), against))
    say(f"all rows: {work / 'evaluation.csv'}, comparisons: {work / 'comparison.csv'}")


def report(
    work: Work = Path("work"),
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Left out: report.html in the work folder.")
    ] = None,
) -> None:
    """One self-contained HTML page: tables, plots, ceilings, baselines, ensembles, curves; no network."""
    from mmmos.heads.results.report import write_report

    say(f"written: {write_report(work, output)}")


def _show(found: Assessment) -> None:
    show(found.tables, found.caveats)
    for note in found.notes:
        say(note)
