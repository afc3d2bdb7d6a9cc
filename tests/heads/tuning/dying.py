"""A small sweep that ends at a chosen write to its journal, as a kill would end it."""

from __future__ import annotations

import multiprocessing
import os
from pathlib import Path
from typing import Any

from mmmos.heads.config import HeadConfig
from mmmos.heads.tuning.sweep import sweep
from mmmos.store import files

children = multiprocessing.get_context("fork")


def dying_sweep(bases: tuple[HeadConfig, ...], work: Path, at: int, torn: bool, settings: Any) -> None:
    """A sweep whose process ends at the `at`-th append; `torn` leaves half of the line."""
    real, count = files.append, 0

    def append(path: Path, data: bytes) -> None:
        nonlocal count
        count += 1
        if count == at:
            if torn:
                real(path, data[: len(data) // 2])
            os._exit(9)
        real(path, data)

    files.append = append
    sweep(bases, work, jobs=1, **settings)
    os._exit(0)


def killed(bases: tuple[HeadConfig, ...], work: Path, at: int, torn: bool, **settings: Any) -> bool:
    """Run a dying sweep in a child; False where it came to its end."""
    child = children.Process(target=dying_sweep, args=(bases, work, at, torn, settings))
    child.start()
    child.join()
    assert child.exitcode in (0, 9)
    return child.exitcode == 9
