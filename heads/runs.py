"""A run: one trained head on disk, in the folder `work/runs/<config id>`.  Reading one needs no torch.

config.json                 the HeadConfig
head.safetensors            weights, statistics and specs (see `network.model`)
predictions-<split>.parquet dev, pam and test, those that the table has; "oof" where asked for
record.json                 how it came about; written last, so a run without it never happened

`training.train_run` writes runs.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from mmmos.heads.config import HeadConfig, encoder_name
from mmmos.store import sealed
from mmmos.store.predictions import Predictions
from mmmos.store.schema import OOF as OOF
from mmmos.store.shape import NOTHING, NUMBER, require

RECORD = "record.json"
CONFIG = "config.json"
HEAD = "head.safetensors"
OOF_RECORD = "record-oof.json"
"""Beside out-of-fold predictions: how many folds there were."""

PREDICTED = ("dev", "pam", "test")

RECORD_SHAPE = {
    "run": str,
    "title?": str,
    "study?": str,
    "encoders?": {str: dict},
    "curve?": [{"number": int, "train_loss": (*NUMBER, NOTHING), "dev_loss": (*NUMBER, NOTHING)}],
    "best_epoch?": int,
    "seconds?": NUMBER,
    "caveats?": [str],
}
"""What readers take for granted of a record."""


class NotStoredError(ValueError):
    """The work folder lacks what is asked for; the message says which command makes it."""


@dataclass(frozen=True)
class Run:
    """One head of an experiment: its folder and its config; record and predictions are read when asked for.

    A Run may be named before it is trained: `is_whole` tells whether it was trained to its end.
    """

    folder: Path
    config: HeadConfig

    @staticmethod
    def of(work: Path, config: HeadConfig) -> Run:
        """The run of a config in a work folder, whether it is there yet or not."""
        return Run(runs_folder(work) / config.id, config)

    @staticmethod
    def open(folder: Path) -> Run:
        """The run in a folder; ValueError where its config is not the one that the folder is named after."""
        path = folder / CONFIG
        try:
            config = HeadConfig.from_json(sealed.read_object(path))
        except (TypeError, AttributeError, OverflowError) as reason:
            raise ValueError(f"{path} is not a head's config: {reason}") from None
        except ValueError as reason:
            raise ValueError(str(reason) if str(path) in str(reason) else f"{path}: {reason}") from None
        if config.id != folder.name:
            raise ValueError(f"{path} is the config of {config.id}")
        return Run(folder, config)

    @property
    def id(self) -> str:
        return self.config.id

    @property
    def title(self) -> str:
        """What a table calls it: "wavlm+m2d mlp ut", with the seed where it is not 0."""
        return self.config.title + (f" seed {self.config.seed}" if self.config.seed else "")

    @property
    def encoders(self) -> tuple[str, ...]:
        """The encoders' names, in the config's order."""
        return tuple(encoder_name(spec_id) for spec_id in self.config.encoders)

    @property
    def is_whole(self) -> bool:
        """True where it was trained to its end."""
        return (self.folder / RECORD).is_file()

    @property
    def head_path(self) -> Path:
        """The head's file, see `network.model.Head.load`."""
        return self.folder / HEAD

    @cached_property
    def record(self) -> dict[str, Any]:
        """How it came about, see `training.train_run.record`."""
        path = self.folder / RECORD
        record = sealed.read_object(path)
        if record.get("run") != self.id:
            raise ValueError(f"{path} is the record of {record.get('run')!r:.60}, not of {self.id}")
        require(record, RECORD_SHAPE, path)
        return record

    def predictions_path(self, split: str) -> Path:
        return self.folder / f"predictions-{split}.parquet"

    def has(self, split: str) -> bool:
        """Whether its predictions on `split` are stored."""
        return self.predictions_path(split).is_file()

    def predictions(self, split: str) -> Predictions:
        """What it predicts on `split`, "oof" for out-of-fold; NotStoredError where that is not stored."""
        path = self.predictions_path(split)
        if not self.has(split):
            raise NotStoredError(f"run {self.id} has no stored predictions on {split!r}")
        loaded = Predictions.load(path)
        if (loaded.run, loaded.split) != (self.id, split):
            raise ValueError(f"{path} holds run {loaded.run} on {loaded.split}")
        return loaded


def runs_folder(work: Path) -> Path:
    return Path(work) / "runs"
