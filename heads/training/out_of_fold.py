"""Out-of-fold predictions: the train split, each clip predicted by a head that saw none of its group.

They let ensembles and sweeps be chosen on thousands of clips instead of a small dev split, without
touching it.  The dev split still stops each fold's training early, as it does the run's own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from mmmos.heads.config import HeadConfig
from mmmos.heads.mixing import Line, affine, through
from mmmos.heads.network.losses import loss_of
from mmmos.heads.network.model import Head
from mmmos.heads.runs import OOF, OOF_RECORD, PREDICTED, RECORD, Run
from mmmos.heads.training.course import DivergedError
from mmmos.heads.training.data import Features, Indices
from mmmos.heads.training.fit import fit_together
from mmmos.heads.training.outputs import predict
from mmmos.heads.training.start import rated
from mmmos.heads.training.train_run import caveats_of, to_predictions
from mmmos.store import sealed
from mmmos.store.clips import score_array
from mmmos.store.predictions import Predictions
from mmmos.store.splits import group_folds

FOLD_SEED = 0
"""Every run of a table is divided alike, so that their out-of-fold predictions can be averaged."""


def has_out_of_fold(work: Path, config: HeadConfig, folds: int) -> bool:
    """True where a run has out-of-fold predictions of this many folds."""
    path = Run.of(work, config).folder / OOF_RECORD
    return path.is_file() and sealed.read_object(path).get("folds") == folds


@dataclass(frozen=True)
class OutOfFold:
    """What heads predict of the folds that they did not see, and the lines fitted on that.

    Parameters
    ----------
    predictions
        On the labels' scale.  Those of a loss that leaves level and spread free went through `lines`.
    lines
        For each axis, fitted on all folds together: what a head trained on all clips is to be calibrated
        with, too.  () where the loss needs none.
    """

    predictions: Predictions
    lines: tuple[Line, ...] = ()


def keep_out_of_fold(
    config: HeadConfig, features: Features, work: Path, folds: int, found: OutOfFold | None = None
) -> Predictions:
    """The run's out-of-fold predictions beside its others; if missing, `found` is kept or they are made.

    The run's head, trained before, is then calibrated with their lines instead of with the clips that it
    was fitted on, and predicts every split again (FAULTS F6).
    """
    run = Run.of(work, config)
    if has_out_of_fold(work, config, folds):
        return run.predictions(OOF)
    found = found or out_of_fold(config, features, folds)
    found.predictions.save(run.predictions_path(OOF))
    if found.lines:
        recalibrate(run, features, found.lines)
    about = {"run": config.id, "folds": folds, "seed": FOLD_SEED, "clips": len(found.predictions.clip_ids)}
    # Last, so that whatever was cut off before is done again: every step gives the same when repeated.
    sealed.write_json(run.folder / OOF_RECORD, about)
    return found.predictions


def out_of_fold(
    config: HeadConfig,
    features: Features,
    folds: int,
    *,
    on_fold: Callable[[int, Predictions], None] | None = None,
) -> OutOfFold:
    """Train one head per fold on the other folds and predict the fold.

    Parameters
    ----------
    on_fold
        Called after each fold with its number from 1 and the predictions so far, calibrated on the clips
        that each head was fitted on; may raise to stop.

    Raises
    ------
    ValueError
        Where an axis is rated in one fold alone: the others could not learn it.
    DivergedError
        As `fit`.
    """
    ((_, found),) = out_of_fold_together([config], features, folds, on_fold=on_fold)
    if isinstance(found, Exception):
        raise found
    return found


def out_of_fold_together(
    configs: Sequence[HeadConfig],
    features: Features,
    folds: int,
    *,
    on_fold: Callable[[int, Predictions], None] | None = None,
) -> Iterator[tuple[HeadConfig, OutOfFold | DivergedError | ValueError]]:
    """As `out_of_fold` for configs whose heads of a fold are trained together, see `fit_together`; the reason
    for one that cannot be trained, the others go on."""
    clips = rated(features, features.of("train"))
    fold = group_folds([features.clips[n] for n in clips], folds, FOLD_SEED)
    said = {config: _Said(config, features, clips) for config in configs}
    for number in range(folds):
        train, held_out = clips[fold != number], clips[fold == number]
        for config, found in fit_together(list(said), features, train=train):
            reason = found if isinstance(found, Exception) else said[config].add(found.head, held_out)
            if reason is not None:
                del said[config]
                yield config, reason
            elif on_fold is not None:
                on_fold(number + 1, said[config].so_far())
    yield from ((config, one.as_one()) for config, one in said.items())


class _Said:
    """What the heads of one config say, each of the fold that it did not see."""

    def __init__(self, config: HeadConfig, features: Features, clips: Indices) -> None:
        self.config, self.features, self.clips = config, features, clips
        self.axes: tuple[str, ...] = ()
        self.done: list[int] = []
        self.values: list[NDArray[np.float64]] = []
        self.raw: list[NDArray[np.float64]] = []

    def add(self, head: Head, held_out: Indices) -> ValueError | None:
        """Predict a fold; the reason where its head learnt other axes than that of the last one."""
        if self.axes and head.axes != self.axes:
            axes = f"{self.axes}, {head.axes}"
            return ValueError(f"folds learn different axes ({axes}): too few ratings of some")
        self.axes = head.axes
        self.done.extend(held_out)
        calibrated = predict(head, self.features, held_out)
        level = level_of(head, self.features, self.clips)
        self.values.append(calibrated + level)
        self.raw.append(uncalibrated(head, calibrated) + level)
        return None

    def so_far(self) -> Predictions:
        """Of all folds that were added, calibrated on the clips that each head was fitted on."""
        return self._predictions(np.concatenate(self.values))

    def as_one(self) -> OutOfFold:
        """Of all folds, through lines that were fitted on them where the loss needs any."""
        if not loss_of(self.config.loss).calibrate:
            return OutOfFold(self.so_far())
        plain = np.concatenate(self.raw)
        truth = score_array([self.features.clips[n] for n in self.done], self.axes)
        # One line for all folds: a line for each would shift the folds against each other, and so cost rank
        # correlation that no user loses.  It cannot flatter ranks, and errors by two numbers an axis.
        lines = _lines(plain, truth)
        return OutOfFold(self._predictions(through(lines, plain)), lines)

    def _predictions(self, values: NDArray[np.float64]) -> Predictions:
        ids = tuple(self.features.clips[n].id for n in self.done)
        caveats = caveats_of(self.features, self.features.specs_of(self.config))
        return Predictions(self.config.id, OOF, ids, values, self.axes, caveats)


def level_of(head: Head, features: Features, clips: Indices) -> NDArray[np.float64]:
    """[A] what brings a fold's head to the level of all clips: their mean less that of its training clips.

    Leaving out high ratings lowers what is left, and heads that lean back to its mean then say less of just
    those clips: with few clips that alone makes correlations negative.  What a head says beyond the mean of
    its own training clips knows nothing of the ratings held out, and one level for all changes no rank.
    """
    truth = score_array([features.clips[n] for n in clips], head.axes)
    level: NDArray[np.float64] = np.nanmean(truth, axis=0) - head.target_mean.cpu().numpy()
    return level


def uncalibrated(head: Head, values: NDArray[np.float64]) -> NDArray[np.float64]:
    """[N, A] a head's scores as they would be without its calibration."""
    mean, std, slope, offset = (
        x.cpu().numpy() for x in (head.target_mean, head.target_std, head.slope, head.offset)
    )
    plain: NDArray[np.float64] = ((values - mean) / std - offset) / slope * std + mean
    return plain


def recalibrate(run: Run, features: Features, lines: Sequence[Line]) -> None:
    """Give a run's head these lines in place of its own, and predict every split again."""
    head = Head.load(run.head_path)
    slope, offset = torch.tensor(lines, dtype=torch.float64).T
    head.slope.copy_(slope)
    # score = slope * (z std + mean) + offset, in the head's own form (z slope' + offset') std + mean.
    head.offset.copy_((slope * head.target_mean + offset - head.target_mean) / head.target_std)
    record = run.record
    calibration = {
        "fitted": True,
        "on": "out-of-fold predictions of train, per axis, least squares",
        "slope": head.slope.tolist(),
        "offset": head.offset.tolist(),
    }
    for split in PREDICTED:
        clips = features.of(split)
        if len(clips):
            found = to_predictions(head, features, clips, split, record["caveats"])
            found.save(run.predictions_path(split))
    about = {**record, "calibration": calibration}
    head.save(run.head_path, about)
    sealed.write_json(run.folder / RECORD, about)


def _lines(pred: NDArray[np.float64], truth: NDArray[np.float64]) -> tuple[Line, ...]:
    slope, offset = affine(pred, truth)
    return tuple(zip(slope.tolist(), offset.tolist(), strict=True))
