"""What a selector may look at: dev, PAM and out-of-fold predictions, never the test split.

Ranks and ties.  Runs are ranked by their utterance-level composite SRCC, the best first; equal scores
are ordered by run id, so the same runs always give the same ensemble.  A run whose score is undefined
(constant predictions, a failed training) has no rank and is never chosen.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

import numpy as np

from mmmos.heads.metrics import Array, composite, srcc
from mmmos.store.names import choose

T = TypeVar("T")

SELECTION_SPLITS = ("dev", "pam", "oof")
"""What may be looked at to choose; "oof" are out-of-fold predictions of the training clips."""


@dataclass(frozen=True)
class Pool:
    """What a selector may look at.

    Parameters
    ----------
    scores
        By split and run: composite SRCC at utterance level, None where undefined.
    predictions
        By split and run: [N, A] on the scale of the ratings; needed by greedy, stack and cost.
    truth
        By split: [N, A] in the same order, NaN where not rated.
    encoders
        By run: names of the encoders that it needs; needed by cost.
    gflop
        By encoder: arithmetic of the full-size encoder on one crop; needed by cost.
    together
        Whether runs are scored by the composite; else by the mean of the axes' own SRCC.
    """

    scores: Mapping[str, Mapping[str, float | None]]
    predictions: Mapping[str, Mapping[str, Array]] = field(default_factory=dict)
    truth: Mapping[str, Array] = field(default_factory=dict)
    encoders: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    gflop: Mapping[str, float] = field(default_factory=dict)
    together: bool = True

    def of(self, runs: Iterable[str]) -> Pool:
        """The pool of these runs alone; all of it where none is named."""
        kept = set(runs)
        if not kept:
            return self
        return replace(
            self,
            scores={s: {r: x for r, x in of.items() if r in kept} for s, of in self.scores.items()},
            predictions={s: {r: x for r, x in of.items() if r in kept} for s, of in self.predictions.items()},
        )

    def of_axis(self, axis: int) -> Pool:
        """The pool as if the axis with this number were the only one: its SRCC stands for the composite's."""
        column = slice(axis, axis + 1)
        truth = {split: values[:, column] for split, values in self.truth.items()}
        predictions = {s: {r: x[:, column] for r, x in of.items()} for s, of in self.predictions.items()}
        scores = {
            split: {run: srcc(*composite_of_rated(x, truth[split])) for run, x in of.items()}
            for split, of in predictions.items()
        }
        return replace(self, scores=scores, predictions=predictions, truth=truth)

    def ranked(self, split: str) -> list[str]:
        """Runs with a defined score on `split`, the best first."""
        scores = of_split(self.scores, split)
        defined = [(score, run) for run, score in scores.items() if score is not None]
        if not defined:
            raise ValueError(f"no run has a defined composite SRCC on {split!r}, so none can be chosen by it")
        return [run for _, run in sorted(defined, key=lambda pair: (-pair[0], pair[1]))]

    def usable(self, splits: Sequence[str]) -> list[str]:
        """Runs with predictions and a defined score on every one of `splits`, in order of run id."""
        ranked = [set(self.ranked(split)) & set(of_split(self.predictions, split)) for split in splits]
        return sorted(set.intersection(*ranked))

    def score(self, members: Sequence[str], splits: Sequence[str]) -> float:
        """Mean over `splits` of the composite SRCC of the plain average of `members` (repeats count)."""
        values = []
        for split in splits:
            mean = np.mean([self.predictions[split][run] for run in members], axis=0)
            value = agreement(mean, self.truth[split], together=self.together)
            values.append(-1.0 if value is None else value)
        return float(np.mean(values))


def composite_of_rated(pred: Array, truth: Array) -> tuple[Array, Array]:
    """Composite rows [N] of the clips that have any rating."""
    p, t = composite(pred, truth)
    rated = np.isfinite(t)
    return p[rated], t[rated]


def agreement(pred: Array, truth: Array, *, together: bool = True) -> float | None:
    """What runs are ranked by, [N, A] each: SRCC of the composite, or the mean of the axes' own SRCC.

    `together` says whether there is a composite, see `together.has_composite`.  None where undefined.
    """
    if together:
        return srcc(*composite_of_rated(pred, truth))
    values = []
    for p, t in zip(pred.T, truth.T, strict=True):
        rated = np.isfinite(t)
        # A constant prediction of one axis is no reason to leave the others unseen, and no success.
        values += [srcc(p[rated], t[rated])] if rated.any() else []
    known = [value or 0.0 for value in values]
    return float(np.mean(known)) if any(value is not None for value in values) else None


def checked_split(name: str) -> str:
    """The name of a split that may choose; ValueError for test, train and unknown ones."""
    if name in {"test", "train"}:
        why = "it would no longer measure anything" if name == "test" else "the runs were trained on it"
        known = ", ".join(SELECTION_SPLITS)
        raise ValueError(f"an ensemble is never chosen on the {name} split: {why}; use {known}")
    return choose("split to choose by", name, SELECTION_SPLITS)


def of_split(table: Mapping[str, Mapping[str, T]], split: str) -> Mapping[str, T]:
    """The part of `table` for one split; ValueError where it may not be used or is not there."""
    name = checked_split(split)
    if name not in table:
        hint = "; `pipeline.py heads --folds 5` makes them" if name == "oof" else ""
        raise ValueError(f"there are no stored predictions on {name!r}{hint}")
    return table[name]
