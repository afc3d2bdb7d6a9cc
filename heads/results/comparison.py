"""Is one run better than another on the same clips, and could this set have told?

Both runs are scored on the same resamples of whole clusters; what is looked at is the difference, so that
what makes a resample hard for both cancels out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mmmos.heads.metrics import METRICS, Array
from mmmos.heads.results.bootstrap import draw, interval, resample
from mmmos.heads.results.evaluation import MIN_CLUSTERS, RESAMPLES, Part, parts, predicted
from mmmos.store.predictions import Predictions
from mmmos.store.schema import Clip

POWER_FACTOR = 1.959964 + 0.841621
"""Standard errors that a true difference must measure to be found at 5 % (two-sided) in 80 % of studies."""


@dataclass(frozen=True)
class Comparison:
    """One run against another in one figure; all in units of the metric.

    difference: `run` minus `other` (negative is better for an error); None where either is undefined.
    low, high:  95 % interval of the difference.
    p:          two-sided bootstrap p-value of "no difference"; 1/(resamples + 1) is the smallest there is.
    detectable: minimum detectable difference (80 % power, 5 % two-sided).
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

    only: leave all axes but this one out ("composite" or an axis).

    ValueError where the runs predict different splits or axes, or leave a clip out.
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
        result += [_comparison(run, other, part, pair, counts, name) for name in METRICS]
    return result


def _comparison(
    run: Predictions,
    other: Predictions,
    part: Part,
    pair: tuple[Array, Array],
    counts: Array | None,
    name: str,
) -> Comparison:
    one, two = (METRICS[name](items, part.truth) for items in pair)
    difference = low = high = p = detectable = None
    reason = ""
    if one is None or two is None:
        reason = f"undefined for {run.run if one is None else other.run}"
    elif counts is None:
        difference, reason = one - two, f"no interval: fewer than {MIN_CLUSTERS} systems"
    else:
        difference = one - two
        values = np.subtract(*(resample(name, items, part.truth, part.clusters, counts) for items in pair))
        bounds = interval(values)
        if bounds is None:
            reason = "no interval: undefined on more than a tenth of the resamples"
        else:
            low, high = bounds
            values = values[np.isfinite(values)]
            p = p_value(values)
            detectable = float(POWER_FACTOR * values.std(ddof=1))
    return Comparison(
        run.run, other.run, run.split, part.level, part.domain, part.axis, name,
        difference, low, high, p, detectable, len(part.truth), part.kind, reason,
    )  # fmt: skip


def p_value(differences: Array) -> float:
    """Twice the smaller share of resamples on either side of zero, at most 1 and never 0."""
    one_more = len(differences) + 1
    below = (np.count_nonzero(differences <= 0) + 1) / one_more
    above = (np.count_nonzero(differences >= 0) + 1) / one_more
    return float(min(1.0, 2 * min(below, above)))
