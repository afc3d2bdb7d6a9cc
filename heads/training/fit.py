"""Training one head, and what it predicts.

Adam, learning rate 1e-4, batch 32 or 16, at most ten epochs, early stop on the dev loss (paper V-A).
Targets are z-scored and features standardised with statistics of the train split alone.  One stored
crop of each clip is drawn per epoch; evaluation averages all crops of a clip weighted by `valid_s`.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mmmos.heads.config import CLOSED_FORM, HeadConfig
from mmmos.heads.mixing import affine
from mmmos.heads.network.model import Head
from mmmos.heads.network.reading import weighted_mean
from mmmos.heads.network.targets import Targets
from mmmos.heads.training.data import Features, Indices
from mmmos.heads.training.solving import solve_head
from mmmos.store.clips import score_array

EXPLODED = 1e4
"""Losses are of order one on z-scored targets; a mean beyond this is not coming back."""

EVALUATION_CROPS = {"means": 1024, "layers": 64, "statistics": 1024, "profile": 256, "frames": 32}
"""Crops per forward pass without gradients, so that memory stays flat."""

DEV_CLIPS_AT_ONCE = 512
"""Pairwise losses grow with the square of the clips: a larger dev split is averaged over parts."""


class DivergedError(RuntimeError):
    """The loss of a training run became NaN, infinite or absurd; the message says when."""


@dataclass(frozen=True)
class Epoch:
    """Mean losses of one epoch; `dev_loss` is None without a dev split."""

    number: int
    train_loss: float
    dev_loss: float | None


@dataclass(frozen=True)
class Fit:
    """A trained head and how it came about.

    Parameters
    ----------
    best_epoch
        The epoch whose weights the head has, counted from 1.
    notes
        What a reader of the run's record must know about its data.
    """

    head: Head
    curve: tuple[Epoch, ...]
    best_epoch: int
    seconds: float
    notes: tuple[str, ...]


def fit(
    config: HeadConfig,
    features: Features,
    *,
    train: Indices | None = None,
    on_epoch: Callable[[Epoch, Head], None] | None = None,
) -> Fit:
    """Train one head on one thread; the same config and features give the same bits.

    Parameters
    ----------
    train
        Clip numbers to train on instead of the train split (out-of-fold training).
    on_epoch
        Called after every epoch with the head as it stands; may raise to stop.

    Raises
    ------
    ValueError
        Where nothing can be trained.
    DivergedError
        For a loss that is not finite or absurdly large.
    """
    started = time.perf_counter()
    clips = rated(features, features.of("train") if train is None else train)
    dev = rated(features, np.concatenate([features.of(split) for split in config.stop_on.split("+")]))
    if config.aggregator in CLOSED_FORM:
        return _in_one_step(config, features, clips, started)
    with one_thread(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        head = fresh_head(config, features, clips)
        targets = Targets(head, features.clips)
        dev = dev[targets.rated[dev]]
        optimizer = torch.optim.AdamW(
            head.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay, fused=True
        )
        curve: list[Epoch] = []
        best, best_loss, best_state = 0, math.inf, copy.deepcopy(head.state_dict())
        for number in range(1, config.epochs + 1):
            train_loss = train_epoch(head, optimizer, features, targets, clips, number)
            dev_loss = _dev_loss(head, features, targets, dev) if len(dev) else None
            epoch = Epoch(number, train_loss, dev_loss)
            _refuse_divergence(epoch)
            curve.append(epoch)
            if dev_loss is None or dev_loss < best_loss:
                best, best_loss = number, math.inf if dev_loss is None else dev_loss
                best_state = copy.deepcopy(head.state_dict())
            if on_epoch is not None:
                on_epoch(epoch, head)
            if number - best >= config.patience:
                break
        head.load_state_dict(best_state)
        if head.loss.calibrate:
            _calibrate(head, features, clips)
    notes = _notes(head, features, clips, dev)
    return Fit(head.eval(), tuple(curve), best, time.perf_counter() - started, notes)


def _in_one_step(config: HeadConfig, features: Features, clips: Indices, started: float) -> Fit:
    """A head in closed form; its one epoch has the errors of training and of cross-validation in it."""
    with one_thread():
        head = fresh_head(config, features, clips).eval()
        report = solve_head(head, features, clips)
    epoch = Epoch(1, report.train_error, report.error)
    return Fit(head, (epoch,), 1, time.perf_counter() - started, report.notes)


def _notes(head: Head, features: Features, clips: Indices, dev: Indices) -> tuple[str, ...]:
    """What a reader of the run's record must know about its data."""
    single = any(any(features.clips[n].ratings) for n in clips)
    said = {
        f"no {head.config.stop_on} split with ratings: every epoch was run and the last one kept": not len(
            dev
        ),
        "no single ratings: mean scores stood for them": head.loss.distribution and not single,
    }
    return tuple(note for note, holds in said.items() if holds)


