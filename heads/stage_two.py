"""Stage two as commands call it: train a grid, or what suits the data, or tune; say what came of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmmos.store.console import FAILED, OK, say, table

if TYPE_CHECKING:
    from mmmos.heads.config import HeadConfig
    from mmmos.store.schema import EncoderSpec


def train_recipe(work: Path, preset: str, *, seed: int = 0, **settings: Any) -> int:
    """Train what suits the number of clips and groups, or the paper's heads, and keep how to choose by it.

    See `training.recipe`; the settings are those of `train`.  Where no clip is held out, out-of-fold
    predictions are made in any case.
    """
    from mmmos.heads.recipe_file import Choice
    from mmmos.heads.training.recipe import folds_of, recipe_for
    from mmmos.store.clips import load_table

    specs, data = _specs(work), load_table(work / "clips.json")
    recipe = recipe_for(data, specs, preset=preset, seed=seed)
    folds = recipe.folds or folds_of(data)
    for note in recipe.notes:
        say(note)
    only = tuple(config.id for config in recipe.configs)
    calibrate = folds > 0
    Choice(recipe.configs[0].data, recipe.rule, only, recipe.per_axis, calibrate).save(work)
    # The ridge regression first: where the time is short, at least there is something to beat.
    codes = [
        train(some, work, preset, folds=folds, **settings)
        for some in (recipe.baselines, recipe.configs)
        if some
    ]
    return max(codes)


def configs_of(work: Path, grid: str, **choices: Any) -> tuple[HeadConfig, ...]:
    """The configs of a named grid over the features that a work folder has."""
    from mmmos.heads.grids import grid as named
    from mmmos.store.clips import load_table

    specs = _specs(work)
    return named(grid, specs, load_table(work / "clips.json").id, **choices)


def _specs(work: Path) -> list[EncoderSpec]:
    """The encoders whose features a work folder has; errors name the command that is missing."""
    from mmmos.store.clips import load_table
    from mmmos.store.features import list_stores

    if not (work / "clips.json").exists():
        raise FileNotFoundError(
            f"{work / 'clips.json'} is not there: run `pipeline.py extract --clips ... --work {work}` first"
        )
    if not load_table(work / "clips.json").of("train"):
        raise ValueError(
            f"no clip of {work / 'clips.json'} trains: its table has no column split. Divide it with "
            f"`mmmos extract --split 0.8 --work {work}`, or let every clip train (`mmmos prepare table`, or "
            "the word train in a column split) and add --folds 5, so that each is predicted by heads that "
            "did not see it"
        )
    return [store.spec for store in list_stores(work / "features")]


def train(
    configs: Sequence[HeadConfig],
    work: Path,
    grid: str = "paper",
    *,
    jobs: int = 0,
    folds: int = 0,
    cluster: str = "",
    device: str = "auto",
    tensorboard: bool = False,
) -> int:
    """Train what is missing of a grid, note it as trained, and print each run's dev loss; the exit code."""
    from mmmos.heads.run_sets import note_grid
    from mmmos.heads.runs import Run
    from mmmos.heads.training.parallel import train_grid

    _tensorboard_in(work, tensorboard)

    def progress(run: str, done: int, of: int) -> None:
        say(f"heads: {done}/{of} {run}")

    result = train_grid(
        configs,
        work,
        jobs=jobs,
        progress=progress,
        folds=folds,
        cluster=cluster,
        device=device,
        tensorboard=tensorboard,
    )
    note_grid(work, grid, configs)
    done = [Run.of(work, config).record for config in configs if config.id not in result.failed]
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
        dict.fromkeys(caveat for record in done for caveat in record["caveats"]),
    )
    for run, reason in result.failed.items():
        say(f"failed: {run}: {reason}")
    say_where_training_ended(done)
    return FAILED if result.failed else OK


def say_where_training_ended(records: Sequence[Mapping[str, Any]]) -> None:
    """Say how many heads may not be trained to their end, and what to do."""
    epochs = [record for record in records if len(record["curve"]) > 1]
    last = [r for r in epochs if r["best_epoch"] == r["config"]["epochs"] == len(r["curve"])]
    if not last:
        return
    blind = [record for record in last if record["curve"][-1]["dev_loss"] is None]
    if blind:
        say(
            f"{len(blind)} of {len(records)} heads ran all their epochs, as there is no dev split to stop "
            "them; more or fewer may be better: heads --epochs"
        )
    if len(last) > len(blind):
        say(
            f"{len(last) - len(blind)} of {len(records)} heads were best at their last epoch: they may not "
            "be trained to their end. Try heads --epochs 30, or --lr 0.001"
        )


def _tensorboard_in(work: Path, tensorboard: bool) -> None:
    """Where events are asked for, say how to see them; RuntimeError where they cannot be written."""
    if tensorboard:
        from mmmos.heads.training.tracking import writer_class

        writer_class()
        say(f"to watch: tensorboard --logdir {work / 'tensorboard'}")


def tune(
    configs: Sequence[HeadConfig],
    work: Path,
    *,
    objective: str = "",
    tensorboard: bool = False,
    **settings: Any,
) -> None:
    """Tune the configs and print each study's best trial against its first, which has the given values."""
    from mmmos.heads.tuning.sweep import sweep
    from mmmos.store.clips import load_table

    data = load_table(work / "clips.json")
    if not objective:
        objective = "pam:srcc" if data.of("pam") else "dev:srcc"
    say(f"tuning {len(configs)} configurations for {objective}")
    _tensorboard_in(work, tensorboard)
    results = sweep(
        configs,
        work,
        objective=objective,
        tensorboard=tensorboard,
        progress=lambda done, of: say(f"sweep: {done}/{of} trials"),
        **settings,
    )
    table(
        f"{len(results)} studies, objective {objective}; all trials: {work / 'sweeps'}",
        ("study", "trials", "first", "best", "best run", "gain", "low", "high", "note"),
        [
            (
                result.study,
                len(result.trials),
                result.first.value if result.first else None,
                result.best.value if result.best else None,
                result.best.run if result.best else "",
                result.difference,
                result.low,
                result.high,
                result.reason,
            )
            for result in results
        ],
        data.caveats,
    )
