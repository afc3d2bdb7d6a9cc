"""Faults in trained runs and sweeps: flipped bits in every stored file, kills at every write of a study."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from mmmos.heads.config import HeadConfig
from mmmos.heads.grids import grid
from mmmos.heads.training.data import Features
from mmmos.heads.training.parallel import train_grid
from mmmos.heads.tuning.sweep import sweep
from mmmos.store.work_check import KINDS, SEALED, check_work
from tests.faults.kinds import Bench, Injected
from tests.heads.small import WAVLM, work_folder
from tests.heads.tuning.dying import killed

STUDIES: tuple[dict[str, Any], ...] = (
    {"objective": "pam:srcc", "trials": 3},
    {"objective": "dev:mse", "trials": 4},
    {"objective": "oof:srcc", "trials": 3, "folds": 2},
    {"objective": "pam:srcc", "trials": 4, "study": "grid"},
)
"""The studies that are killed: every split that an objective may have, and both kinds of study."""
WRITES, KILLS = 20, 12
"""A kill comes at one of so many writes to the journal from the start of a process, so often in a study."""


def _cell(work: Path, losses: Sequence[str] = ("ut",)) -> tuple[HeadConfig, ...]:
    features = Features.open(work)
    return grid("paper", features.specs, features.table.id, aggregators=["mlp"], losses=losses, epochs=1)


def bits(bench: Bench, count: int) -> Iterator[Injected]:
    """Single flipped bits in table, runs, sweep and journal; each is found, and the file named."""
    work = work_folder(bench.folder / "flipped", count=24, specs=(WAVLM,))
    train_grid(_cell(work), work, jobs=1, folds=2)
    sweep(_cell(work), work, trials=2, jobs=1)
    paths = [(path, check) for pattern, check in KINDS.items() for path in sorted(work.glob(pattern))]
    for number in range(count):
        path, check = paths[number % len(paths)]
        whole = path.read_bytes()
        at = int(bench.rng.integers(len(whole)))
        broken = bytearray(whole)
        broken[at] ^= 1 << int(bench.rng.integers(8))
        path.write_bytes(broken)
        try:
            check(path)
            failure = "the flipped bit was not found"
        except (OSError, ValueError) as reason:
            failure = "" if path.name in str(reason) else f"the file was not named: {reason}"
        path.write_bytes(whole)
        yield Injected("run_flip", f"{path.name} byte {at}", failure)
    if {one.outcome for one in check_work(work)} != {SEALED}:
        yield Injected("run_flip", "after all", "the restored folder is not clean")


def sweeps(bench: Bench, count: int) -> Iterator[Injected]:
    """Studies that are killed again and again, at any write and in the middle of one, until they are done."""
    struck = 0
    for number in range(count):
        settings = {**STUDIES[number % len(STUDIES)], "seed": number // len(STUDIES)}
        cells = partial(_cell, losses=["ut", "ccc"] if "study" in settings else ["ut"])
        whole, work = bench.folder / "sweep-whole", bench.folder / "sweep"
        for folder in (whole, work):
            shutil.rmtree(folder, ignore_errors=True)
            work_folder(folder, count=24, specs=(WAVLM,))
        (expected,) = sweep(cells(whole), whole, jobs=1, **settings)
        places = []
        while struck + len(places) < count and len(places) < KILLS:
            at, torn = 1 + int(bench.rng.integers(WRITES)), bool(bench.rng.integers(2))
            if not killed(cells(work), work, at, torn, **settings):
                break
            places.append(f"study {number}, write {at}{', torn' if torn else ''}")
        (resumed,) = sweep(cells(work), work, jobs=1, **settings)
        failure = "" if resumed == expected else f"another end: {resumed.trials} for {expected.trials}"
        failure = failure or "".join(one.reason for one in check_work(work) if one.outcome != SEALED)
        struck += len(places)
        yield from (Injected("sweep_kill", place, failure) for place in places)
        if struck >= count:
            return
