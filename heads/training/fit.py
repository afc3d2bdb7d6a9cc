"""Training heads, and what they predict.

Adam, learning rate 1e-4, batch 32 or 16, at most ten epochs, early stop on the dev loss (paper V-A).
Targets are z-scored and features standardised with statistics of the train split alone.  One stored
crop of each clip is drawn per epoch; evaluation averages all crops of a clip (see `outputs`).

Heads that draw the same batches are trained side by side: each batch is read once for all of them.  A head
comes out as it would alone, on a CPU to the last bit.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from mmmos.heads.config import CLOSED_FORM, HeadConfig
from mmmos.heads.mixing import affine
from mmmos.heads.network.model import Head
from mmmos.heads.training.course import Course, DivergedError, Draws, Epoch
from mmmos.heads.training.data import Features, Indices, sent
from mmmos.heads.training.outputs import Seen, arithmetic, clip_outputs
from mmmos.heads.training.solving import solve_head
from mmmos.heads.training.start import epoch_batches, fresh_head, rated
from mmmos.heads.training.waves import asked_by, steps
from mmmos.store.clips import score_array
from mmmos.store.device import is_out_of_memory

DEV_CLIPS_AT_ONCE = 512
"""Pairwise losses grow with the square of the clips: a larger dev split is averaged over parts."""


@dataclass(frozen=True)
class Fit:
    """A trained head and how it came about.

    Parameters
    ----------
    head
        On the device that it was trained on.
    best_epoch
        The epoch whose weights the head has, counted from 1.
    seconds
        From the start of the heads that it was trained with.
    notes
        What a reader of the run's record must know about its data.
    """

    head: Head
    curve: tuple[Epoch, ...]
    best_epoch: int
    seconds: float
    notes: tuple[str, ...]


Outcome = Fit | DivergedError | ValueError
"""Of one head among others: trained, or why it cannot be."""

T = TypeVar("T")

OnEpoch = Callable[[Epoch, Head, Seen | None], None]
"""Called after every epoch with the head as it stands, and what it gives for the clips that tell when to
stop, where there are any; may raise to stop all."""


def fit(
    config: HeadConfig,
    features: Features,
    *,
    train: Indices | None = None,
    on_epoch: OnEpoch | None = None,
) -> Fit:
    """Train one head, see `fit_together`; on a CPU the same config and features give the same bits.

    Raises
    ------
    ValueError
        Where nothing can be trained.
    DivergedError
        For a loss that is not finite or absurdly large.
    """
    ((_, found),) = fit_together([config], features, train=train, on_epoch=on_epoch)
    if isinstance(found, Exception):
        raise found
    return found


def fit_together(
    configs: Sequence[HeadConfig],
    features: Features,
    *,
    train: Indices | None = None,
    on_epoch: OnEpoch | None = None,
) -> Iterator[tuple[HeadConfig, Outcome]]:
    """Train heads, those side by side that draw the same batches; each is given back when it has ended.

    Where memory does not suffice, features leave the device, and then half of the heads are trained at a
    time: nothing of that changes a head.

    Parameters
    ----------
    train
        Clip numbers to train on instead of the train split (out-of-fold training).
    """
    clips = rated(features, features.of("train") if train is None else train)
    waiting = side_by_side(configs)
    while waiting:
        group, lacking = list(waiting.pop(0)), ""
        try:
            for config, found in _train(group, features, clips, on_epoch):
                group.remove(config)
                yield config, found
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            lacking = str(error) or "out of memory"
        if not lacking:  # not in the except clause: its traceback would keep the memory in use
            continue
        torch.cuda.empty_cache()
        half = (len(group) + 1) // 2
        if features.give_way():
            waiting.insert(0, group)
        elif len(group) > 1:
            waiting[:0] = [group[:half], group[half:]]
        else:
            yield group[0], ValueError(f"it does not fit into the memory of {features.device}: {lacking}")


def side_by_side(configs: Sequence[HeadConfig]) -> list[list[HeadConfig]]:
    """Heads that draw the same batches, in groups; one in closed form draws none and stands alone."""
    groups: dict[object, list[HeadConfig]] = {}
    for config in configs:
        alone = config.id if config.aggregator in CLOSED_FORM else ""
        groups.setdefault((config.seed, config.batch, config.stop_on, alone), []).append(config)
    return list(groups.values())


def _train(
    configs: Sequence[HeadConfig], features: Features, clips: Indices, on_epoch: OnEpoch | None
) -> Iterator[tuple[HeadConfig, Outcome]]:
    """One group of heads, from their first epoch to their last."""
    started = time.perf_counter()
    if configs[0].aggregator in CLOSED_FORM:
        yield configs[0], _caught(partial(_in_one_step, configs[0], features.on_host(), clips, started))
        return
    dev = rated(features, np.concatenate([features.of(split) for split in configs[0].stop_on.split("+")]))
    courses = []
    for config in list(configs):
        course = _caught(partial(_start, config, features, clips, dev))
        if isinstance(course, Exception):
            yield config, course
        else:
            courses.append(course)
    number = 0
    while courses:
        number += 1
        with arithmetic(features.device):
            train_epoch(courses, features, clips, number)
            dev_losses = _dev_losses(courses, features)
        for course, dev_loss in zip(list(courses), dev_losses, strict=True):
            found = _caught(partial(_end_epoch, course, features, clips, dev_loss, started, on_epoch))
            if found is not None:
                courses.remove(course)
                yield course.config, found


def _caught(work: Callable[[], T]) -> T | DivergedError | ValueError:
    """What a call gives; the reason where this head cannot be trained, which is no reason for the others."""
    try:
        return work()
    except (DivergedError, ValueError) as reason:
        return reason


def _start(config: HeadConfig, features: Features, clips: Indices, dev: Indices) -> Course:
    draws = Draws(config.seed, features.device)
    with arithmetic(features.device), draws.here():
        head = fresh_head(config, features, clips)
    return Course(head, draws, features, dev)


def train_epoch(courses: Sequence[Course], features: Features, clips: Indices, epoch: int) -> None:
    """All steps of one epoch of heads that draw the same batches."""
    for course in courses:
        course.head.train()
    batches = list(epoch_batches(features, clips, courses[0].config, epoch))
    for wave in steps(features, asked_by(course.head for course in courses), batches):
        for course in courses:
            course.step(wave)


def _end_epoch(
    course: Course,
    features: Features,
    clips: Indices,
    dev_loss: Tensor | None,
    started: float,
    on_epoch: OnEpoch | None,
) -> Fit | None:
    """Take stock of an epoch; the trained head where it was the last one."""
    epoch = course.end_epoch(len(clips), dev_loss)
    if on_epoch is not None:
        on_epoch(epoch, course.head, course.seen)
    if not course.has_ended:
        return None
    head = course.take_best()
    if head.loss.calibrate:
        with arithmetic(features.device):
            _calibrate(head, features, clips)
    notes = _notes(head, features, clips, course.dev)
    return Fit(head, tuple(course.curve), course.best, time.perf_counter() - started, notes)


def _in_one_step(config: HeadConfig, features: Features, clips: Indices, started: float) -> Fit:
    """A head in closed form; its one epoch has the errors of training and of cross-validation in it."""
    with arithmetic(features.device):
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


def _dev_losses(courses: Sequence[Course], features: Features) -> list[Tensor | None]:
    """The loss of each head on the clips that tell when to stop, still on the device; None without any."""
    dev = courses[0].dev
    if not len(dev):
        return [None] * len(courses)
    numbers = sent(torch.from_numpy(dev), features.device)
    found: list[Tensor | None] = []
    for course, outputs in zip(
        courses, clip_outputs([course.head for course in courses], features, dev), strict=True
    ):
        course.seen = Seen(dev, outputs)
        parts = [
            course.head.loss.function(outputs[at], course.targets[numbers[at]].double()) * len(numbers[at])
            for at in (slice(n, n + DEV_CLIPS_AT_ONCE) for n in range(0, len(dev), DEV_CLIPS_AT_ONCE))
        ]
        found.append(torch.stack(parts).sum() / len(dev))
    return found


def _calibrate(head: Head, features: Features, clips: Indices) -> None:
    (outputs,) = clip_outputs([head], features, clips)
    z = head.z_scores(outputs).cpu().numpy()
    scores = score_array([features.clips[n] for n in clips], head.axes)
    truth = (scores - head.target_mean.cpu().numpy()) / head.target_std.cpu().numpy()
    slope, offset = affine(z, truth)
    head.slope.copy_(torch.from_numpy(slope))
    head.offset.copy_(torch.from_numpy(offset))
