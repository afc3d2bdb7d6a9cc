"""Which heads to train for a clip table: by its clips, its groups, and whether there are single ratings.

The rules follow from real listening tests, see docs/small-data.md.  No torch.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from mmmos.heads.config import BUNDLE, CLOSED_FORM, HeadConfig
from mmmos.heads.grids import configure, grid
from mmmos.heads.run_sets import BY_SIZE
from mmmos.store.clips import ClipTable
from mmmos.store.names import choose
from mmmos.store.schema import Clip, EncoderSpec
from mmmos.store.splits import groups_of

PRESETS = (BY_SIZE, "paper")

FEW_CLIPS = 1000
"""Below this many rated training clips a dev split is too small to choose by: folds are used instead."""

FEWEST_CLIPS = 50
FEWEST_GROUPS = 10
"""With fewer, figures and intervals say little, and the notes say so."""

STEPS = 400
"""Gradient steps that a trained head gets: 100 epochs of 128 clips, where the paper's ten have 40."""

RATE = 1e-3
"""Learning rate of trained heads for few clips; the paper's 1e-4 does not arrive anywhere in so few steps."""

NARROW = 500
"""Encoders whose frames have together fewer numbers are read as profiles; wide learnt ones as layer means:
the profile of 768 features is 6,144 numbers, more than few clips can use."""

MANY_FOLDS, FOLDS = 8, 5
"""Folds for up to FEW_FOR_FOLDS clips, where each clip more to learn from counts, and beyond."""
FEW_FOR_FOLDS = 300


@dataclass(frozen=True)
class Recipe:
    """What to train, and how to choose and calibrate.

    Parameters
    ----------
    configs
        The heads that may be members of the ensemble.
    baselines
        A ridge on the time means and deviations of the frames: what every result is compared with.
    folds
        Of the out-of-fold predictions; 0: none.
    rule
        The ensemble's rule, see `selectors`; "": the default one.
    per_axis
        Whether the rule is followed for each axis alone.
    calibrate
        Whether the ensemble's level and spread are set by out-of-fold predictions.
    notes
        What was chosen and why, in sentences.
    """

    configs: tuple[HeadConfig, ...]
    baselines: tuple[HeadConfig, ...]
    folds: int
    rule: str
    per_axis: bool
    calibrate: bool
    notes: tuple[str, ...]


def recipe_for(
    table: ClipTable, specs: Iterable[EncoderSpec], *, preset: str = BY_SIZE, seed: int = 0
) -> Recipe:
    """What to train on the train split of a table.

    Parameters
    ----------
    table
        Its clips of split "train" that are rated on some axis count.
    specs
        The encoders whose features are stored.
    preset
        "size": by the number of clips and groups; "paper": the paper's sixteen and its values.
    seed
        Of every head.

    Raises
    ------
    ValueError
        Where nothing can be trained.
    """
    given = list(specs)
    specs, prior = ([spec for spec in given if (spec.name == BUNDLE) is of] for of in (False, True))
    choose("preset", preset, PRESETS)
    clips = _rated(table)
    if not clips or not specs:
        raise ValueError(
            f"{len(clips)} rated clips of split train and {len(specs)} encoders: nothing to learn from"
        )
    groups = len(groups_of(clips))
    folds = _folds(len(clips), groups)
    by_size = preset == BY_SIZE and len(clips) < FEW_CLIPS
    baselines = (_ridge(table.id, specs, seed),)
    said = [_counts(clips, groups)]
    if preset == "paper":
        said.append("the paper's sixteen configurations, ten epochs at 1e-4")
        return Recipe(grid("paper", specs, table.id, seed=seed), baselines, 0, "", False, False, tuple(said))
    configs = [
        *_closed(table.id, specs, seed),
        *_started(table.id, specs, prior, seed),
        *(_trained(table.id, specs, clips, seed) if by_size else _paper_like(table, specs, clips, seed)),
    ]
    said += _reasons(len(clips), groups, folds, by_size)
    many = len(clips) >= FEW_FOR_FOLDS
    return Recipe(
        tuple(dict.fromkeys(configs)),
        baselines,
        folds,
        "all" if not folds else "stack:oof:1" if many else "even:oof",
        folds > 0,
        folds > 0,
        tuple(said),
    )


def _rated(table: ClipTable) -> list[Clip]:
    return [clip for clip in table.of("train") if any(score is not None for score in clip.scores)]


def _counts(clips: Sequence[Clip], groups: int) -> str:
    single = _has_single_ratings(clips)
    return f"{len(clips)} rated clips in {groups} groups, {'with' if single else 'without'} single ratings"


