"""Placeholder until the recipes by size land; same names."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from mmmos.heads.config import HeadConfig
from mmmos.heads.grids import configure
from mmmos.store.clips import ClipTable
from mmmos.store.schema import EncoderSpec


@dataclass(frozen=True)
class Recipe:
    configs: tuple[HeadConfig, ...]
    baselines: tuple[HeadConfig, ...]
    folds: int
    rule: str
    per_axis: bool
    notes: tuple[str, ...]


def recipe_for(table: ClipTable, specs: Iterable[EncoderSpec], *, preset: str = "", seed: int = 0) -> Recipe:
    ids = [spec.id for spec in specs]
    configs = [
        configure(table.id, ids, kind, "mse", reads="profile", seed=seed)
        for kind in ("svr", "kernel_ridge", "ridge")
    ]
    base = configure(table.id, ids, "ridge", "mse", reads="statistics", seed=seed)
    return Recipe(tuple(configs), (base,), 5, "stack:oof:1", True, ("placeholder recipe",))
