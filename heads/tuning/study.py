"""What a sweep is and what came of it, in words that need no Optuna."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from mmmos.heads.bootstrap import RESAMPLES, clusters_of, draw, paired
from mmmos.heads.config import HeadConfig
from mmmos.heads.tuning.objective import Objective
from mmmos.store import sealed
from mmmos.store.names import choose, digest
from mmmos.store.predictions import Predictions
from mmmos.store.schema import Clip

STUDIES = ("cell", "grid")
CHOSEN_ON_THESE = "the best of many was chosen on these very clips: expect less of it on others"


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
    """

    bases: tuple[HeadConfig, ...]
    objective: Objective
    seed: int
    folds: int

    @property
    def name(self) -> str:
        """Title and 12 digits over everything the study's result depends on."""
        title = self.bases[0].title.replace(" ", "-") if len(self.bases) == 1 else f"grid-{len(self.bases)}"
        return f"{title}-{self.objective}-{digest(asdict(self))}".replace(":", "-")

    def trial_seed(self, number: int) -> int:
        """The seed of the trial with this original number: of its training and of its sampler."""
        return int(np.random.SeedSequence([self.seed, number]).generate_state(1)[0]) & 0x7FFFFFFF


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
        Objective of the best less that of the first, with its 95 % bootstrap interval; None with a reason
        where there is none.
    n, clusters
        Clips compared, and what the bootstrap drew: "system", "group" or "clip".
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
    """The result of a study: its best trial against its first on the same resamples of the clips.

    Parameters
    ----------
    predictions
        Of the first and the best run on the objective's split, by run id.
    clips
        Those of that split.
    """
    objective = plan.objective
    first = next((trial for trial in trials if trial.number == 0), None)
    best = best_of(trials, objective)
    blank = Result(
        plan.name, str(objective), first, best, None, None, None, 0, "", CHOSEN_ON_THESE, tuple(trials)
    )
    if best is None:
        return replace(blank, reason="no trial is complete")
    if first is None or first.state != "complete":
        return replace(blank, reason=f"the first trial is not complete: {first.reason if first else ''}")
    if first.run == best.run:
        return replace(blank, difference=0.0, reason="no trial is better than the first")
    tuned, truth = objective.items(predictions[best.run], clips)
    given, _ = objective.items(predictions[first.run], clips)
    rated = np.isfinite(truth)
    kept = [clip for clip, there in zip(clips, rated, strict=True) if there]
    kind, clusters = clusters_of([clip.system for clip in kept], [clip.group for clip in kept])
    counts = draw(int(clusters.max()) + 1, RESAMPLES, 0) if kind else None
    pair = tuned[rated], given[rated]
    found = paired(objective.metric, pair, truth[rated], clusters, counts, (best.run, first.run))
    return replace(
        blank,
        difference=found.difference,
        low=found.low,
        high=found.high,
        n=len(kept),
        clusters=kind,
        reason="; ".join(filter(None, (found.reason, CHOSEN_ON_THESE))),
    )
