"""Intervals around a score by split-conformal prediction, domain by domain.  No torch.

An interval says where the mean rating of a panel like the training data's would lie.  Its half-width is

    q * sqrt(base^2 + spread^2)

spread: how much the ensemble's members disagree on this clip (weighted standard deviation).
base:   the rest of the typical error on clips that were not trained on; never less than the noise of a
        panel's mean, known from the single ratings.
q:      the ceil((n + 1) level)-th smallest of |error| / sqrt(base^2 + spread^2) over n such clips of the
        domain (Vovk, Gammerman and Shafer 2005, section 4.5: Mondrian conformal prediction; normalised as in
        Papadopoulos et al. 2008).  For new clips that are exchangeable with those, the interval covers at
        least `level` of them, whatever the quality of the model.  Other audio carries no such promise.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmmos.heads.scoring.json_values import is_count, numbers, record
from mmmos.store.names import ALL, beside_all

Array = NDArray[np.float64]

CONFIDENCE_LEVELS = (0.80, 0.95)
"""What share of new ratings the intervals are to cover."""
ALL_DOMAINS = ""
"""Key of the quantiles over all clips, used where a domain has too few clips of its own or is not known."""
MIN_CLIPS = 20
"""A domain with fewer rated clips gets no quantiles of its own: at 95 % one would be the largest error."""
FOLDS, REPEATS = 5, 20
"""Cross-checks of coverage: random fifths left out, this many times over."""


@dataclass(frozen=True)
class Coverage:
    """What share of ratings fell inside the intervals; `on` says which clips, and how they were held out."""

    on: str
    domain: str
    axis: str
    level: float
    share: float
    width: float
    n: int


@dataclass(frozen=True)
class Intervals:
    """base: per axis, on the labels' scale.  quantiles: domain -> level -> q per axis, None where too few.

    clips: domain -> how many clips it rests on; source: which clips those are.
    """

    axes: tuple[str, ...]
    base: tuple[float, ...]
    quantiles: dict[str, dict[float, tuple[float | None, ...]]]
    clips: dict[str, int]
    source: str
    coverage: tuple[Coverage, ...] = ()

    @staticmethod
    def uncalibrated(axes: Sequence[str]) -> Intervals:
        """Without any interval, until rated clips are there to take them from."""
        none: dict[float, tuple[float | None, ...]] = dict.fromkeys(CONFIDENCE_LEVELS, (None,) * len(axes))
        return Intervals(tuple(axes), (0.0,) * len(axes), {ALL_DOMAINS: none}, {ALL_DOMAINS: 0}, "no clips")

    def half_widths(self, level: float, spread: Array, domain: str = ALL_DOMAINS) -> Array:
        """Half-widths [A] for one clip with member spread [A]; NaN where no interval can be given."""
        own = self.quantiles.get(domain, {}).get(level) or (None,) * len(self.axes)
        common = self.quantiles[ALL_DOMAINS][level]
        q = [o if o is not None else c for o, c in zip(own, common, strict=True)]
        return np.array(q, dtype=np.float64) * np.hypot(np.array(self.base), spread)

    def to_json(self) -> dict[str, Any]:
        quantiles = {d: {f"{level:g}": q for level, q in of.items()} for d, of in self.quantiles.items()}
        return {**asdict(self), "quantiles": quantiles}

    @staticmethod
    def from_json(values: Mapping[str, Any]) -> Intervals:
        """What `to_json` gave; KeyError, TypeError or ValueError for anything else."""
        axes = tuple(values["axes"])
        quantiles = {
            domain: {float(level): numbers(q, axes) for level, q in of.items()}
            for domain, of in values["quantiles"].items()
        }
        if (
            any(set(of) != set(CONFIDENCE_LEVELS) for of in quantiles.values())
            or ALL_DOMAINS not in quantiles
        ):
            raise ValueError(f"quantiles are not those of the levels {CONFIDENCE_LEVELS}")
        base = numbers(values["base"], axes)
        if any(b is None for b in base):
            raise ValueError("base is not a number for every axis")
        coverage = tuple(record(Coverage, row) for row in values["coverage"])
        clips, source = values["clips"], values["source"]
        if not isinstance(source, str) or set(clips) != set(quantiles):
            raise ValueError("the clips that intervals rest on are not those of their quantiles")
        if not all(map(is_count, clips.values())):
            raise ValueError("the number of clips that intervals rest on is not a whole number from 0 on")
        return Intervals(axes, base, quantiles, dict(clips), source, coverage)  # type: ignore[arg-type]


@dataclass(frozen=True, eq=False)
class HeldOut:
    """How an ensemble did on N clips that the predicting heads were not trained on.

    errors: [N, A] prediction less rating, NaN where not rated; spread: [N, A] of the members.
    domains, groups: [N] texts, "" where not known; the clips of a group resemble each other.
    """

    errors: Array
    spread: Array
    domains: NDArray[np.str_]
    groups: NDArray[np.str_]

    def of(self, chosen: NDArray[np.bool_]) -> HeldOut:
        """Some of the clips, by a mask [N]."""
        return HeldOut(self.errors[chosen], self.spread[chosen], self.domains[chosen], self.groups[chosen])


def calibrate(axes: Sequence[str], held_out: HeldOut, noise: Array, source: str) -> Intervals:
    """Intervals from clips that were not trained on.

    Parameters
    ----------
    axes
        Names of the A axes.
    held_out
        Errors and spread on those clips.
    noise
        [A] standard deviation of a panel's mean, 0 where it is not known.
    source
        Which clips they are, in words.

    Returns
    -------
    Intervals
        An axis without rated clips gets no quantiles, and so no interval.
    """
    base = base_errors(held_out.errors, held_out.spread, noise)
    scores = np.abs(held_out.errors) / np.hypot(base, held_out.spread)
    quantiles, clips = {}, {}
    for domain, members in _by_domain(held_out.domains, ALL_DOMAINS).items():
        counts = np.isfinite(scores[members]).sum(axis=0)
        if domain and counts.max(initial=0) < MIN_CLIPS:
            continue
        clips[domain] = int(counts.max(initial=0))
        quantiles[domain] = {
            level: tuple(
                conformal_quantile(scores[members, axis], level)
                if not domain or counts[axis] >= MIN_CLIPS
                else None
                for axis in range(len(axes))
            )
            for level in CONFIDENCE_LEVELS
        }
    return Intervals(tuple(axes), tuple(base.tolist()), quantiles, clips, source)


def _by_domain(domains: NDArray[np.str_], together: str) -> dict[str, NDArray[np.bool_]]:
    """Masks [N]: of all clips under the name `together`, then of every named domain's."""
    masks = {together: np.ones(len(domains), dtype=bool)}
    return masks | {str(name): domains == name for name in np.unique(domains) if name}


