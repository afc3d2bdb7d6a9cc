"""Heads in closed form, solved on the features of whole clips (see `network.closed_form`)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mmmos.heads.network.aggregators import Solved
from mmmos.heads.network.closed_form import ENOUGH_TO_CHOOSE, GaussianKernel, Solution, solve
from mmmos.heads.network.model import Head
from mmmos.heads.network.reading import weighted_mean
from mmmos.heads.network.towers import BoundedLinear
from mmmos.heads.training.data import CHUNK, Features, Indices
from mmmos.store.splits import group_folds, groups_of

INNER_FOLDS = 5
REPEATS = 3
"""Divisions into folds over which the choice of a penalty is averaged: with few groups one is a lottery."""

MANY_CLIPS = 500
"""From here on one division is enough."""


@dataclass(frozen=True)
class Solving:
    """Mean squared errors over the axes, z-scored: on the training clips, and in cross-validation (None
    where there were too few groups); notes say what was chosen."""

    train_error: float
    error: float | None
    notes: tuple[str, ...]


def solve_head(head: Head, features: Features, clips: Indices) -> Solving:
    """Fit a fresh head on clips, axis by axis; the seed of its config divides them for the choice."""
    truth = torch.from_numpy(features.truth[clips])[:, _columns(head, features)]
    y = ((truth - head.target_mean) / head.target_std).numpy()
    folds = inner_folds(features, clips, head.config.seed)
    notes = _pick_layers(head, features, clips, y, folds)
    x = _vectors(head, features, clips)
    solutions = [_solve_axis(head.config.aggregator, x, column, folds) for column in y.T]
    _keep(head, x, y, solutions)
    pred = head.towers(torch.from_numpy(x).float()).squeeze(-1).detach().double().numpy()
    errors = [solution.error for solution in solutions]
    for axis, solution, column in zip(head.axes, solutions, y.T, strict=True):
        chosen = ", ".join(f"{name} {value:g}" for name, value in solution.choice.items())
        how = "cross-validated" if solution.error is not None else "too few groups to choose"
        if np.isfinite(column).sum() < ENOUGH_TO_CHOOSE:
            how = "too few clips to choose"
        notes.append(f"{axis}: {chosen} ({how})")
    known = [error for error in errors if error is not None]
    return Solving(float(np.nanmean((pred - y) ** 2)), float(np.mean(known)) if known else None, tuple(notes))


def inner_folds(features: Features, clips: Indices, seed: int) -> list[NDArray[np.int64]]:
    """Divisions of clips into folds of whole groups; none where there are fewer than three groups."""
    members = [features.clips[n] for n in clips]
    folds = min(INNER_FOLDS, len(groups_of(members)))
    repeats = REPEATS if len(clips) < MANY_CLIPS else 1
    return [group_folds(members, folds, seed * REPEATS + n) for n in range(repeats)] if folds > 2 else []


@torch.no_grad()
def _vectors(head: Head, features: Features, clips: Indices) -> NDArray[np.float64]:
    """[N, dim] what a fresh head's towers are given of each clip, its crops averaged by `valid_s`.

    A linear head reads features within those of these clips: on a group unlike all others it would go as
    far as it likes.  Kernels lean back to the mean there.
    """
    rows = features.rows(clips)
    crops = torch.cat(
        [
            head.vectors(features.batch(head.specs, head.reading, rows[at : at + CHUNK]))
            for at in range(0, len(rows), CHUNK)
        ]
    )
    if isinstance(head.towers, BoundedLinear):
        head.towers.lowest.copy_(crops.amin(dim=0))
        head.towers.highest.copy_(crops.amax(dim=0))
    return _averaged(crops, features, clips)


def _averaged(crops: Tensor, features: Features, clips: Indices) -> NDArray[np.float64]:
    """[N, D] the vectors of crops averaged over each clip by `valid_s`."""
    owner = torch.from_numpy(np.repeat(np.arange(len(clips)), features.counts[clips]))
    seconds = torch.from_numpy(features.valid_s[features.rows(clips)])
    return weighted_mean(crops, owner, seconds, len(clips)).numpy()


def _columns(head: Head, features: Features) -> list[int]:
    return [list(features.table.axes).index(axis) for axis in head.axes]


def _solve_axis(
    family: str, x: NDArray[np.float64], y: NDArray[np.float64], folds: list[NDArray[np.int64]]
) -> Solution:
    """`solve` on the clips that are rated; a kernel's weights of the others are 0."""
    rated = np.isfinite(y)
    here = [fold[rated] for fold in folds if len(np.unique(fold[rated])) > 1]
    found = solve(family, x[rated], y[rated], here)
    if family == "ridge":
        return found
    weights = np.zeros(len(y))
    weights[rated] = found.weights
    return Solution(found.choice, found.error, weights, found.bias)


def _pick_layers(
    head: Head,
    features: Features,
    clips: Indices,
    y: NDArray[np.float64],
    folds: list[NDArray[np.int64]],
) -> list[str]:
    """Under the layer rule "best": per encoder the layer on which a ridge alone errs least, over all axes."""
    assert isinstance(head.aggregator, Solved)
    notes = []
    for index, (spec, (count, width)) in enumerate(zip(head.specs, head.aggregator.layers, strict=True)):
        if not width:
            continue
        errors = []
        for layer in range(count):
            x = _layer_vectors(head, features, clips, index, slice(layer * width, (layer + 1) * width))
            solved = [_solve_axis("ridge", x, column, folds).error for column in y.T]
            errors.append(float(np.mean([np.inf if error is None else error for error in solved])))
        best = int(np.argmin(errors)) if np.isfinite(errors).all() else count - 1
        head.aggregator.picked[index] = best
        notes.append(f"layer {best} of {spec.name}")
    return notes


@torch.no_grad()
def _layer_vectors(
    head: Head, features: Features, clips: Indices, index: int, columns: slice
) -> NDArray[np.float64]:
    """[N, D] some standardised columns of one encoder's features of each clip."""
    rows = features.rows(clips)
    values: Tensor = head.standardised(features.batch(head.specs, head.reading, rows))[index][:, columns]
    return _averaged(values, features, clips)


def _keep(head: Head, x: NDArray[np.float64], y: NDArray[np.float64], solutions: list[Solution]) -> None:
    """Put the solutions of all axes into the head.

    A ridge is held within the scores that it saw: on clips unlike those it would go as far as it likes.
    """
    with torch.no_grad():
        weights = torch.from_numpy(np.stack([solution.weights for solution in solutions])).float()
        bias = torch.tensor([solution.bias for solution in solutions])
        towers = head.towers
        if isinstance(towers, GaussianKernel):
            towers.support.copy_(torch.from_numpy(x))
            towers.dual.copy_(weights)
            towers.bias.copy_(bias)
            towers.width.copy_(torch.tensor([solution.choice["width"] for solution in solutions]))
        else:
            assert isinstance(towers, BoundedLinear)
            towers.weight.copy_(weights[:, None])
            towers.bias.copy_(bias[:, None])
            towers.low.copy_(torch.from_numpy(np.nanmin(y, axis=0)))
            towers.high.copy_(torch.from_numpy(np.nanmax(y, axis=0)))
