"""Intervals around a score that hold: split-conformal prediction, domain by domain.  No torch.

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

Array = NDArray[np.float64]

LEVELS = (0.80, 0.95)
EVERYWHERE = ""
"""The domain of quantiles over all clips, used where a domain has too few of its own or is not known."""
MIN_CLIPS = 20
"""Fewer rated clips give a domain no quantile of its own: 95 % would be their largest error or nothing."""
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

    def half_widths(self, level: float, spread: Array, domain: str = EVERYWHERE) -> Array:
        """Half-widths [A] for one clip with member spread [A]; NaN where no interval can be given."""
        own = self.quantiles.get(domain, {}).get(level) or (None,) * len(self.axes)
        common = self.quantiles[EVERYWHERE][level]
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
            domain: {float(level): _numbers(q, axes) for level, q in of.items()}
            for domain, of in values["quantiles"].items()
        }
        if any(set(of) != set(LEVELS) for of in quantiles.values()) or EVERYWHERE not in quantiles:
            raise ValueError(f"quantiles are not those of the levels {LEVELS}")
        base = _numbers(values["base"], axes)
        if any(b is None for b in base):
            raise ValueError("base is not a number for every axis")
        coverage = tuple(Coverage(**row) for row in values["coverage"])
        return Intervals(axes, base, quantiles, dict(values["clips"]), str(values["source"]), coverage)  # type: ignore[arg-type]


def calibrate(
    axes: Sequence[str], errors: Array, spread: Array, domains: Sequence[str], noise: Array, source: str
) -> Intervals:
    """Intervals from clips that were not trained on.

    errors: [N, A] prediction less rating, NaN where not rated; spread [N, A] of the members;
    domains: [N], "" where not known; noise: [A] standard deviation of a panel's mean, 0 where unknown.
    An axis without rated clips gets no quantiles, and so no interval.
    """
    base = base_errors(errors, spread, noise)
    scores = np.abs(errors) / np.hypot(base, spread)
    names = np.asarray(domains, dtype=str)
    groups = {EVERYWHERE: np.ones(len(names), dtype=bool)}
    groups |= {name: names == name for name in sorted(set(domains)) if name}
    quantiles, clips = {}, {}
    for domain, members in groups.items():
        counts = np.isfinite(errors[members]).sum(axis=0)
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
            for level in LEVELS
        }
    return Intervals(tuple(axes), tuple(base.tolist()), quantiles, clips, source)


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


def covered(
    intervals: Intervals, errors: Array, spread: Array, domains: Sequence[str], level: float
) -> tuple[Array, Array]:
    """[N, A] 1 where the rating lies inside, 0 outside, NaN where unrated or no interval; half-widths."""
    widths = np.array([intervals.half_widths(level, s, d) for s, d in zip(spread, domains, strict=True)])
    widths = widths.reshape(errors.shape)
    known = np.isfinite(errors) & np.isfinite(widths)
    return np.where(known, np.abs(errors) <= widths, np.nan), np.where(known, widths, np.nan)


def measure(
    intervals: Intervals,
    errors: Array,
    spread: Array,
    domains: Sequence[str],
    on: str,
    shown: Sequence[str] | None = None,
) -> tuple[Coverage, ...]:
    """Coverage of given intervals on clips that they were not made from.

    domains: whose quantiles are used; shown: by which the rows are divided, where those are others.
    """
    parts = [(level, *covered(intervals, errors, spread, domains, level)) for level in LEVELS]
    return _rows(intervals.axes, parts, domains if shown is None else shown, on)


def cross_check(
    axes: Sequence[str],
    errors: Array,
    spread: Array,
    domains: Sequence[str],
    groups: Sequence[str],
    noise: Array,
    on: str,
    seed: int = 0,
) -> tuple[Coverage, ...]:
    """Coverage on the calibration clips: each fifth (of whole groups) by the intervals of the others."""
    rng = np.random.default_rng(seed)
    names = np.array([group or f"clip {i}" for i, group in enumerate(groups)], dtype=str)
    distinct, member = np.unique(names, return_inverse=True)
    shares: dict[float, list[tuple[Array, Array]]] = {level: [] for level in LEVELS}
    for _ in range(REPEATS):
        fold = rng.permutation(len(distinct))[member] % FOLDS
        found = {level: (np.full(errors.shape, np.nan), np.full(errors.shape, np.nan)) for level in LEVELS}
        for left_out in range(FOLDS):
            here, rest = fold == left_out, fold != left_out
            if not here.any():
                continue
            kept = [d for d, r in zip(domains, rest, strict=True) if r]
            out = [d for d, h in zip(domains, here, strict=True) if h]
            intervals = calibrate(axes, errors[rest], spread[rest], kept, noise, on)
            for level in LEVELS:
                inside, widths = covered(intervals, errors[here], spread[here], out, level)
                found[level][0][here], found[level][1][here] = inside, widths
        for level in LEVELS:
            shares[level].append(found[level])
    parts = []
    for level, repeats in shares.items():
        inside, widths = np.stack([r[0] for r in repeats]), np.stack([r[1] for r in repeats])
        known = np.isfinite(inside).any(axis=0)
        mean_inside, mean_width = (np.where(known, _mean_known(x), np.nan) for x in (inside, widths))
        parts.append((level, mean_inside, mean_width))
    return _rows(axes, parts, domains, on)


def _rows(
    axes: Sequence[str], parts: Sequence[tuple[float, Array, Array]], domains: Sequence[str], on: str
) -> tuple[Coverage, ...]:
    names = np.asarray(domains, dtype=str)
    groups = {"all": np.ones(len(names), dtype=bool)}
    if len(set(domains) - {""}) > 1:
        groups |= {name: names == name for name in sorted(set(domains)) if name}
    rows = []
    for level, inside, widths in parts:
        for domain, members in groups.items():
            for column, axis in enumerate(axes):
                values = inside[members, column]
                n = int(np.isfinite(values).sum())
                if n:
                    width = 2 * float(np.nanmean(widths[members, column]))
                    rows.append(Coverage(on, domain, axis, level, float(np.nanmean(values)), width, n))
    return tuple(rows)


def _numbers(values: Sequence[Any], axes: Sequence[str]) -> tuple[float | None, ...]:
    if len(values) != len(axes):
        raise ValueError(f"{len(values)} values for {len(axes)} axes")
    numbers = tuple(None if value is None else float(value) for value in values)
    if any(n is not None and not 0.0 <= n < math.inf for n in numbers):
        raise ValueError("a quantile or a base is not a number from 0 on")
    return numbers