def base_errors(errors: Array, spread: Array, noise: Array) -> Array:
    """Per axis [A] the root of the mean squared error that the spread does not explain, at least `noise`."""
    squares = _mean_known(errors**2 - spread**2)
    # A tenth of the error at least: a spread that explains everything on average does not on each clip.
    least = 0.1 * np.sqrt(_mean_known(errors**2))
    return np.maximum.reduce([np.sqrt(np.maximum(squares, 0.0)), noise, least, np.full(len(noise), 1e-9)])


def _mean_known(values: Array) -> Array:
    """Mean over the first axis of what is not NaN; 0 where nothing is known."""
    known = np.isfinite(values)
    return np.where(known, values, 0.0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)


def conformal_quantile(scores: Array, level: float) -> float | None:
    """The ceil((n + 1) level)-th smallest of the finite scores; None where n is too small for the level."""
    finite = np.sort(scores[np.isfinite(scores)])
    # 1e-9 below: (19 + 1) * 0.95 is 19.000000000000004 in floating point.
    rank = math.ceil((len(finite) + 1) * level - 1e-9)
    return float(finite[rank - 1]) if 1 <= rank <= len(finite) else None


def covered(intervals: Intervals, held_out: HeldOut, level: float) -> tuple[Array, Array]:
    """[N, A] 1 where the rating lies inside, 0 outside, NaN where unrated or no interval; half-widths."""
    widths = np.array(
        [
            intervals.half_widths(level, spread, domain)
            for spread, domain in zip(held_out.spread, held_out.domains, strict=True)
        ]
    ).reshape(held_out.errors.shape)
    known = np.isfinite(held_out.errors) & np.isfinite(widths)
    return np.where(known, np.abs(held_out.errors) <= widths, np.nan), np.where(known, widths, np.nan)


def measure_coverage(
    intervals: Intervals, held_out: HeldOut, on: str, by: NDArray[np.str_] | None = None
) -> tuple[Coverage, ...]:
    """Coverage of given intervals on clips that they were not made from.

    on: which clips these are, in words; by: domains [N] to report by, where they are not those of `held_out`,
    whose quantiles are used.
    """
    parts = [(level, *covered(intervals, held_out, level)) for level in CONFIDENCE_LEVELS]
    return _rows(intervals.axes, parts, held_out.domains if by is None else by, on)


def cross_check(axes: Sequence[str], held_out: HeldOut, noise: Array, on: str) -> tuple[Coverage, ...]:
    """Coverage on the calibration clips: each fifth (of whole groups) by the intervals of the others.

    The fifths are drawn at random REPEATS times, and the coverage of each clip is averaged over them.
    """
    rng = np.random.default_rng(0)
    names = np.array([group or f"clip {i}" for i, group in enumerate(held_out.groups)], dtype=str)
    distinct, member = np.unique(names, return_inverse=True)
    shape = (REPEATS, len(CONFIDENCE_LEVELS), *held_out.errors.shape)
    inside, widths = np.full(shape, np.nan), np.full(shape, np.nan)
    for repeat in range(REPEATS):
        fold = rng.permutation(len(distinct))[member] % FOLDS
        for left_out in np.unique(fold):
            here = fold == left_out
            made = calibrate(axes, held_out.of(~here), noise, on)
            for k, level in enumerate(CONFIDENCE_LEVELS):
                inside[repeat, k, here], widths[repeat, k, here] = covered(made, held_out.of(here), level)
    known = np.isfinite(inside).any(axis=0)
    shares, reach = (np.where(known, _mean_known(values), np.nan) for values in (inside, widths))
    return _rows(axes, list(zip(CONFIDENCE_LEVELS, shares, reach, strict=True)), held_out.domains, on)


def _rows(
    axes: Sequence[str],
    parts: Sequence[tuple[float, Array, Array]],
    domains: NDArray[np.str_],
    on: str,
) -> tuple[Coverage, ...]:
    """A row per level, domain and axis from (level, inside [N, A], half-widths [N, A])."""
    masks = _by_domain(domains, ALL_DOMAINS)
    if len(masks) == 2:  # a single domain is all of them
        masks = {ALL_DOMAINS: masks[ALL_DOMAINS]}
    rows = []
    for level, inside, widths in parts:
        for domain, members in masks.items():
            for column, axis in enumerate(axes):
                values = inside[members, column]
                n = int(np.isfinite(values).sum())
                if n:
                    width = 2 * float(np.nanmean(widths[members, column]))
                    rows.append(
                        Coverage(
                            on, beside_all(domain) or ALL, axis, level, float(np.nanmean(values)), width, n
                        )
                    )
    return tuple(rows)
