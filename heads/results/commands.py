"""The commands on results, from stored predictions alone: `ensemble`, `evaluate`, `report`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mmmos.heads.run_sets import LAST
from mmmos.store.console import Device, Weights, Work, say, show
from mmmos.store.names import choose

if TYPE_CHECKING:
    from mmmos.heads.results.assess import Assessment

PREDICT: dict[str, Callable[[Path, Path | None, Path | None, str], None]] = {}
"""Published predictors that --baseline knows: (work, audio root, weights, device) has their
predictions stored.  The command line fills it, as results are read without encoders."""


Runs = Annotated[
    str,
    typer.Option(
        metavar="paper|GRID|FILTER|all",
        help="Which runs count: those of a grid, of a filter as loss=ut|con,aggregator=mlp, untuned (of no "
        "sweep), or all. Left out: those of the kept ensemble, else of the grid that was trained last.",
    ),
]

Baseline = Annotated[
    str,
    typer.Option(
        help="Let this published predictor (audiobox) predict the clips, too.  From then on it stands beside "
        "the runs, with the reduction of its MSE and the difference of KTAU."
    ),
]

BaselineAudio = Annotated[
    Path | None, typer.Option(help="The clips' audio, for --baseline. Left out: where extract found it.")
]


def ensemble_command(
    export: Callable[[Path, Path, str], None], refuse: Callable[[Path], None]
) -> Callable[..., None]:
    """The command `ensemble`.

    Parameters
    ----------
    export
        (work, folder, hub repository or "") writes the ensemble of a work folder as a bundle to the folder,
        and uploads that to the hub where a repository is named.
    refuse
        ValueError where a bundle cannot be written to a folder.
    """

    def ensemble(
        work: Work = Path("work"),
        rule: Annotated[
            str,
            typer.Option(
                help="intersect:D,P | top:SPLIT:K | best:SPLIT | all | greedy:SPLITS | stack:SPLITS "
                "| cost:SPLITS; a split is dev, pam or oof. Left out: intersect:12,12, or top:dev:8 without "
                "PAM."
            ),
        ] = "",
        runs: Annotated[
            str,
            typer.Option(
                metavar="paper|GRID|FILTER|all",
                help="Choose among the runs of a grid, of a filter as loss=ut|con,aggregator=mlp, untuned "
                "(of no sweep), or all. Left out: the grid that was trained last.",
            ),
        ] = LAST,
        compare: Annotated[
            bool,
            typer.Option("--compare", help="Score every rule side by side (the paper's Table IV) instead."),
        ] = False,
        to: Annotated[
            Path | None,
            typer.Option(
                "--export", help="Also write it as a bundle, one folder that scores audio, to this folder."
            ),
        ] = None,
        push_to_hub: Annotated[
            str,
            typer.Option(
                metavar="OWNER/NAME", help="Also upload that bundle to the Hugging Face hub, private."
            ),
        ] = "",
    ) -> None:
        """Choose an ensemble from stored predictions alone, and keep it as ensemble.json in the work
        folder.  With --export and without --rule, the one that is kept there is exported.
        """
        if push_to_hub and to is None:
            raise ValueError("--push-to-hub uploads the bundle that --export writes: name its folder, too")
        if to is not None:
            refuse(to)
        if compare:
            compare_ensembles(work, runs)
            return
        if to is None or rule or runs != LAST or not (work / "ensemble.json").is_file():
            choose_ensemble(work, rule, runs)
        else:
            show_ensemble(work)
        if to is not None:
            export(work, to, push_to_hub)

    return ensemble


def choose_ensemble(work: Path, rule: str = "", runs: str = LAST) -> None:
    """Choose the ensemble of a work folder by a rule, keep it, and show its members."""
    from mmmos.heads.results.assess import select_ensemble
    from mmmos.heads.results.experiment import open_experiment
    from mmmos.heads.results.tables import members

    experiment = open_experiment(work, runs)
    show([members(experiment, select_ensemble(experiment, rule))], experiment.caveats)
    say(f"kept as {work / 'ensemble.json'}")


def show_ensemble(work: Path) -> None:
    """Show the members of the ensemble that a work folder keeps."""
    from mmmos.heads.results.assess import load_ensemble
    from mmmos.heads.results.experiment import open_experiment
    from mmmos.heads.results.tables import members

    experiment = open_experiment(work)
    show([members(experiment, load_ensemble(experiment))], experiment.caveats)
    say(f"as kept in {work / 'ensemble.json'}; another is chosen with --rule")


def compare_ensembles(work: Path, runs: str = LAST) -> None:
    """Score every rule's ensemble side by side and show the table."""
    from mmmos.heads.results import assess
    from mmmos.heads.results.experiment import open_experiment

    _show(assess.compare_ensembles(open_experiment(work, runs)))


def evaluate(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[RUN]...", help="Run ids or beginnings of them; left out: the chosen ensemble."
        ),
    ] = None,
    work: Work = Path("work"),
    against: Annotated[
        str, typer.Option(help="Compare with this run; left out: the single best on PAM.")
    ] = "",
    runs: Runs = "",
    baseline: Baseline = "",
    audio_root: BaselineAudio = None,
    weights: Weights = None,
    device: Device = "auto",
) -> None:
    """Every metric per axis, level and domain, with intervals, human ceiling and baselines."""
    from mmmos.heads.results.assess import ENSEMBLE, evaluate_runs
    from mmmos.heads.results.experiment import open_experiment

    if baseline:
        known = open_experiment(work, runs)
        for name in {*(names or ()), against} - {"", ENSEMBLE}:
            known.run(name)  # an unknown one is told before any audio is scored
    _have(baseline, work, audio_root, weights, device)
    found = evaluate_runs(open_experiment(work, runs), names or (), against)
    _show(found)
    if found.written:
        say(", ".join(f"{what}: {path}" for what, path in found.written.items()))


def report(
    work: Work = Path("work"),
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Left out: report.html in the work folder.")
    ] = None,
    runs: Runs = "",
    baseline: Baseline = "",
    audio_root: BaselineAudio = None,
    weights: Weights = None,
    device: Device = "auto",
) -> None:
    """One self-contained HTML page: tables, plots, ceilings, baselines, ensembles, curves; no network."""
    from mmmos.heads.results.report import write_report

    _have(baseline, work, audio_root, weights, device)
    say(f"written: {write_report(work, output, runs)}")


def _have(baseline: str, work: Path, audio_root: Path | None, weights: Path | None, device: str) -> None:
    """Have a published predictor's predictions stored; from then on it stands beside the runs."""
    if baseline:
        choose("baseline", baseline, PREDICT)
        PREDICT[baseline](work, audio_root, weights, device)


def _show(found: Assessment) -> None:
    show(found.tables, found.caveats)
    for note in found.notes:
        say(note)
