"""A few runs averaged: chosen by a rule and kept as a short JSON (paper V-D).

An ensemble is its members and weights.  Its prediction is the weighted mean of theirs, so it can be made
again from stored predictions alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from mmmos.heads.pool import Pool
from mmmos.heads.runs import Run
from mmmos.heads.selectors import select
from mmmos.store import sealed
from mmmos.store.names import signature
from mmmos.store.predictions import Predictions, average

PAPER_RULE = "intersect:12,12"

TABLE4 = {
    "all": "all configurations",
    "top:pam:8": "PAM top 8",
    "top:pam:4": "PAM top 4",
    "top:dev:8": "dev top 8",
    "best:pam": "best single on PAM",
    "intersect:12,12": "submitted: dev top 12 and PAM top 12",
}
"""The paper's ensembles (Table IV)."""

FURTHER = {
    "greedy:oof": "greedy, out-of-fold",
    "stack:oof": "stacked, out-of-fold",
    "greedy:dev+pam": "greedy, dev and PAM",
    "stack:dev+pam": "stacked, dev and PAM",
    "cost:pam": "cheapest encoders",
}
"""Ours, compared beside them where the predictions for it are stored."""


@dataclass(frozen=True)
class Ensemble:
    """members: run ids, the heaviest first; weights: positive, summing to 1; data: id of their clip table."""

    rule: str
    members: tuple[str, ...]
    weights: tuple[float, ...]
    data: str

    def __post_init__(self) -> None:
        if not self.members or len(self.members) != len(self.weights):
            raise ValueError(f"{len(self.members)} members with {len(self.weights)} weights are no ensemble")
        if len(set(self.members)) != len(self.members):
            raise ValueError("a member stands twice in the ensemble; give it a larger weight instead")
        if min(self.weights) <= 0 or abs(sum(self.weights) - 1) > 1e-9:
            raise ValueError(f"weights must be positive and sum to 1, not {self.weights}")

    @property
    def id(self) -> str:
        """Equal for equal members and weights on the same data, whatever rule chose them."""
        return signature("ensemble", {"members": self.members, "weights": self.weights, "data": self.data})

    def save(self, path: Path) -> None:
        sealed.write_json(path, {"id": self.id, **asdict(self)})

    @classmethod
    def load(cls, path: Path) -> Ensemble:
        """Read what `save` wrote; ValueError where it is something else or was changed by hand."""
        try:
            content = sealed.read_object(path)
            ensemble = from_weights(
                content["rule"],
                dict(zip(content["members"], content["weights"], strict=True)),
                content["data"],
            )
            if ensemble.id != content["id"]:
                raise ValueError(f"it says {content['id']} but is {ensemble.id}")
        except FileNotFoundError:
            raise
        except (KeyError, TypeError, ValueError) as reason:
            raise ValueError(f"{path} does not hold an ensemble: {reason}") from None
        return ensemble

    def predict(self, runs: Iterable[Run], split: str) -> Predictions:
        """The weighted mean of the members' stored predictions on `split`; `runs` hold the members."""
        by_id = {run.id: run for run in runs}
        missing = [member for member in self.members if member not in by_id]
        if missing:
            raise ValueError(f"{self.id} needs run {missing[0]}, which is not among the {len(by_id)} here")
        return average([by_id[m].predictions(split) for m in self.members], self.weights, run=self.id)


def from_weights(rule: str, weights: Mapping[str, float], data: str) -> Ensemble:
    """The ensemble of the runs and weights that a rule gave (see `select`)."""
    return Ensemble(rule, tuple(weights), tuple(weights.values()), data)


def default_rule(pool: Pool) -> str:
    """The paper's rule where dev and PAM are both scored; else the top 8 of what there is to choose by."""
    scored = [split for split, scores in pool.scores.items() if any(s is not None for s in scores.values())]
    if {"dev", "pam"} <= set(scored):
        return PAPER_RULE
    return f"top:{scored[0]}:8" if scored else PAPER_RULE


def choose_ensemble(pool: Pool, data: str, rule: str = "") -> Ensemble:
    """Follow `rule` (left out: `default_rule`) over the runs of a pool, never looking at the test split.

    Parameters
    ----------
    data
        Id of the clip table that the runs were trained on.
    """
    rule = rule or default_rule(pool)
    return from_weights(rule, select(rule, pool), data)
