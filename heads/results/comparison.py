"""Is one run better than another on the same clips, and could this set have told?

Both runs are scored on the same resamples of whole clusters; what is looked at is the difference, so that
what makes a resample hard for both cancels out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mmmos.heads.bootstrap import RESAMPLES, draw, paired
from mmmos.heads.metrics import METRICS
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
        Two-sided bootstrap p-value of "no difference"; 1 / (resamples + 1) is the smallest there is.
    detectable
        Minimum detectable difference (80 % power, 5 % two-sided).
    n, clusters, reason
        As of `Row`.
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
    detectable: float | None
    n: int
    clusters: str
    reason: str


def compare(
    run: Predictions,
    other: Predictions,
    clips: Sequence[Clip],
    resamples: int = RESAMPLES,
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
    resamples, seed
        Of the intervals; both runs are scored on the same resamples.
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
        counts = draw(int(part.clusters.max()) + 1, resamples, seed) if part.kind else None
        for name in METRICS:
            found = paired(name, pair, part.truth, part.clusters, counts, (run.run, other.run))
            one = Comparison(
                run.run, other.run, run.split, part.level, part.domain, part.axis, name,
                found.difference, found.low, found.high, found.p, found.detectable,
                len(part.truth), part.kind, found.reason,
            )  # fmt: skip
            result.append(one)
    return result
