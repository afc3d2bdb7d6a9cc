"""What the best possible predictor could reach, from the spread of the single ratings.

A score is the mean of a few raters; another panel would have given another mean.  Even a predictor that
knows what all people on average would say therefore errs by the panel's noise:

    noise MSE    = mean over items of (unbiased variance of the item's ratings / its number of raters)
    highest LCC  = sqrt(1 - noise MSE / unbiased variance of the item means)
    highest SRCC = sqrt(2 r / (1 + r)), r = mean SRCC of two halves of the raters (Spearman-Brown, then
                   attenuation; exact for Pearson's correlation, very close for ranks)
    highest KTAU = 2/pi asin(highest LCC), Greiner's relation for jointly normal scores: a guide only

The rater errors of different clips are taken as independent; raters who are strict on everything make
the system-level noise larger than stated here, so that ceiling is optimistic.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy.stats import rankdata

from mmmos.heads.metrics import MIN_ITEMS, Array, pearson, system_means, tie_safe

HALVINGS = 20
"""How many random halvings of the raters are averaged."""


@dataclass(frozen=True)
class Ceiling:
    """The best values that the raters' noise allows.

    Parameters
    ----------
    values
        Name in RULES -> the least error or the highest correlation, None where the ratings do not tell.
    split_half
        Mean SRCC between two halves of the raters, uncorrected: what one half of the panel says of the other.
    n
        How many items have at least two ratings.
    reason
        Why there is no highest LCC (or nothing at all), else "".
    """

    values: Mapping[str, float | None] = field(default_factory=dict)
    split_half: float | None = None
    n: int = 0
    reason: str = ""

    def of(self, rule: str | None) -> float | None:
        """The value by a rule of RULES; None for no rule and where the ratings do not tell."""
        return None if rule is None else self.values.get(rule)


def ceiling(
    ratings: Sequence[Sequence[float]], systems: Sequence[str] | None = None, seed: int = 0
) -> Ceiling:
    """The ceiling of one axis.

    Parameters
    ----------
    ratings
        [N] items, each with its own number of ratings.  Those with fewer than two are left out.
    systems
        [N] names, or None.  With names, the means of the systems' items are what is compared; the noise of
        a mean of n items is the sum of theirs over n^2.
    seed
        Of the random halvings of the raters.
    """
    told = [i for i, item in enumerate(ratings) if len(item) >= 2]
    if not told:
        return Ceiling(reason="no single ratings are known")
    items = [np.asarray(ratings[i], dtype=np.float64) for i in told]
    means = np.array([item.mean() for item in items])
    noise = np.array([item.var(ddof=1) / len(item) for item in items])
    halves = _halves(items, seed)
    if systems is not None:
        names = [systems[i] for i in told]
        count = np.array([names.count(name) for name in sorted(set(names))])
        noise = system_means(noise, names)[1] / count
        means = system_means(means, names)[1]
        halves = np.stack([system_means(half, names)[1] for half in halves])
    half = _split_half(halves)
    found = Noise(float(noise.mean()), means, half)
    values = {name: rule(found) for name, rule in RULES.items()}
    return Ceiling(values, half, len(means), _why_no_highest_lcc(found))


def composite_ratings(ratings: Sequence[Sequence[Sequence[float]]]) -> list[list[float]]:
    """Composite of every single rater, [N][axis][rater] -> [N][rater].

    Taken per rater first, because one rater's errors on the axes of a clip go together.  Empty for clips
    whose rated axes do not have equally many ratings, where raters cannot be matched.
    """
    result: list[list[float]] = []
    for item in ratings:
        axes = [np.asarray(axis, dtype=np.float64) for axis in item if len(axis)]
        matched = axes and len({len(axis) for axis in axes}) == 1
        result.append(np.mean(axes, axis=0).tolist() if matched else [])
    return result


@dataclass(frozen=True, eq=False)
class Noise:
    """What the rules below compute from: the noise MSE, the items' means [N], the split-half SRCC."""

    mse: float
    means: Array
    split_half: float | None


def _why_no_highest_lcc(noise: Noise) -> str:
    if len(noise.means) < MIN_ITEMS:
        return f"a correlation needs {MIN_ITEMS} items, there are {len(noise.means)}"
    if noise.mse >= noise.means.var(ddof=1):
        return "the raters differ more within items than the items do"
    return ""


def _highest_lcc(noise: Noise) -> float | None:
    if _why_no_highest_lcc(noise):
        return None
    return float(np.sqrt(1 - noise.mse / float(noise.means.var(ddof=1))))


def _highest_srcc(noise: Noise) -> float | None:
    half = noise.split_half
    return None if half is None or half <= 0 else float(np.sqrt(2 * half / (1 + half)))


def _highest_ktau(noise: Noise) -> float | None:
    highest = _highest_lcc(noise)
    return None if highest is None else float(2 / np.pi * np.arcsin(highest))


RULES: dict[str, Callable[[Noise], float | None]] = {
    "noise": lambda noise: noise.mse,
    "lcc": _highest_lcc,
    "srcc": _highest_srcc,
    "ktau": _highest_ktau,
}
"""How the best possible value of a metric follows from the raters' noise; Metric.ceiling names one."""


def _halves(items: Sequence[Array], seed: int) -> Array:
    """Means of two random halves of each item's ratings, [2 x HALVINGS, N]: one halving, two rows."""
    rng = np.random.default_rng(seed)
    result = np.empty((2 * HALVINGS, len(items)))
    for column, item in enumerate(items):
        shuffled = rng.permuted(np.tile(item, (HALVINGS, 1)), axis=1)
        middle = len(item) // 2
        result[0::2, column] = shuffled[:, :middle].mean(axis=1)
        result[1::2, column] = shuffled[:, middle : 2 * middle].mean(axis=1)
    return result


def _split_half(halves: Array) -> float | None:
    if halves.shape[1] < MIN_ITEMS:
        return None
    ranks = rankdata(tie_safe(halves), axis=1)
    pairs = zip(ranks[0::2], ranks[1::2], strict=True)
    defined = [pearson(one, other) for one, other in pairs if np.ptp(one) and np.ptp(other)]
    return float(np.mean(defined)) if defined else None
