"""Is one run better than another?  A permutation test that swaps the two runs' predictions.

Were both runs equally good, it would not matter which of them said what.  So their predictions are swapped
for whole clusters (all clips of a system) at random, and the p-value is the share of such swaps that bring
a difference at least as large as the one seen.  Correlations do not depend on the level and unit of the
predictions, so those are taken out first (`_aligned`); for rank correlations a run is replaced by its ranks.
`python -m tests.simulate` measures how often equal runs are called different.

Every test is read as one of all those in its table: `holm` widens p-values so that all together err in 5 %.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from scipy.stats import rankdata

from mmmos.heads.inference import MIN_CLUSTERS, gathered, interval_of_difference
from mmmos.heads.left_out import Index
from mmmos.heads.metrics import METRICS, Array, is_constant

PERMUTATIONS = 1000

LEAST_SLOPE = 0.3

MIN_SWAPPED = 6
"""Of five clusters there are 16 different swaps, so that no p-value below 0.06 is possible."""


def swap_test(
    metric: str,
    pair: tuple[Array, Array],
    truth: Array,
    index: Index,
    permutations: int = PERMUTATIONS,
    seed: int = 0,
) -> float:
    """Two-sided p-value of "both runs are equally good".

    Parameters
    ----------
    metric
        A name in METRICS, defined for both runs.
    pair
        Predictions of the two runs, each [N].
    truth
        [N] ratings.
    index
        [N], the cluster of each item.
    permutations
        Random swaps; where there are no more different ones than these, each is made once.
    seed
        Of the random swaps.
    """
    groups = gathered(index)
    signs = _signs(int(groups.max()) + 1, permutations, seed)
    differences = SWAPPED.get(metric, _by_arrays(metric))(pair[0], pair[1], truth, groups, signs)
    size = np.abs(np.where(np.isfinite(differences), differences, 0.0))
    # The first row swaps nothing; equal differences stay equal in spite of rounding.
    return float(np.mean(size >= size[0] * (1 - 1e-9) - 1e-15))


@dataclass(frozen=True)
class Paired:
    """The difference of two runs in one metric on the same items, see `paired`.

    Parameters
    ----------
    difference
        The first run minus the second (negative is better for an error); None where undefined.
    low, high
        95 % interval of the difference.
    p
        Two-sided p-value of "both runs are equally good" (`swap_test`).
    reason
        Why some of these are None, "" where none is.
    """

    difference: float | None = None
    low: float | None = None
    high: float | None = None
    p: float | None = None
    reason: str = ""


def paired(
    metric: str,
    pair: tuple[Array, Array],
    truth: Array,
    clusters: Index,
    swapped: Index,
    names: tuple[str, str],
    permutations: int = PERMUTATIONS,
    seed: int = 0,
) -> Paired:
    """Compare the predictions of two runs, each [N], on the same items.

    Parameters
    ----------
    clusters, swapped
        [N] cluster of each item for the interval and for the swaps; empty where there are too few for it.
    names
        Of the two runs, for `reason`.
    permutations, seed
        Of the swaps; no permutations, no p-value.
    """
    values = [METRICS[metric](pred, truth) for pred in pair]
    if values[0] is None or values[1] is None:
        return Paired(reason=f"undefined for {names[0] if values[0] is None else names[1]}")
    difference, reasons = values[0] - values[1], []
    low = high = p = None
    if len(clusters):
        found = interval_of_difference(metric, pair, truth, clusters, difference)
        low, high = found.low, found.high
        reasons += [found.reason] if found.reason else []
    else:
        reasons.append(f"no interval: fewer than {MIN_CLUSTERS} systems")
    if len(swapped) and permutations:
        p = swap_test(metric, pair, truth, swapped, permutations, seed)
    elif permutations:
        reasons.append(f"no p-value: of fewer than {MIN_SWAPPED} systems there are too few different swaps")
    return Paired(difference, low, high, p, "; ".join(reasons))


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """p-values corrected for their number (Holm 1979); what is None is no test and stays None."""
    order = sorted((p, place) for place, p in enumerate(p_values) if p is not None)
    result: list[float | None] = [None] * len(p_values)
    highest = 0.0
    for rank, (p, place) in enumerate(order):
        highest = max(highest, min(1.0, p * (len(order) - rank)))
        result[place] = highest
    return result


def concordance(p: Array, t: Array, weights: Array) -> Array:
    """For each item i the sum over all j of weights[j] sign(p[i] - p[j]) sign(t[i] - t[j]), [N].

    O(N log^2 N) time and O(N) memory.  Two different ranks of `t` agree above some bit and differ in it: at
    each bit, items with a 1 are compared with those items of the same higher bits that have a 0.
    """
    rank_p, rank_t = (np.unique(side, return_inverse=True)[1].reshape(-1) for side in (p, t))
    width = int(rank_p.max()) + 1
    total = np.zeros(len(p))
    for bit in range(int(rank_t.max()).bit_length()):
        high = rank_t >> bit & 1 == 1
        family = (rank_t >> (bit + 1)) * width
        for one, other, sign in ((high, ~high, 1.0), (~high, high, -1.0)):
            order = np.argsort((family + rank_p)[other], kind="stable")
            keys = (family + rank_p)[other][order]
            sums = np.concatenate(([0.0], np.cumsum(weights[other][order])))
            first, last = (sums[np.searchsorted(keys, family[one] + edge)] for edge in (0, width))
            own = (family + rank_p)[one]
            below, not_above = (sums[np.searchsorted(keys, own, side)] for side in ("left", "right"))
            total[one] += sign * ((below - first) - (last - not_above))
    return total


def _signs(clusters: int, permutations: int, seed: int) -> Array:
    """[B, C] of 1 (as it is) and -1 (swapped), the first row all 1; all different ones where they are few.

    Swapping all clusters turns a difference around, so the first cluster need not be swapped.
    """
    if 2 ** (clusters - 1) <= permutations:
        every = product((1.0, -1.0), repeat=clusters - 1)
        return np.array([(1.0, *rest) for rest in every])
    rng = np.random.default_rng(seed)
    signs = rng.integers(0, 2, (permutations, clusters), dtype=np.int8) * 2.0 - 1.0
    return np.concatenate((np.ones((1, clusters)), signs))


def _mse(one: Array, other: Array, truth: Array, index: Index, signs: Array) -> Array:
    lost = (one - truth) ** 2 - (other - truth) ** 2
    return signs @ np.bincount(index, weights=lost) / len(truth)


def _lcc(one: Array, other: Array, truth: Array, index: Index, signs: Array) -> Array:
    return _correlation(_aligned(one, truth), _aligned(other, truth), _standard(truth), index, signs)


def _srcc(one: Array, other: Array, truth: Array, index: Index, signs: Array) -> Array:
    return _lcc(rankdata(one), rankdata(other), rankdata(truth), index, signs)


def _correlation(one: Array, other: Array, truth: Array, index: Index, signs: Array) -> Array:
    """Pearson's correlation of what swapping gives, first less second run, from sums over clusters."""
    sums = np.array(
        [[np.bincount(index, weights=w) for w in (run, run * run, run * truth)] for run in (one, other)]
    )
    middle, half = sums.mean(axis=0), (sums[0] - sums[1]) / 2
    result = []
    for turn in (1.0, -1.0):
        s, ss, st = (m.sum() + turn * (signs @ h) for m, h in zip(middle, half, strict=True))
        spread = np.maximum(ss - s * s / len(truth), 1e-12 * len(truth))
        result.append(st / np.sqrt(spread * len(truth)))
    return np.asarray(result[0] - result[1])


