"""A few runs averaged: chosen by a rule and kept as a short JSON (paper V-D).

An ensemble is its members and weights.  Its prediction is the weighted mean of theirs, so it can be made
again from stored predictions alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from mmmos.heads.mixing import Line, Mixture, cautious_lines
from mmmos.heads.pool import Pool
from mmmos.heads.run_sets import RunSet
from mmmos.heads.runs import OOF, Run
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
    "even:oof": "all evenly, out-of-fold",
    "greedy:oof": "greedy, out-of-fold",
    "stack:oof": "stacked, out-of-fold",
    "greedy:dev+pam": "greedy, dev and PAM",
    "stack:dev+pam": "stacked, dev and PAM",
    "cost:pam": "cheapest encoders",
}
"""Ours, compared beside them where the predictions for it are stored."""


@dataclass(frozen=True)
class Ensemble:
    """A weighted mean of runs.

    Parameters
    ----------
    rule
        What chose them.
    members
        Run ids, the heaviest first.
    weights
        Of the members; positive, summing to 1.
    data
        Id of their clip table.
    runs
        The runs among which was chosen; None where that was not noted.
    by_axis, calibration
        See `Mixture`; () where the weights are those of every axis, and where the mean of the members stands
        as it is.
    """

    rule: str
    members: tuple[str, ...]
    weights: tuple[float, ...]
    data: str
    runs: RunSet | None = None
    by_axis: tuple[tuple[float, ...], ...] = ()
    calibration: tuple[Line, ...] = ()

    def __post_init__(self) -> None:
        if not self.members or len(self.members) != len(self.weights):
            raise ValueError(f"{len(self.members)} members with {len(self.weights)} weights are no ensemble")
        if len(set(self.members)) != len(self.members):
            raise ValueError("a member stands twice in the ensemble; give it a larger weight instead")
        if min(self.weights) <= 0 or abs(sum(self.weights) - 1) > 1e-9:
            raise ValueError(f"weights must be positive and sum to 1, not {self.weights}")
        _ = self.mixture  # refuses what cannot be one

    @property
    def mixture(self) -> Mixture:
        """How the members' predictions become one."""
        return Mixture(self.weights, self.by_axis, self.calibration)

    @property
    def id(self) -> str:
        """Equal for equal members and weights on the same data, whatever rule chose them."""
        further = {"by_axis": self.by_axis, "calibration": self.calibration}
        told = {name: value for name, value in further.items() if value}
        about = {"members": self.members, "weights": self.weights, "data": self.data}
        return signature("ensemble", about | told)

    def save(self, path: Path) -> None:
        sealed.write_json(path, {"id": self.id, **asdict(self)})

    @classmethod
    def load(cls, path: Path) -> Ensemble:
        """Read what `save` wrote; ValueError where it is something else or was changed by hand."""
        try:
            content = sealed.read_object(path)
            ensemble = replace(
                from_weights(
                    content["rule"],
                    dict(zip(content["members"], content["weights"], strict=True)),
                    content["data"],
                    RunSet(among["name"], tuple(among["runs"])) if (among := content.get("runs")) else None,
                ),
                by_axis=tuple(tuple(map(float, row)) for row in content.get("by_axis", ())),
                calibration=tuple((float(s), float(o)) for s, o in content.get("calibration", ())),
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
        stored = [by_id[member].predictions(split) for member in self.members]
        plain = average(stored, self.weights, run=self.id)
        if not self.by_axis and not self.calibration:
            return plain
        mean, _ = self.mixture.mean_and_spread(np.stack([one.of(plain.clip_ids) for one in stored]))
        return replace(plain, values=mean)


def from_weights(rule: str, weights: Mapping[str, float], data: str, among: RunSet | None = None) -> Ensemble:
    """The ensemble of the runs and weights that a rule gave (see `select`) `among` these runs."""
    return Ensemble(rule, tuple(weights), tuple(weights.values()), data, among)


def default_rule(pool: Pool) -> str:
    """The paper's rule where dev and PAM are both scored; else the top 8 of what there is to choose by."""
    scored = [split for split, scores in pool.scores.items() if any(s is not None for s in scores.values())]
    if {"dev", "pam"} <= set(scored):
        return PAPER_RULE
    return f"top:{scored[0]}:8" if scored else PAPER_RULE


def choose_ensemble(
    pool: Pool,
    data: str,
    rule: str = "",
    among: RunSet | None = None,
    *,
    only: Iterable[str] = (),
    per_axis: bool = False,
    calibrate: bool = False,
) -> Ensemble:
    """Follow `rule` (left out: `default_rule`) over the runs of a pool, never looking at the test split.

    Parameters
    ----------
    data
        Id of the clip table that the runs were trained on.
    among
        The set of runs that the pool is of, to be noted.
    only
        Ids of the runs that may be members; empty: all.
    per_axis
        Follow the rule once for each axis, as if there were no other.
    calibrate
        Set level and spread of each axis by the members' out-of-fold predictions, see `cautious_lines`.

    Raises
    ------
    ValueError
        Where the rule cannot be followed, and where out-of-fold predictions are missing to calibrate with.
    """
    pool = pool.of(only)
    rule = rule or default_rule(pool)
    if per_axis:
        chosen = _per_axis(pool, data, rule, among)
    else:
        chosen = from_weights(rule, select(rule, pool), data, among)
    if not calibrate:
        return chosen
    stored = pool.predictions.get(OOF, {})
    missing = [member for member in chosen.members if member not in stored]
    if missing:
        raise ValueError(f"{missing[0]} has no out-of-fold predictions to calibrate with; train with --folds")
    members = np.stack([stored[member] for member in chosen.members])
    mean, _ = chosen.mixture.mean_and_spread(members)
    return replace(chosen, calibration=cautious_lines(mean, pool.truth[OOF]))


def _per_axis(pool: Pool, data: str, rule: str, among: RunSet | None) -> Ensemble:
    """The ensembles that a rule chooses for each axis alone, laid side by side."""
    axes = next((truth.shape[1] for truth in pool.truth.values()), 0)
    if not axes:
        raise ValueError("to choose axis by axis, runs need stored predictions; train with --folds")
    weights = [select(rule, pool.of_axis(axis)) for axis in range(axes)]
    mean: dict[str, float] = {}
    for one in weights:
        for run, weight in one.items():
            mean[run] = mean.get(run, 0.0) + weight / axes
    ordered = sorted(mean, key=lambda run: (-mean[run], run))
    by_axis = tuple(tuple(one.get(run, 0.0) for one in weights) for run in ordered)
    total = sum(mean.values())
    weights_of_all = tuple(mean[run] / total for run in ordered)
    return Ensemble(rule, tuple(ordered), weights_of_all, data, among, by_axis)
