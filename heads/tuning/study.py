"""What a sweep is and what came of it, in words that need no Optuna."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from mmmos.heads.config import HeadConfig
from mmmos.heads.inference import MIN_CLUSTERS, clusters_of
from mmmos.heads.left_out import Index
from mmmos.heads.permutation import paired
from mmmos.heads.tuning.objective import Objective, held_back
from mmmos.store import sealed
from mmmos.store.names import choose, digest
from mmmos.store.predictions import Predictions
from mmmos.store.schema import Clip

STUDIES = ("cell", "grid")

NOT_CLAIMED = f"no gain is claimed: too few clips to hold any back (2 x {MIN_CLUSTERS} are needed)"
NO_SWAPS: Index = np.zeros(0, dtype=np.intp)


@dataclass(frozen=True)
class Plan:
    """One study: the configs it starts from, what it optimises, and its seed.

    Parameters
    ----------
    bases
        One config for a study of one cell, several for one over a grid; their seeds do not count.
    seed
        Of the study: of its sampler and of the trainings of its trials.
    folds
        Of the out-of-fold predictions, 0 for other objectives.
    protocol
        Number raised whenever a trial means something else: since 2 all trials have one training seed, and
        the objective sees half of the clips.
    """

    bases: tuple[HeadConfig, ...]
    objective: Objective
    seed: int
    folds: int
    protocol: int = 2

    @property
    def name(self) -> str:
        """Title and 12 digits over everything the study's result depends on."""
        title = self.bases[0].title.replace(" ", "-") if len(self.bases) == 1 else f"grid-{len(self.bases)}"
        return f"{title}-{self.objective}-{digest(asdict(self))}".replace(":", "-")

    def trial_seed(self, number: int) -> int:
        """The seed of the sampler of the trial with this original number."""
        return int(np.random.SeedSequence([self.seed, number]).generate_state(1)[0]) & 0x7FFFFFFF

    @property
    def training_seed(self) -> int:
        """The seed of every training, so that trials differ by their values and not by luck."""
        return self.trial_seed(0)


def plans(
    bases: Sequence[HeadConfig], objective: Objective, study: str, seed: int, folds: int
) -> tuple[Plan, ...]:
    """One plan per cell, or one over all cells; ValueError for none and for an unknown kind of study."""
    cells = tuple(dict.fromkeys(replace(base, seed=0) for base in bases))
    if not cells:
        raise ValueError("there is nothing to tune: the grid is empty")
    if len({cell.title for cell in cells}) < len(cells):
        raise ValueError("two cells of one title: tune the settings of one, or one grid without overrides")
    folds = folds if objective.split == "oof" else 0
    if choose("study", study, STUDIES) == "grid":
        return (Plan(cells, objective, seed, folds),)
    return tuple(Plan((cell,), objective, seed, folds) for cell in cells)


@dataclass(frozen=True)
class TrialRow:
    """One trial: what was tried and what came of it; `reason` says why it failed."""

    number: int
    state: str
    value: float | None
    params: dict[str, Any]
    run: str
    reason: str


@dataclass(frozen=True)
class Result:
    """What a study found.

    Parameters
    ----------
    first, best
        The trial with the paper's values, and the best; None where not complete.
    difference, low, high
        Metric of the best less that of the first on the clips that the objective never saw, with its 95 %
        interval; None with a reason where there is none.
    n, clusters
        Those clips, and what the interval left out as a whole: "system", "group" or "clip".
    """

    study: str
    objective: str
    first: TrialRow | None
    best: TrialRow | None
    difference: float | None
    low: float | None
    high: float | None
    n: int
    clusters: str
    reason: str
    trials: tuple[TrialRow, ...]

    def save(self, folder: Path) -> Path:
        """Write `<study>.json` with every trial; returns its path."""
        path = Path(folder) / f"{self.study}.json"
        sealed.write_json(path, asdict(self))
        return path


def best_of(trials: Sequence[TrialRow], objective: Objective) -> TrialRow | None:
    """The complete trial with the best value, the earlier one of equals."""
    complete = [trial for trial in trials if trial.state == "complete" and trial.value is not None]
    sign = 1 if objective.direction == "minimize" else -1
    return min(complete, key=lambda trial: (sign * (trial.value or 0.0), trial.number), default=None)


def summarise(
    plan: Plan,
    trials: Sequence[TrialRow],
    predictions: dict[str, Predictions],
    clips: Sequence[Clip],
) -> Result:
    """The result of a study: its best trial against its first on the clips that were held back.

    Parameters
    ----------
    predictions
        Of the first and the best run on the objective's split, by run id.
    clips
        All clips of that split, the same that the objective was given.
    """
    objective = plan.objective
    first = next((trial for trial in trials if trial.number == 0), None)
    best = best_of(trials, objective)
    blank = Result(plan.name, str(objective), first, best, None, None, None, 0, "", "", tuple(trials))
    if best is None:
        return replace(blank, reason="no trial is complete")
    if first is None or first.state != "complete":
        return replace(blank, reason=f"the first trial is not complete: {first.reason if first else ''}")
    if first.run == best.run:
        return replace(blank, difference=0.0, reason="no trial is better than the first")
    hidden = held_back(clips)
    if not hidden:
        return replace(blank, reason=NOT_CLAIMED)
    predicted = set(predictions[best.run].clip_ids) & set(predictions[first.run].clip_ids)
    there = [clip for clip in clips if clip.id in hidden & predicted]
    tuned, truth = objective.items(predictions[best.run], there)
    given, _ = objective.items(predictions[first.run], there)
    rated = np.isfinite(truth)
    kept = [clip for clip, known in zip(there, rated, strict=True) if known]
    kind, clusters = clusters_of([clip.system for clip in kept], [clip.group for clip in kept])
    pair = tuned[rated], given[rated]
    found = paired(objective.metric, pair, truth[rated], clusters, NO_SWAPS, (best.run, first.run), 0)
    return replace(
        blank,
        difference=found.difference,
        low=found.low,
        high=found.high,
        n=len(kept),
        clusters=kind,
        reason=found.reason or f"on {len(kept)} clips that the objective never saw",
    )
