"""An ensemble's errors on clips that it was not trained on, and the intervals that follow.  No torch.

Intervals rest on out-of-fold predictions, dev and PAM, whichever are stored for every member; their coverage
is cross-checked on the same clips and, on request, measured once more on test.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mmmos.heads.ensemble import Ensemble
from mmmos.heads.results.experiment import Experiment
from mmmos.heads.scoring.intervals import Intervals, calibrate, cross_check, measure
from mmmos.store.schema import AXES, Clip

Array = NDArray[np.float64]

CALIBRATION = {"oof": "out-of-fold predictions of train", "dev": "dev", "pam": "PAM"}
"""What intervals rest on, where it is stored: clips that the predicting heads were not trained on."""


@dataclass(frozen=True, eq=False)
class Errors:
    """Predictions of an ensemble against ratings on clips it was not trained on.

    errors: [N, A] prediction less rating, NaN where not rated; spread: [N, A] of the members.
    """

    clips: tuple[Clip, ...]
    errors: Array
    spread: Array

    @property
    def domains(self) -> list[str]:
        return [clip.domain for clip in self.clips]

    @property
    def groups(self) -> list[str]:
        return [clip.group for clip in self.clips]


def intervals_of(
    experiment: Experiment,
    ensemble: Ensemble,
    axes: Sequence[str],
    find_domains: Callable[[Sequence[Clip]], Sequence[str]] | None = None,
) -> Intervals:
    """Intervals of an ensemble with their coverage, cross-checked on the clips that they rest on.

    find_domains: clips to the domains that their features look like; where given, coverage is measured on
    test, too, as a user sees it who does not state a domain.
    """
    runs = {run.id: run for run in experiment.runs}
    splits = [s for s in CALIBRATION if all(runs[member].has(s) for member in ensemble.members)]
    source = ", ".join(CALIBRATION[split] for split in splits) or "no clips"
    known = errors_of(experiment, ensemble, splits, len(axes))
    noise = panel_noise(experiment.table.clips, axes)
    made = calibrate(axes, known.errors, known.spread, known.domains, noise, source)
    on = f"{source}, cross-checked over left-out fifths"
    coverage = cross_check(axes, known.errors, known.spread, known.domains, known.groups, noise, on)
    if find_domains is not None and "test" in experiment.splits:
        test = errors_of(experiment, ensemble, ["test"], len(axes))
        found, on = find_domains(test.clips), "test, domain found from the features"
        coverage += measure(made, test.errors, test.spread, found, on, shown=test.domains)
    return replace(made, coverage=coverage)


def errors_of(experiment: Experiment, ensemble: Ensemble, splits: Sequence[str], axes: int) -> Errors:
    """Errors and spread of the ensemble's stored predictions of so many axes, split after split."""
    runs = {run.id: run for run in experiment.runs}
    by_id = {clip.id: clip for clip in experiment.table}
    weights = np.array(ensemble.weights) / np.sum(ensemble.weights)
    clips: list[Clip] = []
    errors, spreads = [np.empty((0, axes))], [np.empty((0, axes))]
    for split in splits:
        stored = [runs[member].predictions(split) for member in ensemble.members]
        first = stored[0]
        places = [{clip_id: i for i, clip_id in enumerate(one.clip_ids)} for one in stored]
        values = np.stack(
            [one.values[[at[i] for i in first.clip_ids]] for one, at in zip(stored, places, strict=True)]
        )
        mean = np.tensordot(weights, values, axes=1)
        here = [by_id[clip_id] for clip_id in first.clip_ids]
        truth = experiment.table.scores(here)[:, [AXES.index(axis) for axis in first.axes]]
        clips += here
        errors.append(mean - truth)
        spreads.append(np.sqrt(np.tensordot(weights, np.square(values - mean), axes=1)))
    return Errors(tuple(clips), np.concatenate(errors), np.concatenate(spreads))


def panel_noise(clips: Sequence[Clip], axes: Sequence[str]) -> Array:
    """Per axis the standard deviation of a panel's mean, from the single ratings; 0 where there are none."""
    noise = []
    for axis in axes:
        panels = [clip.ratings[AXES.index(axis)] for clip in clips]
        variances = [np.var(panel, ddof=1) / len(panel) for panel in panels if len(panel) > 1]
        noise.append(float(np.sqrt(np.mean(variances))) if variances else 0.0)
    return np.array(noise)
