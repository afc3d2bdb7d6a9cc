"""What a sweep of many small trials costs beside their training.

    python -m tests.bench.trials [--quick] [--trials N]

A hundred trials of a TriEnc mlp at the real widths in one process, as `heads --sweep` runs them: 3,500
training and 1,450 dev crops of random numbers in stores on the disk, and the dev split as objective.
Then every fifth head (its drawn fields, as many epochs as its trial was given) is trained without a study,
and the bare matrix products of those epochs are timed (see `sweep`).  All in processor seconds, since other
work on the machine lengthens any others.  Ends with JSON:

    trial_s               seconds a trial, all of the sweep counted
    between_s             seconds a trial outside of all trials: opening, drawing, the journal, the result
    trial_over_training   trials over plain training of the same epochs
    trial_over_products   trials over their bare products by the faster library
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from optuna.trial import FixedTrial, FrozenTrial

from mmmos.extract.audio import AUDIO_RECIPE
from mmmos.heads.config import HeadConfig
from mmmos.heads.grids import configure
from mmmos.heads.training.data import CPU, Features
from mmmos.heads.training.fit import fit
from mmmos.heads.training.outputs import arithmetic
from mmmos.heads.tuning import sweep as sweeping
from mmmos.heads.tuning.objective import Objective
from mmmos.heads.tuning.space import suggest_cell
from mmmos.heads.tuning.storage import open_study
from mmmos.heads.tuning.study import Plan, plans
from mmmos.heads.tuning.trials import train_trial
from mmmos.store.clips import ClipTable, save_table
from mmmos.store.crops import crops_of
from mmmos.store.features import FeatureStore
from mmmos.store.schema import Clip, EncoderSpec
from tests.bench.sweep import LIBRARIES, SCORED, TRAIN, products

WIDTHS = {"wavlm": 768, "muq": 1024, "m2d": 3840}
SHARD, EVERY = 64, 5


def write_work(work: Path, train: int, scored: int) -> list[EncoderSpec]:
    """A work folder whose heads read means alone, so that one frame a crop suffices; the encoders' specs."""
    rng = np.random.default_rng(0)
    specs = [
        EncoderSpec(name, "none", "none", "full", "mean", 16000, 0.1, 1, dim, 1, "fp32", 1, AUDIO_RECIPE)
        for name, dim in WIDTHS.items()
    ]
    clips = [
        Clip(f"c{n}", f"{n}.wav", audio=f"{n:048x}", duration_s=10.0, system=f"s{n % 50}",
             split="train" if n < train else "dev", scores=tuple(rng.uniform(1, 10, 4)))
        for n in range(train + scored)
    ]  # fmt: skip
    save_table(ClipTable(tuple(clips)), work / "clips.json")
    crops = [crop for clip in clips for crop in crops_of(clip)]
    for spec in specs:
        store = FeatureStore(work / "features", spec)
        for at in range(0, len(crops), SHARD):
            means = rng.standard_normal((len(crops[at : at + SHARD]), 1, spec.dim), dtype=np.float32)
            store.append(crops[at : at + SHARD], means.astype(np.float16), means)
    return specs


def drawn(trial: FrozenTrial, plan: Plan) -> HeadConfig:
    """What a trial trained, for as many epochs as it was given."""
    config = suggest_cell(FixedTrial(trial.params), plan.bases)
    return replace(config, seed=plan.training_seed, epochs=len(trial.intermediate_values))


def seconds(way: Callable[[], object]) -> float:
    started_s = time.process_time()
    way()
    return time.process_time() - started_s


def bare(config: HeadConfig, specs: Sequence[EncoderSpec], train: int, scored: int) -> float:
    """Seconds of the products of all epochs of a head, by the faster library."""
    with arithmetic(CPU):
        ways = [products(config, specs, train, scored, by) for by in LIBRARIES]
        return config.epochs * min(seconds(way) for way in ways)


def many_trials(trials: int, train: int = TRAIN, scored: int = SCORED) -> dict[str, float]:
    took_s: list[float] = []

    def timed(*given: Any) -> Any:
        started_s = time.process_time()
        try:
            return train_trial(*given)
        finally:
            took_s.append(time.process_time() - started_s)

    with tempfile.TemporaryDirectory() as folder, mock.patch.object(sweeping, "train_trial", timed):
        work = Path(folder)
        specs = write_work(work, train, scored)
        features = Features.open(work)
        base = configure(features.table.id, [spec.id for spec in specs], "mlp", "ut")
        run = partial(sweeping.sweep, [base], work, trials=trials, objective="dev:srcc", jobs=1, device="cpu")
        whole_s = seconds(run)
        (plan,) = plans([base], Objective.parse("dev:srcc"), "cell", 0, 5)
        found = open_study(plan, str(work / sweeping.JOURNAL)).get_trials()
        configs = [drawn(trial, plan) for trial in found[::EVERY]]
        alone_s = sum(seconds(partial(fit, config, features)) for config in configs)
        bare_s = sum(bare(config, specs, train, scored) for config in configs)
    return {
        "trials": trials,
        "epochs": sum(len(trial.intermediate_values) for trial in found),
        "trial_s": whole_s / trials,
        "between_s": (whole_s - sum(took_s)) / trials,
        "trial_over_training": sum(took_s[::EVERY]) / alone_s,
        "trial_over_products": sum(took_s[::EVERY]) / bare_s,
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="ten trials")
    parser.add_argument("--trials", type=int, default=100)
    options = parser.parse_args()
    torch.set_num_threads(1)
    found = many_trials(10 if options.quick else options.trials)
    print(json.dumps({name: round(value, 4) for name, value in found.items()} | {"quick": options.quick}))


if __name__ == "__main__":
    main()
