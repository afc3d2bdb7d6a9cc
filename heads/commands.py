"""The command `heads`: train a grid of heads from stored features, or tune it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from mmmos.heads import options
from mmmos.heads.stage_two import configs_of, train, train_recipe, tune
from mmmos.store.console import Device, Work


def heads(
    work: Work = Path("work"),
    grid: Annotated[
        str, typer.Option(help="paper (the sixteen), encoders (Table II), full, beyond or release.")
    ] = "paper",
    preset: Annotated[
        str, typer.Option(help="size: heads, values and folds by the number of clips, as `train` takes them.")
    ] = "",
    encoders: Annotated[
        str, typer.Option(help="Only these stored encoders, comma-separated; as wavlm+m2d, only that set.")
    ] = "",
    aggregator: Annotated[str, typer.Option(help="Only these of the grid, comma-separated.")] = "",
    loss: Annotated[str, typer.Option(help="Only these of the grid, comma-separated.")] = "",
    seeds: Annotated[int, typer.Option(min=1, help="Train each configuration with this many seeds.")] = 1,
    seed: Annotated[int, typer.Option(help="The first seed.")] = 0,
    learning_rate: options.LearningRate = None,
    epochs: options.Epochs = None,
    patience: options.Patience = None,
    batch: options.BatchClips = None,
    hidden: options.Hidden = None,
    width: options.Width = None,
    dropout: options.Dropout = None,
    weight_decay: options.WeightDecay = None,
    frame_rate_hz: options.FrameRate = None,
    precision: options.Precision = None,
    layer: options.LayerRule = None,
    stop_on: options.StopOn = None,
    tau: options.Tau = None,
    folds: Annotated[
        int, typer.Option(min=0, help="Also out-of-fold predictions of train, by group (and oof objectives).")
    ] = 0,
    jobs: Annotated[
        int, typer.Option(min=0, help="Processes, one thread each; 0: one per processor, one for a GPU.")
    ] = 0,
    device: Device = "auto",
    cluster: Annotated[
        str, typer.Option(metavar="ADDRESS|local:N", help="Train on the workers of a Dask cluster.")
    ] = "",
    sweep: Annotated[
        bool, typer.Option("--sweep", help="Tune each configuration with Optuna instead.")
    ] = False,
    trials: Annotated[int, typer.Option(min=1, help="Trials of a study; earlier ones count.")] = 30,
    study: Annotated[
        str, typer.Option(help="cell (one study per configuration) or grid (one for all).")
    ] = "cell",
    objective: Annotated[
        str, typer.Option(help="SPLIT:METRIC[:AXIS], a split being pam, dev or oof; never test.")
    ] = "",
    storage: Annotated[
        str, typer.Option(help="Database URL of the studies, for many machines; left out: a journal file.")
    ] = "",
    tensorboard: options.TensorBoard = False,
) -> None:
    """Stage two: train every head of a grid from the stored features; finished runs are kept."""
    settings: dict[str, Any] = {"cluster": cluster, "device": device, "tensorboard": tensorboard}
    if preset:
        _refuse_with_preset(grid=grid != "paper", sweep=sweep)
        raise typer.Exit(train_recipe(work, preset, seed=seed, jobs=jobs, **settings))
    configs = configs_of(
        work,
        grid,
        encoders=names(encoders),
        aggregators=names(aggregator),
        losses=names(loss),
        seeds=seeds,
        seed=seed,
        learning_rate=learning_rate,
        epochs=epochs,
        patience=patience,
        batch=batch,
        hidden=hidden,
        width=width,
        dropout=dropout,
        weight_decay=weight_decay,
        frame_rate_hz=frame_rate_hz,
        precision=precision,
        layer=layer,
        stop_on=stop_on,
        tau=tau,
    )
    _refuse_cluster_with(cluster, jobs=bool(jobs), sweep=sweep)
    if not sweep:
        raise typer.Exit(train(configs, work, grid, jobs=jobs, folds=folds, **settings))
    tune(
        configs, work, trials=trials, objective=objective, study=study, seed=seed,
        jobs=jobs, storage=storage, folds=folds or 5, device=device, tensorboard=tensorboard,
    )  # fmt: skip


def _refuse_with_preset(*, grid: bool, sweep: bool) -> None:
    if grid or sweep:
        raise ValueError("--preset says what is trained: leave --grid and --sweep out")


def _refuse_cluster_with(cluster: str, *, jobs: bool, sweep: bool) -> None:
    """ValueError where --cluster is given beside an option that it has no meaning with."""
    if cluster and jobs:
        raise ValueError("--jobs are processes of this machine; with --cluster its workers train")
    if cluster and sweep:
        raise ValueError(
            "a sweep is spread by its study, not by --cluster: give the same command with "
            "--storage postgresql://... on every machine"
        )


def names(text: str) -> tuple[str, ...]:
    """ "a, b" -> ("a", "b")."""
    return tuple(part.strip() for part in text.split(",") if part.strip())