def fresh_head(config: HeadConfig, features: Features, clips: Indices) -> Head:
    """An untrained head with the statistics of these clips; only the axes rated among them."""
    scores = features.truth[clips]
    present = np.isfinite(scores).any(axis=0)
    if not present.any():
        raise ValueError("no clip of the train split is rated on any axis: nothing to learn from")
    axes = [axis for axis, there in zip(features.table.axes, present, strict=True) if there]
    scale = features.table.scale.only(np.flatnonzero(present).tolist())
    support = len(clips) if config.aggregator in CLOSED_FORM else 0
    head = Head(config, features.specs_of(config), axes, scale, support=support)
    mean = np.nanmean(scores[:, present], axis=0)
    std = np.nanstd(scores[:, present], axis=0)
    # An axis that never varies in training has no unit of its own; 1 keeps it finite.
    std = np.where(std > 0, std, 1.0)
    statistics = features.statistics(head.specs, head.reading, features.rows(clips))
    head.set_statistics(statistics, torch.from_numpy(mean), torch.from_numpy(std))
    return head


def train_epoch(
    head: Head,
    optimizer: torch.optim.Optimizer,
    features: Features,
    targets: Targets,
    clips: Indices,
    epoch: int,
) -> float:
    head.train()
    total = 0.0
    for batch in epoch_batches(features, clips, head.config, epoch):
        rows = batch[:, 1]
        optimizer.zero_grad(set_to_none=True)
        loss = head.loss.function(_outputs(head, features, rows), targets[batch[:, 0]])
        loss.backward()
        optimizer.step()
        total += loss.item() * len(batch)
    return total / len(clips)


def epoch_batches(features: Features, clips: Indices, config: HeadConfig, epoch: int) -> Iterator[Indices]:
    """Batches [B, 2] of (clip, crop) numbers: clips in random order, one random stored crop of each."""
    rng = np.random.default_rng([config.seed, epoch])
    order = rng.permutation(clips)
    crops = features.first[order] + rng.integers(features.counts[order])
    pairs = np.stack((order, crops), axis=1)
    for start in range(0, len(pairs), config.batch):
        yield pairs[start : start + config.batch]


def _outputs(head: Head, features: Features, rows: Indices) -> Tensor:
    """What the loss takes for each of these crops."""
    return head.for_loss(features.batch(head.specs, head.reading, rows))


@torch.no_grad()
def clip_outputs(head: Head, features: Features, clips: Indices) -> Tensor:
    """What the loss takes for each clip [N, A] (or [N, A, RATING_LEVELS]): its crops averaged by `valid_s`.

    Distributions are averaged as probabilities and returned as their logarithm.
    """
    head.eval()
    rows, step = features.rows(clips), EVALUATION_CROPS[head.reading.kind]
    parts = (rows[at : at + step] for at in range(0, len(rows), step))
    crops = torch.cat([_outputs(head, features, part) for part in parts]).double()
    crops = crops.softmax(-1) if head.loss.distribution else crops
    owner = torch.from_numpy(np.repeat(np.arange(len(clips)), features.counts[clips]))
    mean = weighted_mean(crops, owner, torch.from_numpy(features.valid_s[rows]))
    return mean.clamp(min=1e-30).log() if head.loss.distribution else mean


def predict(head: Head, features: Features, clips: Indices) -> NDArray[np.float64]:
    """Scores [N, A] of clips on the labels' scale, one column per axis of the head."""
    with one_thread():
        z = head.z_scores(clip_outputs(head, features, clips))
        return head.to_scale(z).numpy()


def rated(features: Features, clips: Indices) -> Indices:
    """Those of the clips that are rated on some axis."""
    return clips[np.isfinite(features.truth[clips]).any(axis=1)]


def _dev_loss(head: Head, features: Features, targets: Targets, dev: Indices) -> float:
    outputs = clip_outputs(head, features, dev)
    total = 0.0
    for start in range(0, len(dev), DEV_CLIPS_AT_ONCE):
        part = slice(start, start + DEV_CLIPS_AT_ONCE)
        loss = head.loss.function(outputs[part], targets[dev[part]].double())
        total += loss.item() * len(dev[part])
    return total / len(dev)


def _calibrate(head: Head, features: Features, clips: Indices) -> None:
    z = head.z_scores(clip_outputs(head, features, clips)).numpy()
    scores = score_array([features.clips[n] for n in clips], head.axes)
    truth = (scores - head.target_mean.numpy()) / head.target_std.numpy()
    slope, offset = affine(z, truth)
    head.slope.copy_(torch.from_numpy(slope))
    head.offset.copy_(torch.from_numpy(offset))


def _refuse_divergence(epoch: Epoch) -> None:
    for name, loss in (("train", epoch.train_loss), ("dev", epoch.dev_loss)):
        if loss is not None and not abs(loss) < EXPLODED:
            what = "is not finite" if not math.isfinite(loss) else f"is {loss:.3g}"
            raise DivergedError(
                f"the {name} loss {what} after epoch {epoch.number}; try a lower learning rate"
            )


@contextmanager
def one_thread() -> Iterator[None]:
    """Sums do not depend on how many processors there are, so neither do the bits of a head."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
