"""What a sweep optimises: one metric of the composite on one split, never on the test split.

The objective sees one half of the split's clips.  The other half is held back: what the best trial gains over
the first is measured there, because the best of many is flattered by the very clips that chose it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from mmmos.heads.inference import MIN_CLUSTERS, clusters_of
from mmmos.heads.metrics import METRICS, Array, composite
from mmmos.store.clips import score_array
from mmmos.store.names import choose
from mmmos.store.predictions import Predictions
from mmmos.store.schema import COMPOSITE, Clip

OBJECTIVE_SPLITS = {"pam": "pam", "dev": "dev", "oof": "train"}
"""Where predictions may be judged, and the split of the table that they are about."""

MIN_CLIPS = 3
"""Fewer have no correlation."""


@dataclass(frozen=True)
class Objective:
    """ "pam:srcc": split, metric, and where asked an axis instead of the composite ("pam:srcc:PQ")."""

    split: str
    metric: str
    axis: str = COMPOSITE

    @staticmethod
    def parse(text: str) -> Objective:
        """ValueError for anything but SPLIT:METRIC or SPLIT:METRIC:AXIS, with what is known.

        Which axes there are depends on the clip table: `require` looks.
        """
        parts = text.split(":", 2)
        if len(parts) < 2:
            raise ValueError(f"an objective is SPLIT:METRIC, for example pam:srcc, not {text!r}")
        if parts[0] == "test":
            raise ValueError("the test split never chooses: use pam, dev or oof")
        choose("split", parts[0], OBJECTIVE_SPLITS)
        choose("metric", parts[1], METRICS)
        return Objective(*parts)

    def __str__(self) -> str:
        return ":".join((self.split, self.metric, *([self.axis] if self.axis != COMPOSITE else [])))

    @property
    def clip_split(self) -> str:
        """The split of the clip table that is predicted."""
        return OBJECTIVE_SPLITS[self.split]

    @property
    def direction(self) -> Literal["minimize", "maximize"]:
        return "minimize" if METRICS[self.metric].better == "low" else "maximize"

    def require(self, clips: Sequence[Clip]) -> None:
        """ValueError unless enough clips are rated where this objective looks, on an axis that they have."""
        there = [clip for clip in clips if clip.split == self.clip_split]
        axes = clips[0].axes if clips else ()
        if self.axis != COMPOSITE:
            axes = (choose("axis", self.axis, (*axes, COMPOSITE)),)
        rated = int(np.isfinite(score_array(there, axes)).any(axis=1).sum()) if there else 0
        if rated < MIN_CLIPS:
            raise ValueError(
                f"objective {self}: only {rated} clips of split {self.clip_split!r} are rated; "
                f"choose another of {', '.join(OBJECTIVE_SPLITS)}"
            )

    def items(self, predictions: Predictions, clips: Sequence[Clip]) -> tuple[Array, Array]:
        """(predicted, rated) [N] values of these clips that the metric compares; NaN where not rated."""
        values, scores = predictions.of([clip.id for clip in clips]), score_array(clips, predictions.axes)
        if self.axis == COMPOSITE:
            return composite(values, scores)
        column = predictions.axes.index(choose("axis", self.axis, predictions.axes))
        return values[:, column], scores[:, column]

    def value(self, predictions: Predictions, clips: Sequence[Clip]) -> float | None:
        """The metric over the clips that the objective sees, of those that are predicted.

        None where it is undefined (constant predictions, too few clips).
        """
        hidden, by_id = held_back(clips), {clip.id: clip for clip in clips}
        seen = [by_id[clip_id] for clip_id in predictions.clip_ids if clip_id not in hidden]
        pred, rated = self.items(predictions, seen)
        there = np.isfinite(rated)
        return METRICS[self.metric](pred[there], rated[there])


def held_back(clips: Sequence[Clip]) -> frozenset[str]:
    """Ids of the clips of a split that its objective never sees: half of the systems with all their clips.

    Where there are too few systems for an interval on one half, half of the groups, else of the clips; none
    where there are too few of those, too.  The same clips are always held back, in whatever order they come.
    """
    ordered = sorted(clips, key=lambda clip: clip.id)
    systems, groups = [clip.system for clip in ordered], [clip.group for clip in ordered]
    kind, clusters = clusters_of(systems, groups, 2 * MIN_CLUSTERS)
    if not kind:
        return frozenset()
    place = np.random.default_rng(0).permutation(int(clusters.max()) + 1)
    return frozenset(clip.id for clip, c in zip(ordered, clusters, strict=True) if place[c] % 2)
