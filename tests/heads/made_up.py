"""A made-up experiment for tests: rated clips with known truth, and runs that are truth plus noise."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from mmmos.heads.config import HeadConfig
from mmmos.heads.runs import OOF, OOF_RECORD
from mmmos.store.clips import ClipTable, save_table
from mmmos.store.predictions import Predictions
from mmmos.store.schema import AES_AXES, Axes, Clip

SPLITS = {"train": 120, "dev": 48, "pam": 48, "test": 96}
DOMAINS = ("music", "sound", "speech")
CAVEAT = "made-up ratings"


def made_up_table(
    seed: int = 0,
    raters: int = 10,
    systems: int = 12,
    axes: tuple[str, ...] | None = None,
    of: Axes = AES_AXES,
) -> ClipTable:
    """312 clips of 3 domains in four splits; only `axes` (left out: all) `of` the table's are rated."""
    rng = np.random.default_rng(seed)
    count_axes = len(of)
    offsets = rng.normal(0, 1.0, (systems, count_axes))
    levels = rng.normal(0, 0.7, (3, count_axes))
    clips = []
    for split, count in SPLITS.items():
        for i in range(count):
            system, domain = i % systems, i % 3
            quality = 5 + offsets[system] + levels[domain] + rng.normal(0, 0.6, count_axes)
            panel = np.clip(np.round(quality[:, None] + rng.normal(0, 1.2, (count_axes, raters))), 0, 10)
            single = tuple(
                tuple(row) if axes is None or axis in axes else ()
                for axis, row in zip(of, panel.tolist(), strict=True)
            )
            scores = tuple(float(np.mean(row)) if row else None for row in single)
            name = f"{split}-{i:03d}"
            where = (f"sys{system}", f"group{i % 20}", split)
            seen = (f"{i:032x}", 4.0 + i % 15)
            about = (name, f"{name}.wav", DOMAINS[domain], "made up", *where)
            clips.append(Clip(*about, scores, single, *seen, axes=of.names))
    return ClipTable(tuple(clips), caveats=(CAVEAT,), axes=of)


def made_up_run(
    table: ClipTable,
    split: str,
    noise: float,
    run: str = "run",
    seed: int = 0,
    axes: tuple[str, ...] | None = None,
) -> Predictions:
    """Predictions that miss the ratings by `noise` of their own and by 0.5 that all runs share."""
    clips = table.of(split)
    axes = table.axes.names if axes is None else axes
    columns = [table.axes.names.index(axis) for axis in axes]
    truth = table.scores(clips, axes)
    # The run's name seeds its errors, so different runs err differently.
    rng = np.random.default_rng([seed, *run.encode(), *split.encode()])
    common = np.random.default_rng([seed, *split.encode()]).normal(0, 0.5, (len(clips), len(table.axes)))[
        :, columns
    ]
    values = truth + common + rng.normal(0, noise, truth.shape)
    return Predictions(run, split, tuple(clip.id for clip in clips), values, axes, table.caveats)


def made_up_work(
    work: Path, table: ClipTable | None = None, splits: tuple[str, ...] = ("dev", "pam", "test")
) -> Path:
    """A work folder with the paper's sixteen configurations, stored as training would store them."""
    table = table or made_up_table()
    save_table(table, work / "clips.json")
    sets = {"bi": ("wavlm-000000000000", "m2d-000000000000")}
    sets["tri"] = ("wavlm-000000000000", "muq-000000000000", "m2d-000000000000")
    cells = [("bi", "mlp"), ("tri", "mlp"), ("tri", "blstm_t"), ("tri", "blstm_h")]
    for place, (encoders, aggregator) in enumerate(cells):
        for also, loss in enumerate(("ccc", "con", "dcq", "ut")):
            config = HeadConfig(table.id, sets[encoders], aggregator, loss)
            write_run(work, table, config, splits, noise=0.4 + 0.1 * place + 0.05 * also)
    return work


def write_run(work: Path, table: ClipTable, config: HeadConfig, splits: Iterable[str], noise: float) -> None:
    """A run as training would store it, with made-up predictions."""
    axes = tuple(
        axis for axis, column in zip(table.axes, table.scores().T, strict=True) if np.isfinite(column).any()
    )
    folder = work / "runs" / config.id
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(asdict(config)))
    curve = [{"number": e + 1, "train_loss": 1 / (e + 1), "dev_loss": 0.2 + 1 / (e + 1)} for e in range(6)]
    record = {"run": config.id, "curve": curve, "best_epoch": 6, "seconds": 1.0}
    (folder / "record.json").write_text(json.dumps(record))
    if OOF in splits:
        (folder / OOF_RECORD).write_text(json.dumps({"folds": 5}))
    for split in splits:
        made_up_run(table, split, noise, config.id, axes=axes).save(folder / f"predictions-{split}.parquet")


def find(rows: Iterable[Any], **wanted: str) -> Any:
    """The single row whose fields equal `wanted`; LookupError if there is none or more than one."""
    found = [row for row in rows if all(getattr(row, key) == value for key, value in wanted.items())]
    if len(found) != 1:
        raise LookupError(f"{len(found)} rows with {wanted}")
    return found[0]
