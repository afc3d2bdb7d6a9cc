"""An ensemble's errors on clips that it was not trained on, and the intervals that follow.  No torch.

Intervals rest on out-of-fold predictions, dev and PAM, whichever are stored for every member; their coverage
is cross-checked on the same clips and, on request, measured once more on test.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from mmmos.heads.ensemble import Ensemble
from mmmos.heads.mixing import through_left_out
from mmmos.heads.results.experiment import Experiment
from mmmos.heads.scoring.conformal import ORIGINS, HeldOut
from mmmos.heads.scoring.intervals import (
    Intervals,
    calibrate,
    cross_check,
    measure_coverage,
)
from mmmos.store.schema import OOF, Clip
from mmmos.store.splits import group_folds, groups_of

Array = NDArray[np.float64]

FOLDS = 8
"""Parts of whole groups, as of out-of-fold predictions of few clips."""

CALIBRATION = {"oof": "out-of-fold predictions of train", "dev": "dev", "pam": "PAM"}
"""What intervals rest on, by where it is stored: clips that the predicting heads were not trained on."""


def intervals_of(
    experiment: Experiment,
    ensemble: Ensemble,
    axes: Sequence[str],
    find_domains: Callable[[Sequence[Clip]], Sequence[str]] | None = None,
) -> Intervals:
    """Intervals of an ensemble with their coverage, cross-checked on the clips that they rest on.

    Parameters
    ----------
    axes
        What the ensemble predicts, in order.
    find_domains
        Clips to the domains that their features are nearest to.  Where given, coverage is measured on test,
        too, as a user sees it who does not state a domain.
    """
    runs = {run.id: run for run in experiment.everything}
    splits = [s for s in CALIBRATION if all(runs[member].has(s) for member in ensemble.members)]
    source = ", ".join(CALIBRATION[split] for split in splits) or "no clips"
    known, _ = errors_of(experiment, ensemble, splits, axes)
    noise = panel_noise(experiment.table.clips, axes)
    made = calibrate(axes, known, noise, source)
    coverage = cross_check(axes, known, noise, f"{source}, cross-checked over left-out fifths")
    if find_domains is not None and "test" in experiment.splits:
        test, clips = errors_of(experiment, ensemble, ["test"], axes)
        as_found = replace(test, domains=np.array(find_domains(clips), dtype=str))
        coverage += measure_coverage(made, as_found, "test, domain found from the features", by=test.domains)
    return replace(made, coverage=coverage)


def errors_of(
    experiment: Experiment, ensemble: Ensemble, splits: Sequence[str], axes: Sequence[str]
) -> tuple[HeldOut, list[Clip]]:
    """Errors and spread of the ensemble's stored predictions, split after split, and their clips.

    Out-of-fold predictions go through lines that are fitted without the clip's fold.
    """
    runs = {run.id: run for run in experiment.everything}
    by_id = {clip.id: clip for clip in experiment.table}
    clips: list[Clip] = []
    errors, spreads = [np.empty((0, len(axes)))], [np.empty((0, len(axes)))]
    for split in splits:
        stored = [runs[member].predictions(split) for member in ensemble.members]
        clip_ids = stored[0].clip_ids
        members = np.stack([one.of(clip_ids) for one in stored])
        mean, spread = ensemble.mixture.mean_and_spread(members)
        here = [by_id[clip_id] for clip_id in clip_ids]
        truth = experiment.table.scores(here, axes)
        if split == OOF and ensemble.calibration:
            # The ensemble's line was fitted on these very ratings, which flatters errors of few clips.
            plain, _ = replace(ensemble.mixture, calibration=()).mean_and_spread(members)
            mean = through_left_out(plain, truth, group_folds(here, min(FOLDS, len(groups_of(here)))))
        errors.append(mean - truth)
        spreads.append(spread)
        clips += here
        found = HeldOut(
            np.concatenate(errors),
            np.concatenate(spreads),
            np.array([clip.domain for clip in clips], dtype=str),
            np.array([clip.group for clip in clips], dtype=str),
            np.array([origin_of(clip) for clip in clips], dtype=str),
        )
    return found, clips


RECORDINGS = ("real", "natural", "reference", "ref", "ground", "groundtruth", "gt", "human", "original")
"""A system whose name begins with one of these words is a set of recordings."""


def origin_of(clip: Clip) -> str:
    """One of ORIGINS by the clip's system: recordings have none, or their source's name, or "real-..."."""
    first = re.split("[^a-z]+", clip.system.strip().lower())[0]
    recorded = not clip.system.strip() or clip.system == clip.source or first in RECORDINGS
    return ORIGINS[0] if recorded else ORIGINS[1]


def panel_noise(clips: Sequence[Clip], axes: Sequence[str]) -> Array:
    """Per axis [A] the standard deviation of a panel's mean, from the single ratings; 0 without any."""
    noise = []
    for axis in axes:
        panels = [clip.ratings[clip.axes.index(axis)] for clip in clips]
        variances = [np.var(panel, ddof=1) / len(panel) for panel in panels if len(panel) > 1]
        noise.append(float(np.sqrt(np.mean(variances))) if variances else 0.0)
    return np.array(noise)
