"""How a training goes, for TensorBoard (the extra `tensorboard`): nothing of it is loaded unless asked for.

    work/tensorboard/<run id>         by epoch loss/train, loss/dev, and dev/srcc/PQ ... of the splits watched
    work/tensorboard/<run id>/result  the run's configuration, and what it came to

A run that begins again begins its events again.  A head is the same with them and without.  Epochs are
written before a head is calibrated, so where its loss leaves level and spread free, their MSE says nothing.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from mmmos.heads.config import HeadConfig
from mmmos.heads.metrics import METRICS, composite
from mmmos.heads.network.model import Head
from mmmos.heads.training.course import Epoch
from mmmos.heads.training.data import Features
from mmmos.heads.training.fit import OnEpoch
from mmmos.heads.training.outputs import Seen, predict
from mmmos.heads.training.start import rated
from mmmos.store.clips import score_array
from mmmos.store.schema import COMPOSITE

WATCHED = ("dev", "pam")
"""Splits whose metrics are written; never the test split, at which nobody should look while training."""


def writer_class() -> Any:
    """torch's SummaryWriter; RuntimeError, with what to do, where TensorBoard is not installed."""
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise RuntimeError("--tensorboard needs TensorBoard: pip install 'mmmos[tensorboard]'") from None
    return SummaryWriter


def events_folder(work: Path, config: HeadConfig) -> Path:
    return Path(work) / "tensorboard" / config.id


@contextmanager
def tracked(features: Features, work: Path, on: bool) -> Iterator[OnEpoch | None]:
    """For `fit(on_epoch=...)`: writes an epoch's losses and metrics; None where it is not `on`."""
    if not on:
        yield None
        return
    writers: dict[str, Any] = {}
    with ExitStack() as kept:

        def on_epoch(epoch: Epoch, head: Head, seen: Seen | None) -> None:
            if epoch.number == 1:
                folder = events_folder(work, head.config)
                shutil.rmtree(folder, ignore_errors=True)
                writers[head.config.id] = kept.enter_context(writer_class()(folder, flush_secs=5))
            losses = {"loss/train": epoch.train_loss, "loss/dev": epoch.dev_loss}
            for tag, value in (losses | metrics_of(head, features, seen)).items():
                if value is not None:
                    writers[head.config.id].add_scalar(tag, value, epoch.number)

    try:
        yield on_epoch
    finally:
        for writer in writers.values():
            writer.close()


def write_result(config: HeadConfig, work: Path, values: Mapping[str, float | None]) -> None:
    """A run's configuration beside what it came to, as the tab HParams shows them, a row a run."""
    folder = events_folder(work, config)
    shutil.rmtree(folder / "result", ignore_errors=True)
    settings = {name: _plain(value) for name, value in asdict(config).items()}
    found = {tag: value for tag, value in values.items() if value is not None}
    with writer_class()(folder) as writer:
        writer.add_hparams(settings, found, run_name="result")


def metrics_of(head: Head, features: Features, seen: Seen | None = None) -> dict[str, float | None]:
    """Every metric of every axis, and of their composite, on the clips that training may watch; `seen` as in
    `predict`."""
    found: dict[str, float | None] = {}
    for split in WATCHED:
        clips = rated(features, features.of(split))
        if not len(clips):
            continue
        predicted = predict(head, features, clips, seen)
        truth = score_array([features.clips[n] for n in clips], head.axes)
        columns = dict(zip(head.axes, zip(predicted.T, truth.T, strict=True), strict=True))
        columns[COMPOSITE] = composite(predicted, truth)
        for axis, (ours, theirs) in columns.items():
            known = np.isfinite(theirs)
            for name, metric in METRICS.items():
                found[f"{split}/{name}/{axis}"] = metric.function(ours[known], theirs[known])
    return found


def _plain(value: Any) -> bool | int | float | str:
    """What a column of hyperparameters takes."""
    return value if isinstance(value, bool | int | float | str) else str(value)
