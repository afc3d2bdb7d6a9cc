"""The commands of stage two: `heads`, and what is decided and shown from stored predictions."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from store.console import FAILED, say, show, table

if TYPE_CHECKING:
    from heads.assessment import Assessment

Work = Annotated[Path, typer.Option(help="Folder of this experiment: table, features, runs, ensemble.")]


def heads(
    work: Work = Path("work"),
    grid: Annotated[
        str, typer.Option(help="paper (the sixteen), encoders (Table II), full, or beyond.")
    ] = "paper",
    encoders: Annotated[str, typer.Option(help="Only these stored encoders, comma-separated.")] = "",
    aggregator: Annotated[str, typer.Option(help="Only these of the grid, comma-separated.")] = "",
    loss: Annotated[str, typer.Option(help="Only these of the grid, comma-separated.")] = "",
    seeds: Annotated[int, typer.Option(min=1, help="Train each configuration with this many seeds.")] = 1,
    seed: Annotated[int, typer.Option(help="The first seed.")] = 0,
    learning_rate: Annotated[float | None, typer.Option("--lr", help="Left out: the paper's 1e-4.")] = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="Left out: the paper's 10.")] = None,
    patience: Annotated[
        int | None, typer.Option(min=1, help="Epochs without a better dev loss before stopping.")
    ] = None,
    batch: Annotated[
        int | None, typer.Option(min=1, help="Left out: the paper's 32 (mlp) or 16 (blstm).")
    ] = None,
    frame_rate_hz: Annotated[
        float | None, typer.Option(help="Common rate of frames: 6.25, 12.5 or 25.")
    ] = None,
    precision: Annotated[str | None, typer.Option(help="fp32, or bf16 for the widest projection.")] = None,
    jobs: Annotated[int, typer.Option(min=0, help="Processes, one thread each; 0: one per processor.")] = 0,
) -> None:
    """Stage two: train every head of a grid from the stored features; finished runs are kept."""
    raise typer.Exit(
        train(
            work,
            grid,
            jobs=jobs,
            encoders=names(encoders),
            aggregators=names(aggregator),
            losses=names(loss),
            seeds=seeds,
            seed=seed,
            learning_rate=learning_rate,
            epochs=epochs,
            patience=patience,
            batch=batch,
            frame_rate_hz=frame_rate_hz,
            precision=precision,
        )
    )


def train(work: Path, grid: str, *, jobs: int = 0, **choices: Any) -> int:
    """Train a grid and print each run's dev loss; the exit code."""
    from heads.config import grid as configs_of
    from heads.runs import load_record, run_folder
    from heads.sweep import train_grid
    from store.clips import load_table
    from store.features import list_stores

    if not (work / "clips.json").exists():
        raise FileNotFoundError(
            f"{work / 'clips.json'} is not there: run `pipeline.py extract --clips ... --work {work}` first"
        )
    data = load_table(work / "clips.json")
    configs = configs_of(grid, [store.spec for store in list_stores(work / "features")], data.id, **choices)
    result = train_grid(
        configs, work, jobs=jobs, progress=lambda run, done, of: say(f"heads: {done}/{of} {run}")
    )
    done = [load_record(run_folder(work, config)) for config in configs if config.id not in result.failed]
    table(
        f"{len(done)} heads in {work / 'runs'}: {len(result.trained)} trained now, {len(result.kept)} kept",
        ("head", "run", "best epoch", "dev loss", "seconds"),
        (
            (
                record["title"],
                record["run"],
                record["best_epoch"],
                record["curve"][record["best_epoch"] - 1]["dev_loss"],
                float(record["seconds"]),
            )
            for record in done
        ),
        done[0]["caveats"] if done else (),
    )
    for run, reason in result.failed.items():
        say(f"failed: {run}: {reason}")
    return FAILED if result.failed else 0


def ensemble(
    work: Work = Path("work"),
    rule: Annotated[
        str,
        typer.Option(
            help="intersect:D,P | top:SPLIT:K | best:SPLIT | all | greedy:SPLITS | stack:SPLITS | cost:SPLITS, "
            "where a split is dev, pam or oof."
        ),
    ] = "intersect:12,12",
    compare: Annotated[
        bool, typer.Option("--compare", help="Score every rule side by side (the paper's Table IV) instead.")
    ] = False,
) -> None:
    """Choose an ensemble from stored predictions alone, and keep it as ensemble.json in the work folder."""
    from heads.assessment import compare_ensembles, members_table, select_ensemble

    if compare:
        _show(compare_ensembles(work))
        return
    chosen = select_ensemble(work, rule)
    show([members_table(work, chosen)])
    say(f"kept as {work / 'ensemble.json'}")


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
    from heads.assessment import evaluate_work

    _show(evaluate_work(work, runs or (), against))
    say(f"all rows: {work / 'evaluation.csv'}, comparisons: {work / 'comparison.csv'}")


def _show(found: Assessment) -> None:
    show(found.tables, found.caveats)
    for note in found.notes:
        say(note)


def names(text: str) -> tuple[str, ...]:
    """ "a, b" -> ("a", "b")."""
    return tuple(part.strip() for part in text.split(",") if part.strip())
