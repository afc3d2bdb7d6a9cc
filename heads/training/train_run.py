"""Training a run: fit a head, predict every split, and keep it all (see `heads.runs`)."""

from __future__ import annotations

import platform
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from mmmos import __version__
from mmmos.heads.config import HeadConfig
from mmmos.heads.network.model import Head
from mmmos.heads.runs import CONFIG, PREDICTED, RECORD, Run
from mmmos.heads.training.data import Features, Indices
from mmmos.heads.training.fit import Fit, fit_together
from mmmos.heads.training.outputs import Seen, predict
from mmmos.heads.training.tracking import metrics_of, tracked, write_result
from mmmos.store import sealed
from mmmos.store.predictions import Predictions
from mmmos.store.schema import EncoderSpec


def train_runs(
    configs: Sequence[HeadConfig], features: Features, work: Path, *, tensorboard: bool = False
) -> Iterator[tuple[HeadConfig, str]]:
    """Train configs and keep their runs, each as it ends; runs that are there already are left alone.

    Yields each config with the reason why it could not be trained, "" where it was.  With `tensorboard` their
    events are written, see `tracking`.  ValueError for a config of another clip table.
    """
    for config in configs:
        if config.data != features.table.id:
            raise ValueError(f"the config is for {config.data}, the clip table here is {features.table.id}")
    missing = [config for config in configs if not Run.of(work, config).is_whole]
    yield from ((config, "") for config in configs if config not in missing)
    with tracked(features, work, tensorboard) as on_epoch:
        for config, found in fit_together(missing, features, on_epoch=on_epoch):
            if isinstance(found, Exception):
                yield config, str(found)
                continue
            keep(found, features, Run.of(work, config))
            if tensorboard:
                write_result(config, work, metrics_of(found.head, features))
            yield config, ""


def keep(fitted: Fit, features: Features, run: Run, **extra: Any) -> None:
    """Write a fitted head, what it predicts for every split there is, and last the record with `extra`."""
    head = fitted.head
    caveats = caveats_of(features, head.specs)
    for split in PREDICTED:
        clips = features.of(split)
        if len(clips):
            to_predictions(head, features, clips, split, caveats).save(run.predictions_path(split))
    about = {**record(fitted, features, caveats), **extra}
    head.save(run.head_path, about)
    sealed.write_json(run.folder / CONFIG, asdict(head.config))
    sealed.write_json(run.folder / RECORD, about)


def to_predictions(
    head: Head,
    features: Features,
    clips: Indices,
    split: str,
    caveats: Sequence[str],
    seen: Seen | None = None,
) -> Predictions:
    """What a head says about clips, on the labels' scale; `seen` as in `predict`."""
    values = predict(head, features, clips, seen)
    ids = tuple(features.clips[n].id for n in clips)
    return Predictions(head.config.id, split, ids, values, head.axes, tuple(caveats))


def caveats_of(features: Features, specs: Sequence[EncoderSpec]) -> tuple[str, ...]:
    """What must be said wherever these results appear: the table's caveats and untrained encoders."""
    untrained = [f"untrained {spec.name}" for spec in specs if spec.is_random]
    return (*features.table.caveats, *untrained)


def record(fitted: Fit, features: Features, caveats: Sequence[str]) -> dict[str, Any]:
    """How a head came about, as JSON values."""
    head, config = fitted.head, fitted.head.config
    epochs = len(fitted.curve)
    return {
        "run": config.id,
        "title": config.title,
        "config": asdict(config),
        "data": features.table.id,
        "encoders": {spec.id: asdict(spec) for spec in head.specs},
        "axes": list(head.axes),
        "scale": head.scale.to_json(),
        "clips": {split: len(features.of(split)) for split in ("train", *PREDICTED)},
        "target": {"mean": head.target_mean.tolist(), "std": head.target_std.tolist()},
        "calibration": {
            "fitted": head.loss.calibrate,
            "on": "train predictions, per axis, least squares" if head.loss.calibrate else "none needed",
            "slope": head.slope.tolist(),
            "offset": head.offset.tolist(),
        },
        "seed": config.seed,
        "curve": [asdict(epoch) for epoch in fitted.curve],
        "best_epoch": fitted.best_epoch,
        "stopped": "early" if epochs < config.epochs else "after the last epoch",
        "seconds": round(fitted.seconds, 3),
        "device": str(head.target_mean.device),
        "versions": {
            "mmmos": __version__,
            "python": platform.python_version(),
            **{name: version(name) for name in ("torch", "numpy", "safetensors")},
        },
        "caveats": list(caveats),
        "notes": list(fitted.notes),
    }