def _ktau(one: Array, other: Array, truth: Array, index: Index, signs: Array) -> Array:
    """tau-b of the first less that of the second run; exactly linear in the signs.

    A swap turns pairs of items between "both of the first run", "both of the second" and "one of each".  In
    the difference of a swap and its opposite the last cancel, but for their part that is linear.
    """
    places = [rankdata(run) for run in (one, other)]
    if len(signs[0]) < len(truth):
        places = [_aligned(run, rankdata(truth)) for run in places]
    ranks = [np.unique(side, return_inverse=True)[1].reshape(-1) for side in (one, other, truth)]
    untied = [len(r) ** 2 - float(np.sum(np.bincount(r).astype(np.float64) ** 2)) for r in ranks]
    # Square roots of what each run's pairs are divided by, so that a mixed pair gets the mean of both.
    weights = [(untied[2] * of_run) ** -0.25 for of_run in untied[:2]]
    weight = np.repeat(weights, len(truth))
    pairs = weight * concordance(np.concatenate(places), np.concatenate([truth, truth]), weight)
    gain = pairs[: len(truth)] - pairs[len(truth) :]
    return signs @ np.bincount(index, weights=gain)


def _by_arrays(metric: str) -> Callable[[Array, Array, Array, Index, Array], Array]:
    """The differences of a metric without a form of its own, swap by swap."""

    def differences(one: Array, other: Array, truth: Array, index: Index, signs: Array) -> Array:
        if METRICS[metric].varied:
            one, other = _aligned(one, truth), _aligned(other, truth)
        result = np.full(len(signs), np.nan)
        for number, row in enumerate(signs):
            kept = row[index] > 0
            values = [METRICS[metric](np.where(kept, a, b), truth) for a, b in ((one, other), (other, one))]
            if values[0] is not None and values[1] is not None:
                result[number] = values[0] - values[1]
        return result

    return differences


def _aligned(values: Array, truth: Array) -> Array:
    """Mean 0, and a slope of 1 on the standardised ratings, so that swapped predictions fit each other.

    With equal deviations instead, equal runs of 8 to 10 systems are called different in up to 8 % by LCC.
    A run that hardly follows the ratings is stretched no further than LEAST_SLOPE allows.
    """
    values = _standard(values)
    slope = abs(float(values @ _standard(truth))) / len(truth)
    return values / max(slope, LEAST_SLOPE)


def _standard(values: Array) -> Array:
    """Mean 0 and deviation 1; 0 for equal values."""
    centred = values - values.mean()
    return centred * 0.0 if is_constant(values) else centred / centred.std()


SWAPPED: dict[str, Callable[[Array, Array, Array, Index, Array], Array]] = {
    "mse": _mse,
    "lcc": _lcc,
    "srcc": _srcc,
    "ktau": _ktau,
}
"""Metric -> (first run [N], second run [N], ratings [N], clusters [N], signs [B, C]) -> differences [B]."""
