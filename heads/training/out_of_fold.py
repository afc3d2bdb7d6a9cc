"""Out-of-fold predictions: the train split, each clip predicted by a head that saw none of its group.

They let ensembles and sweeps be chosen on thousands of clips instead of a small dev split, without
touching it.  The dev split still stops each fold's training early, as it does the run's own.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from mmmos.heads.config import HeadConfig
from mmmos.heads.runs import OOF, Run
from mmmos.heads.training.data import Features
from mmmos.heads.training.fit import fit, predict, rated
from mmmos.heads.training.train_run import caveats_of
from mmmos.store import sealed
from mmmos.store.predictions import Predictions
from mmmos.store.splits import group_folds

OOF_RECORD = "record-oof.json"
FOLD_SEED = 0
"""Every run of a table is divided alike, so that their out-of-fold predictions can be averaged."""


def has_out_of_fold(work: Path, config: HeadConfig, folds: int) -> bool:
    """True where a run has out-of-fold predictions of this many folds."""
    path = Run.of(work, config).folder / OOF_RECORD
    return path.is_file() and sealed.read_object(path).get("folds") == folds


def keep_out_of_fold(
    config: HeadConfig, features: Features, work: Path, folds: int, found: Predictions | None = None
) -> Predictions:
    """The run's out-of-fold predictions beside its others; if missing, `found` is kept or they are made."""
    run = Run.of(work, config)
    if has_out_of_fold(work, config, folds):
        return run.predictions(OOF)
    found = found or out_of_fold(config, features, folds)
    found.save(run.predictions_path(OOF))
    about = {"run": config.id, "folds": folds, "seed": FOLD_SEED, "clips": len(found.clip_ids)}
    sealed.write_json(run.folder / OOF_RECORD, about)
    return found


def out_of_fold(
    config: HeadConfig,
    features: Features,
    folds: int,
    *,
    on_fold: Callable[[int, Predictions], None] | None = None,
) -> Predictions:
    """Train one head per fold on the other folds and predict the fold, on the labels' scale.

    Parameters
    ----------
    on_fold
        Called after each fold with its number from 1 and the predictions so far; may raise to stop.

    Raises
    ------
    ValueError
        Where an axis is rated in one fold alone: the others could not learn it.
    """
    clips = rated(features, features.of("train"))
    fold = group_folds([features.clips[n] for n in clips], folds, FOLD_SEED)
    done: list[int] = []
    values: list[np.ndarray] = []
    axes: tuple[str, ...] = ()
    for number in range(folds):
        head = fit(config, features, train=clips[fold != number]).head
        if axes and head.axes != axes:
            raise ValueError(f"folds learn different axes ({axes}, {head.axes}): too few ratings of some")
        axes = head.axes
        held_out = clips[fold == number]
        done.extend(held_out)
        values.append(predict(head, features, held_out))
        so_far = Predictions(
            config.id,
            OOF,
            tuple(features.clips[n].id for n in done),
            np.concatenate(values),
            axes,
            caveats_of(features, head.specs),
        )
        if on_fold is not None:
            on_fold(number + 1, so_far)
    return so_far
