"""Is one run better than another on the same clips?

Both runs are scored without the same clusters, and what is looked at is the difference, so that what makes
clips hard for both cancels out.  The p-value is that of `permutation.swap_test`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mmmos.heads.metrics import METRICS
from mmmos.heads.permutation import PERMUTATIONS, paired
from mmmos.heads.results.evaluation import parts, predicted
from mmmos.store.predictions import Predictions
from mmmos.store.schema import Clip


@dataclass(frozen=True)
class Comparison:
    """One run against another in one figure.

    Parameters
    ----------
    run, other, split, level, domain, axis, metric
        What is compared; see `Row`.
    difference
        `run` minus `other` in units of the metric (negative is better for an error); None where either is
        undefined.
    low, high
        95 % interval of the difference.
    p
        Two-sided p-value of "both are equally good" of this comparison alone; tables also correct it for
        the number of their comparisons (`permutation.holm`).
    n, clusters, reason
        As of `Row`.
    swapped
        What was swapped as a whole for the p-value: "system", "group" or "clip".
    """

    run: str
    other: str
    split: str
    level: str
    domain: str
    axis: str
    metric: str
    difference: float | None
    low: float | None
    high: float | None
    p: float | None
    n: int
    clusters: str
    swapped: str
    reason: str


def compare(
    run: Predictions,
    other: Predictions,
    clips: Sequence[Clip],
    permutations: int = PERMUTATIONS,
    seed: int = 0,
    only: str = "",
) -> list[Comparison]:
    """Every figure of `run` against that of `other` on the clips of one split, paired by clip.

    Parameters
    ----------
    run, other
        Predictions on the same split and axes.
    clips
        All clips of that split.
    permutations, seed
        Of the swaps for the p-values; without any there are no p-values.
    only
        Leave all axes but this one out ("composite" or an axis).

    Raises
    ------
    ValueError
        Where the runs predict different splits or axes, or leave a clip out.
    """
    if (run.split, run.axes) != (other.split, other.axes):
        raise ValueError(
            f"{run.run} predicts {run.axes} on {run.split}, {other.run} {other.axes} on {other.split}: "
            "only the same axes and split can be compared"
        )
    ours, theirs = predicted(run, clips), predicted(other, clips)
    result = []
    for part in parts(clips, run.axes):
        if only and part.axis != only:
            continue
        pair = part.items(ours[part.axis]), part.items(theirs[part.axis])
        names = (run.run, other.run)
        for name in METRICS:
            found = paired(name, pair, part.truth, part.clusters, part.swapped, names, permutations, seed)
            one = Comparison(
                run.run, other.run, run.split, part.level, part.domain, part.axis, name,
                found.difference, found.low, found.high, found.p,
                len(part.truth), part.kind, part.swapped_kind, found.reason or part.about,
            )  # fmt: skip
            result.append(one)
    return result
