"""Quantiles of split-conformal prediction by group: domains, and recordings and synthetic audio in them.

No torch.  What they promise, and how intervals are made of them, is said in `intervals`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

CONFIDENCE_LEVELS = (0.80, 0.95)
"""What share of new ratings the intervals are to cover."""
ALL_DOMAINS = ""
"""Key of the quantiles over all clips, used where a domain has too few clips of its own or is not known."""
MIN_CLIPS = 20
"""Fewer rated clips get no quantiles of their own: at 95 % one would be the largest error."""
ORIGINS = ("real", "synthetic")

Quantiles = dict[float, tuple[float | None, ...]]
"""Level -> q per axis, None where too few clips are rated."""


@dataclass(frozen=True, eq=False)
class HeldOut:
    """How an ensemble did on N clips that the predicting heads were not trained on.

    errors: [N, A] prediction less rating, NaN where not rated; spread: [N, A] of the members.
    domains, groups, origins: [N] texts, "" where not known; the clips of a group resemble each other; an
    origin is "real" or "synthetic".  Without origins none is known.
    """

    errors: Array
    spread: Array
    domains: NDArray[np.str_]
    groups: NDArray[np.str_]
    origins: NDArray[np.str_] = field(default_factory=lambda: np.array([], dtype=str))

    def __post_init__(self) -> None:
        if len(self.origins) != len(self.domains):
            object.__setattr__(self, "origins", np.full(len(self.domains), ""))

    def of(self, chosen: NDArray[np.bool_]) -> HeldOut:
        """Some of the clips, by a mask [N]."""
        return HeldOut(
            self.errors[chosen],
            self.spread[chosen],
            self.domains[chosen],
            self.groups[chosen],
            self.origins[chosen],
        )


def group_quantiles(scores: Array, held_out: HeldOut) -> tuple[dict[str, Quantiles], dict[str, int]]:
    """Quantiles of scores [N, A] by group, and how many rated clips each rests on.

    Groups are ALL_DOMAINS, the domains with MIN_CLIPS, and "domain/origin" where a domain has MIN_CLIPS of
    both origins; that domain then has the larger quantile of the two.
    """
    quantiles: dict[str, Quantiles] = {}
    clips: dict[str, int] = {}
    for domain, members in by_domain(held_out.domains, ALL_DOMAINS).items():
        most = int(np.isfinite(scores[members]).sum(axis=0).max(initial=0))
        if domain and most < MIN_CLIPS:
            continue
        parts = by_origin(members, held_out)
        made = {origin: _quantiles(scores[part], MIN_CLIPS) for origin, part in parts.items()}
        own = _quantiles(scores[members], MIN_CLIPS if domain else 0)
        clips[domain], quantiles[domain] = most, _widest(own, list(made.values()))
        for origin, part in parts.items():
            name = f"{domain}/{origin}" if domain else origin
            if domain or name not in held_out.domains:
                clips[name] = int(np.isfinite(scores[part]).sum(axis=0).max(initial=0))
                quantiles[name] = made[origin]
    return quantiles, clips


def _quantiles(scores: Array, least: int) -> Quantiles:
    """Level -> q per axis, from scores [N, A]; None for an axis with fewer than `least` of them."""
    enough = np.isfinite(scores).sum(axis=0) >= least
    return {
        level: tuple(
            conformal_quantile(of_axis, level) if known else None
            for of_axis, known in zip(scores.T, enough, strict=True)
        )
        for level in CONFIDENCE_LEVELS
    }


def _widest(own: Quantiles, parts: Sequence[Quantiles]) -> Quantiles:
    """A domain's quantiles: the largest of its parts' where there are any for an axis, else its own."""
    largest: Quantiles = {}
    for level, of_axes in own.items():
        rows = [part[level] for part in parts]
        known = [[q for row in rows if (q := row[axis]) is not None] for axis in range(len(of_axes))]
        largest[level] = tuple(max(qs) if qs else value for qs, value in zip(known, of_axes, strict=True))
    return largest


def by_origin(members: NDArray[np.bool_], held_out: HeldOut) -> dict[str, NDArray[np.bool_]]:
    """Masks [N] of a domain's clips by origin, where it has MIN_CLIPS rated ones of each of several."""
    rated = members & np.isfinite(held_out.errors).any(axis=1)
    parts = {str(origin): members & (held_out.origins == origin) for origin in ORIGINS}
    enough = all((rated & part).sum() >= MIN_CLIPS for part in parts.values())
    return parts if enough else {}


def by_domain(domains: NDArray[np.str_], together: str) -> dict[str, NDArray[np.bool_]]:
    """Masks [N]: of all clips under the name `together`, then of every named domain's."""
    masks = {together: np.ones(len(domains), dtype=bool)}
    return masks | {str(name): domains == name for name in np.unique(domains) if name}


def base_errors(errors: Array, spread: Array, noise: Array) -> Array:
    """Per axis [A] the root of the mean squared error that the spread does not explain, at least `noise`."""
    squares = mean_known(errors**2 - spread**2)
    # A tenth of the error at least: a spread that explains everything on average does not on each clip.
    least = 0.1 * np.sqrt(mean_known(errors**2))
    return np.maximum.reduce([np.sqrt(np.maximum(squares, 0.0)), noise, least, np.full(len(noise), 1e-9)])


def mean_known(values: Array) -> Array:
    """Mean over the first axis of what is not NaN; 0 where nothing is known."""
    known = np.isfinite(values)
    return np.where(known, values, 0.0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)


def conformal_quantile(scores: Array, level: float) -> float | None:
    """The ceil((n + 1) level)-th smallest of the finite scores; None where n is too small for the level."""
    finite = np.sort(scores[np.isfinite(scores)])
    # 1e-9 below: (19 + 1) * 0.95 is 19.000000000000004 in floating point.
    rank = math.ceil((len(finite) + 1) * level - 1e-9)
    return float(finite[rank - 1]) if 1 <= rank <= len(finite) else None
