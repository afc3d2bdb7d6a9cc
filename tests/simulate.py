"""How often intervals hold the true value, and how often equal runs are called different.

    python -m tests.simulate [--quick] [--studies N] [--seed N]

A study is a draw of systems, each with clips, a panel's mean ratings, and two runs.  Systems are of three
domains and have a quality of their own; clips vary within a system.  Both runs err by system and by clip,
partly alike, since they see the same features.  The runs are equally good, so every "difference" between
them is a false one; the second predicts on a narrower range, which correlations must not mind (MSE is asked
about two runs of equal range).  The true values are those of 6,000 systems.

Ends with one JSON line.  By level, metric and number of systems: `coverage` of the 95 % intervals, `size`,
the share of p-values of at most 0.05, and `difference`, the coverage of the intervals of differences.  `gain`
is the share of sweeps without any true gain whose interval excludes 0, by what is held back and trials; its
runs are simulated, its rule is the product's.  `sides` is about `compare` (tests/simulate_ab.py), `scores`
about the intervals of scores (tests/simulate_scores.py).  The standard error of a share s of n studies is the
root of s (1 - s) / n; `gain` states its own.  `--quick` takes few studies: it shows that everything runs, not
what it gives.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mmmos.heads.config import HeadConfig
from mmmos.heads.inference import MIN_CLUSTERS, cluster_index, interval, interval_of_difference
from mmmos.heads.metrics import METRICS, Array, system_means
from mmmos.heads.permutation import swap_test
from mmmos.heads.tuning.objective import Objective
from mmmos.heads.tuning.study import Plan, TrialRow, best_of, summarise
from mmmos.store.predictions import Predictions
from mmmos.store.schema import Clip
from tests.simulate_ab import of_sides
from tests.simulate_scores import of_scores

STUDIES, QUICK_STUDIES = 2000, 4
SYSTEMS = (8, 10, 20, 36)
CLIPS = 12
"""Of each system."""

TRIALS = (10, 30, 100)
SWEPT_SYSTEMS, SWEPT_CLIPS = 40, 6

DOMAIN_MEANS = np.array([-0.9, 0.1, 0.8])
LARGE = 6000
"""Systems whose figures count as the true ones."""


@dataclass(frozen=True)
class Drawn:
    """The clips of a study: ratings [N], what two equally good runs say of them [N], names of systems."""

    truth: Array
    runs: tuple[Array, Array]
    systems: tuple[str, ...]

    def at(self, level: str) -> tuple[Array, tuple[Array, Array], np.ndarray[Any, Any]]:
        """Ratings, runs and clusters of the items of a level."""
        if level == "utterance":
            return self.truth, self.runs, cluster_index(self.systems)
        truth, one, other = (system_means(side, self.systems)[1] for side in (self.truth, *self.runs))
        return truth, (one, other), np.arange(len(truth))


def draw(rng: np.random.Generator, systems: int, clips: int = CLIPS) -> Drawn:
    """One study, see above."""

    def normal(spread: float, *shape: int) -> Array:
        return np.asarray(rng.normal(0.0, spread, shape))

    shape = (systems, clips)
    quality = DOMAIN_MEANS[rng.integers(0, 3, systems)] + normal(0.7, systems)
    clip = quality[:, None] + normal(0.6, *shape)
    truth = 5.5 + clip + normal(0.4, *shape)
    shared_system, shared_clip = normal(0.3, systems, 1), normal(0.4, *shape)
    runs = [
        5.4 + 0.75 * clip + shared_system + shared_clip + normal(0.25, systems, 1) + normal(0.3, *shape)
        for _ in range(2)
    ]
    names = tuple(f"s{number:05d}" for number in range(systems) for _ in range(clips))
    return Drawn(truth.ravel(), (runs[0].ravel(), runs[1].ravel()), names)


def true_values(level: str, seed: int) -> dict[str, float]:
    truth, runs, _ = draw(np.random.default_rng([seed, 1]), LARGE).at(level)
    return {
        name: float(np.mean([metric(run, truth) or 0.0 for run in runs])) for name, metric in METRICS.items()
    }


def of_systems(count: int, studies: int, seed: int) -> dict[str, dict[str, dict[str, float]]]:
    """("coverage" | "difference" | "size") -> level -> metric -> share of the studies."""
    found: dict[str, dict[str, dict[str, list[bool]]]] = {}

    def note(what: str, level: str, metric: str, answer: bool) -> None:
        found.setdefault(what, {}).setdefault(level, {}).setdefault(metric, []).append(answer)

    true = {level: true_values(level, seed) for level in ("system", "utterance")}
    for study in range(studies):
        drawn = draw(np.random.default_rng([seed, count, study]), count)
        for level in true:
            truth, (one, other), index = drawn.at(level)
            for name, metric in METRICS.items():
                # Only an error minds the range of the predictions.
                second = other if name == "mse" else 0.6 * other + 1.0
                p = swap_test(name, (one, second), truth, index, seed=study)
                note("size", level, name, p <= 0.05)
                values = metric(one, truth), metric(second, truth)
                if count < MIN_CLUSTERS or values[0] is None or values[1] is None:
                    continue
                found_one = interval(name, values[0], one, truth, index)
                note("coverage", level, name, holds(found_one.low, true[level][name], found_one.high))
                both = interval_of_difference(name, (one, second), truth, index, values[0] - values[1])
                note("difference", level, name, holds(both.low, 0.0, both.high))
    return {
        what: {
            level: {metric: round(float(np.mean(answers)), 4) for metric, answers in metrics.items()}
            for level, metrics in levels.items()
        }
        for what, levels in found.items()
    }


def holds(low: float | None, value: float, high: float | None) -> bool:
    """Whether an interval holds the value; one that could not be had does not."""
    return low is not None and high is not None and low <= value <= high


def by_systems(counts: Sequence[int], studies: int, seed: int) -> dict[str, Any]:
    """What -> level -> metric -> number of systems -> share, printed as it comes."""
    result: dict[str, Any] = {}
    for count in counts:
        for what, levels in of_systems(count, studies, seed).items():
            for level, metrics in levels.items():
                print(f"{count:3} systems  {what:10} {level:9} {metrics}", flush=True)
                for metric, share in metrics.items():
                    result.setdefault(what, {}).setdefault(level, {}).setdefault(metric, {})[count] = share
    return result


def gain(trials: int, studies: int, seed: int, systems: bool) -> dict[str, float]:
    """The share of sweeps whose interval of the gain excludes 0 though all trials are equally good.

    systems: False has clips without systems, as recordings have; then half of the clips is held back.
    """
    objective = Objective.parse("pam:srcc:CE")
    plan = Plan((HeadConfig("data", ("wavlm-0",)),), objective, 0, 0)
    excluded = 0
    for study in range(studies):
        rng = np.random.default_rng([seed, trials, study])
        count, each = (SWEPT_SYSTEMS, SWEPT_CLIPS) if systems else (SWEPT_SYSTEMS * SWEPT_CLIPS, 1)
        drawn = draw(rng, count, each)
        ids = tuple(f"c{n:04d}" for n in range(len(drawn.truth)))
        named = drawn.systems if systems else ("",) * len(ids)
        clips = [
            Clip(name, "", system=system, scores=(float(rated), None, None, None))
            for name, system, rated in zip(ids, named, drawn.truth, strict=True)
        ]
        common = drawn.runs[0]
        said, rows = {}, []
        for number in range(trials):
            own = np.repeat(rng.normal(0, 0.25, count), each) + rng.normal(0, 0.3, len(ids))
            run = f"run{number}"
            said[run] = Predictions(run, "pam", ids, (common + own)[:, None], ("CE",))
            rows.append(TrialRow(number, "complete", objective.value(said[run], clips), {}, run, ""))
        best = best_of(rows, objective)
        kept = {row.run: said[row.run] for row in (rows[0], best) if row is not None}
        found = summarise(plan, rows, kept, clips)
        if found.low is not None and found.high is not None:
            excluded += not found.low <= 0.0 <= found.high
    share = excluded / studies
    return {"share": round(share, 4), "standard_error": round((share * (1 - share) / studies) ** 0.5, 4)}


def by_trials(studies: int, seed: int) -> dict[str, dict[int, dict[str, float]]]:
    """What is held back -> trials -> share and its standard error, printed as it comes."""
    result: dict[str, dict[int, dict[str, float]]] = {"systems": {}, "clips": {}}
    for trials in TRIALS:
        for kind, row in result.items():
            row[trials] = gain(trials, studies, seed, kind == "systems")
            print(f"{trials:3} trials  no true gain, {kind} held back: {row[trials]} exclude 0", flush=True)
    return result


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help=f"{QUICK_STUDIES} studies of each kind")
    parser.add_argument("--studies", type=int, default=STUDIES)
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args(arguments)
    studies = QUICK_STUDIES if chosen.quick else chosen.studies
    result = {
        **by_systems(SYSTEMS, studies, chosen.seed),
        "gain": by_trials(studies, chosen.seed),
        "sides": of_sides(studies, chosen.seed),
        "scores": of_scores(studies, chosen.seed),
    }
    print(json.dumps({**result, "studies": studies, "seed": chosen.seed}))


if __name__ == "__main__":
    main()
