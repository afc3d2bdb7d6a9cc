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

from mmmos.heads.metrics import (
    Array,
    axis_means,
    composite,
    obstacle,
    rank_correlation,
    ranks,
    srcc,
    tie_safe,
)
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
        *others, last = members
        average = Growing(self, splits)
        for run in others:
            average.add(run)
        return average.score_with(last)


class Growing:
    """A plain average of runs of a pool, and what it would score with one more.

    The composite of an average is the average of composites, as predictions are finite.  So one row [K] a
    run and split is all that is added up, and the ratings are ranked once.
    """

    def __init__(self, pool: Pool, splits: Sequence[str]) -> None:
        self.pool, self.splits, self.count = pool, tuple(splits), 0
        self.truth = [[t for _, t in self._pairs(split, pool.truth[split])] for split in splits]
        self.places = [[ranks(t) for t in rows] for rows in self.truth]
        self.sums: list[list[Array]] = [[np.zeros(len(t)) for t in rows] for rows in self.truth]
        self.rows: dict[str, list[list[Array]]] = {}

    def add(self, run: str) -> None:
        """Make a run a member, or one more time."""
        self.sums = [
            [total + row for total, row in zip(totals, rows, strict=True)]
            for totals, rows in zip(self.sums, self._rows_of(run), strict=True)
        ]
        self.count += 1

    def score_with(self, run: str) -> float:
        """As `Pool.score` of the members and this run; an average without a defined score counts as -1."""
        of_splits = []
        for totals, rows, truth, places in zip(
            self.sums, self._rows_of(run), self.truth, self.places, strict=True
        ):
            values = []
            for total, row, t, place in zip(totals, rows, truth, places, strict=True):
                p = tie_safe((total + row) / (self.count + 1))
                values.append(None if obstacle(p, t) else rank_correlation(ranks(p), place))
            value = _over_axes(values)
            of_splits.append(-1.0 if value is None else value)
        return float(np.mean(of_splits))

    def _rows_of(self, run: str) -> list[list[Array]]:
        if run not in self.rows:
            self.rows[run] = [
                [p for p, _ in self._pairs(split, self.pool.predictions[split][run])] for split in self.splits
            ]
        return self.rows[run]

    def _pairs(self, split: str, pred: Array) -> list[tuple[Array, Array]]:
        return compared(pred, self.pool.truth[split], together=self.pool.together)


def compared(pred: Array, truth: Array, *, together: bool) -> list[tuple[Array, Array]]:
    """The pairs of rows [K] whose SRCC counts: of the composite, or of each axis, where there are ratings."""
    if together:
        p, t = axis_means(pred, truth)
        rated = np.isfinite(t)
        return [(p[rated], tie_safe(t[rated]))]
    rated = np.isfinite(truth)
    return [(pred[here, axis], truth[here, axis]) for axis, here in enumerate(rated.T) if here.any()]


def composite_of_rated(pred: Array, truth: Array) -> tuple[Array, Array]:
    """Composite rows [N] of the clips that have any rating."""
    p, t = composite(pred, truth)
    rated = np.isfinite(t)
    return p[rated], t[rated]


def agreement(pred: Array, truth: Array, *, together: bool = True) -> float | None:
    """What runs are ranked by, [N, A] each: SRCC of the composite, or the mean of the axes' own SRCC.

    `together` says whether there is a composite, see `together.has_composite`.  None where undefined.
    """
    pairs = compared(pred, truth, together=together)
    return _over_axes([srcc(tie_safe(p), t) for p, t in pairs])


def _over_axes(values: Sequence[float | None]) -> float | None:
    """Their mean.  One constant axis is no reason to leave the others unseen, and no success."""
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
