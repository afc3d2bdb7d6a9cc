"""A run on disk: the folder `work/runs/<config id>` with a head, its predictions and its record.

config.json                 the HeadConfig
head.safetensors            weights, statistics and specs (see `model`)
predictions-<split>.parquet dev, pam and test, those that the table has; "oof" where asked for
record.json                 how it came about; written last, so a run without it never happened
"""

from __future__ import annotations

import json
import platform
from collections.abc import Callable, Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from mmmos.heads.config import HeadConfig
from mmmos.heads.network.model import Head
from mmmos.heads.training.data import Features, Rows
from mmmos.heads.training.fit import Epoch, Fit, fit, predict
from mmmos.store import files
from mmmos.store.predictions import Predictions
from mmmos.store.schema import EncoderSpec

RECORD = "record.json"
CONFIG = "config.json"
HEAD = "head.safetensors"
PREDICTED = ("dev", "pam", "test")


def runs_folder(work: Path) -> Path:
    return Path(work) / "runs"


def run_folder(work: Path, config: HeadConfig) -> Path:
    return runs_folder(work) / config.id


def predictions_path(folder: Path, split: str) -> Path:
    return folder / f"predictions-{split}.parquet"


def is_whole(folder: Path) -> bool:
    """True for a run that was trained to its end."""
    return (folder / RECORD).is_file()


def load_config(folder: Path) -> HeadConfig:
    """The config of a run; ValueError where it is not the one that the folder is named after."""
    config = HeadConfig.from_json(json.loads(files.read_bytes(folder / CONFIG)))
    if config.id != folder.name:
        raise ValueError(f"{folder} holds the config of {config.id}")
    return config


def load_record(folder: Path) -> dict[str, Any]:
    """The record of a run, see `record`."""
    loaded: dict[str, Any] = json.loads(files.read_bytes(folder / RECORD))
    return loaded


def load_head(folder: Path) -> Head:
    return Head.load(folder / HEAD)


def train_run(
    config: HeadConfig,
    features: Features,
    work: Path,
    *,
    on_epoch: Callable[[Epoch, Head], None] | None = None,
    extra: dict[str, Any] | None = None,
) -> Path:
    """Train a config and keep the run; returns its folder at once where it is there already.

    extra: further entries of the record (a sweep's study and trial).
    """
    folder = run_folder(work, config)
    if is_whole(folder):
        return folder
    if config.data != features.table.id:
        raise ValueError(f"the config is for {config.data}, the clip table here is {features.table.id}")
    fitted = fit(config, features, on_epoch=on_epoch)
    keep(fitted, features, folder, extra or {})
    return folder


def keep(fitted: Fit, features: Features, folder: Path, extra: dict[str, Any]) -> None:
    """Write a fitted head, what it predicts for every split there is, and last the record."""
    head = fitted.head
    caveats = caveats_of(features, head.specs)
    counts = {}
    for split in PREDICTED:
        clips = features.of(split)
        counts[split] = len(clips)
        if len(clips):
            to_predictions(head, features, clips, split, caveats).save(predictions_path(folder, split))
    about = {**record(fitted, features, caveats), **extra}
    head.save(folder / HEAD, about)
    files.write_text(folder / CONFIG, _json(asdict(head.config)))
    files.write_text(folder / RECORD, _json(about))


def to_predictions(
    head: Head, features: Features, clips: Rows, split: str, caveats: Sequence[str]
) -> Predictions:
    """What a head says about clips, on the labels' scale."""
    values = predict(head, features, clips)
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
        "scale": asdict(head.scale),
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
        "versions": {
            "python": platform.python_version(),
            **{name: version(name) for name in ("torch", "numpy", "safetensors")},
        },
        "caveats": list(caveats),
        "notes": list(fitted.notes),
    }


def _json(value: Any) -> str:
    return json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