def _reasons(clips: int, groups: int, folds: int, by_size: bool) -> list[str]:
    said = []
    if clips < FEWEST_CLIPS or groups < FEWEST_GROUPS:
        said.append(
            f"{clips} clips in {groups} groups are too few for a predictor that one can rely on: read its "
            "scores as an order at best, and its intervals as guesses"
        )
    if folds:
        said.append(f"chosen and calibrated on out-of-fold predictions of {folds} folds, groups held out")
    else:
        said.append("fewer than three groups: nothing can be chosen or calibrated on held-out clips")
    said.append(
        f"fewer than {FEW_CLIPS} clips: heads in closed form with trained ones beside them"
        if by_size
        else f"{FEW_CLIPS} clips or more: the paper's values, with heads in closed form beside them"
    )
    return said


def _folds(clips: int, groups: int) -> int:
    """Folds of whole groups; 0 where there are fewer than three groups."""
    most = MANY_FOLDS if clips <= FEW_FOR_FOLDS else FOLDS
    return min(most, groups) if groups >= 3 else 0


def folds_of(table: ClipTable) -> int:
    """Folds where a preset has none: 0 where a split is held out; ValueError where nothing can be."""
    if any(table.of(split) for split in ("dev", "pam", "test")):
        return 0
    clips = _rated(table)
    groups = len(groups_of(clips))
    if groups < 3:
        raise ValueError(
            f"{len(clips)} rated clips in {groups} group{'s' * (groups != 1)}: none can be held out, so "
            "nothing would tell what a predictor is worth. Rate clips of 3 groups or more; where a table's "
            "groups are not what clips share, --column group=NAME names another column, --column group= none"
        )
    return min(FOLDS, groups)


def _has_single_ratings(clips: Sequence[Clip]) -> bool:
    counts = [len(single) for clip in clips for single in clip.ratings if single]
    return bool(counts) and float(np.median(counts)) >= 3


def _sets(specs: Sequence[EncoderSpec]) -> list[list[EncoderSpec]]:
    """Each encoder alone, and all together."""
    alone = [[spec] for spec in specs]
    return [*alone, list(specs)] if len(specs) > 1 else alone


def _closed(data: str, specs: Sequence[EncoderSpec], seed: int) -> list[HeadConfig]:
    """Three kinds of heads in closed form for every set: their averages are steadier than any choice."""
    made = []
    for chosen in _sets(specs):
        ids = [spec.id for spec in chosen]
        narrow = sum(spec.frame_dim for spec in chosen) < NARROW
        ways = [{"reads": "means"}]
        if narrow:
            ways.append({"reads": "profile"})
        if any(spec.layers > 1 for spec in chosen):
            ways.append({"reads": "means", "layer": "best"})
        made += [configure(data, ids, family, seed=seed, **way) for family in CLOSED_FORM for way in ways]
    return made


def _started(
    data: str, specs: Sequence[EncoderSpec], prior: Sequence[EncoderSpec], seed: int
) -> list[HeadConfig]:
    """From another bundle's scores: a line through them for each axis, and heads that read them beside all
    encoders.  Curves through the scores alone did worse than the line (docs/small-data.md)."""
    if not prior:
        return []
    alone, beside = [spec.id for spec in prior], [spec.id for spec in (*specs, *prior)]
    reads = "profile" if sum(spec.frame_dim for spec in specs) < NARROW else "means"
    return [
        configure(data, alone, "ridge", seed=seed, reads="means"),
        *(configure(data, beside, family, seed=seed, reads=reads) for family in CLOSED_FORM),
    ]


def _ridge(data: str, specs: Sequence[EncoderSpec], seed: int) -> HeadConfig:
    """The baseline, on `logmel` where it is stored: what anybody can do in ten lines."""
    plain = [spec for spec in specs if spec.name == "logmel"] or list(specs)
    return configure(data, [spec.id for spec in plain], "ridge", reads="statistics", seed=seed)


def _trained(data: str, specs: Sequence[EncoderSpec], clips: Sequence[Clip], seed: int) -> list[HeadConfig]:
    """Mean and deviation through a small network: on the listeners' distribution where there are single
    ratings, on mean scores else."""
    loss = "listeners" if _has_single_ratings(clips) else "ut"
    epochs = max(20, min(100, math.ceil(STEPS * 32 / len(clips))))
    return [
        configure(
            data, [spec.id for spec in chosen], "statistics", loss,
            epochs=epochs, patience=epochs, learning_rate=RATE, seed=seed,
        )
        for chosen in _sets(specs)
    ]  # fmt: skip


def _paper_like(
    table: ClipTable, specs: Sequence[EncoderSpec], clips: Sequence[Clip], seed: int
) -> list[HeadConfig]:
    """For many clips: the paper's aggregators and losses, and `listeners` where there are single ratings."""
    ids = [spec.id for spec in specs]
    losses = ["ut", "con", "ccc", *["listeners"] * _has_single_ratings(clips)]
    return [
        configure(table.id, ids, aggregator, loss, seed=seed)
        for aggregator in ("mlp", "linear", "statistics", "blstm_t")
        for loss in losses
    ]
