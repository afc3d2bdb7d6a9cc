"""The command `reproduce`: the paper's Tables II to IV and its claims from one clip table."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mmmos.extract.compute import Compute
from mmmos.extract.request import MIN_COVERAGE, ExtractRequest
from mmmos.heads.options import Epochs, LearningRate, StopOn, Tau
from mmmos.store.console import (
    COVERAGE,
    Batch,
    Device,
    Licence,
    Weights,
    Work,
    Workers,
    say,
    show,
)
from mmmos.store.names import choose

if TYPE_CHECKING:
    from mmmos.reproduce.cost import Plan

AUDIOBOX = "audiobox"


def reproduce(
    clips: Annotated[Path, typer.Option(help="Clip table with the splits train, dev, pam and test.")],
    audio_root: Annotated[
        Path | None,
        typer.Option(help="Folder that the table's paths are relative to. Left out: the table's."),
    ] = None,
    work: Work = Path("work-reproduce"),
    encoders: Annotated[
        str, typer.Option(help="Those of the paper, or some of them.")
    ] = ExtractRequest.encoders,
    weights: Weights = None,
    random_weights: Annotated[
        int | None, typer.Option(metavar="SEED", help="Untrained encoders, to try it out; results say so.")
    ] = None,
    size: Annotated[str, typer.Option(help="full, or tiny (random weights only).")] = ExtractRequest.size,
    scale: Annotated[
        str, typer.Option(metavar="LO,HI", help="Range that the scores live on.")
    ] = ExtractRequest.scale,
    seeds: Annotated[int, typer.Option(min=1, help="Train each configuration with this many seeds.")] = 1,
    learning_rate: LearningRate = None,
    epochs: Epochs = None,
    stop_on: StopOn = None,
    tau: Tau = None,
    baseline: Annotated[
        str, typer.Option(help="Also measure the gain over this published predictor: audiobox.")
    ] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what it costs, and stop.")] = False,
    min_coverage: Annotated[
        float, typer.Option(help="Stop if fewer of the clips can be read.")
    ] = MIN_COVERAGE,
    jobs: Annotated[int, typer.Option(min=0, help="Processes; 0: one per processor.")] = 0,
    device: Device = "auto",
    batch: Batch = None,
    workers: Workers = None,
    licence: Licence = "",
) -> None:
    """The paper's tables from clips and weights: each figure beside the printed one, each claim answered.

    Says what it costs, makes the features that are missing, trains the seven sets of encoders and the
    sixteen configurations with every seed, and chooses the ensembles.  Running it again goes on from where
    it stopped.
    """
    from mmmos.extract.run import run
    from mmmos.reproduce.cost import plan_of

    if baseline:
        choose("baseline", baseline, [AUDIOBOX])
    request = ExtractRequest(
        clips,
        audio_root or clips.parent,
        encoders,
        weights,
        random_weights,
        size,
        scale=scale,
        min_coverage=min_coverage,
        licence=licence,
    )
    compute = Compute(device, batch, workers)
    chosen = {"learning_rate": learning_rate, "epochs": epochs, "stop_on": stop_on, "tau": tau}
    planned = plan_of(request, work, compute, seeds=seeds, **chosen)
    untrained = [f"untrained {one.spec.name}" for one in planned.encoders if one.spec.is_random]
    show([planned.shown()], [*planned.table.caveats, *untrained])
    if dry_run:
        return
    if run(request, work, compute) == COVERAGE:
        raise typer.Exit(COVERAGE)
    code = _train(planned, work, jobs, device)
    if baseline:
        from mmmos.heads.scoring.baseline import predict_audiobox

        predict_audiobox(work, request.audio_root, weights, device)
    _compare(
        planned, work, baseline, [f"{name} {value}" for name, value in chosen.items() if value is not None]
    )
    raise typer.Exit(code)


def _train(planned: Plan, work: Path, jobs: int, device: str) -> int:
    """Every grid; the exit code of the worst."""
    from mmmos.heads.stage_two import train

    return max(
        train(configs, work, name, jobs=jobs, device=device)
        for name, configs in planned.configs.items()
        if configs
    )


def _compare(planned: Plan, work: Path, baseline: str, caveats: list[str]) -> None:
    """Show and keep the tables, and write the report."""
    from mmmos.heads.results.experiment import open_experiment
    from mmmos.heads.results.report import write_report
    from mmmos.heads.results.reproduce import of_configs, reproduce

    experiment = of_configs(open_experiment(work, "all"), planned.heads)
    found = reproduce(experiment, baseline, caveats)
    show(found.tables(), found.caveats)
    say(f"kept as {found.save(work)}; report: {write_report(work)}")
