"""From all that was heard of a piece of audio to its answer."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmmos.extract.front import AudioInfo
from mmmos.heads.scoring.answers import Answer, beyond_scale, heard, identity, interval_columns, rounded
from mmmos.heads.scoring.bundle import Bundle
from mmmos.heads.scoring.conformal import CONFIDENCE_LEVELS
from mmmos.heads.scoring.tally import Tally

Array = NDArray[np.float64]


def answer_of(tally: Tally, bundle: Bundle) -> Answer:
    """The answer for a piece all of whose windows are added: its result, or why there is none."""
    answer = identity(tally.request)
    if isinstance(tally.end, AudioInfo):
        answer |= _result(tally, tally.end, bundle)
    else:
        answer["error"] = str(tally.end)
    return answer | {"bundle": bundle.id} | ({"caveats": list(bundle.caveats)} if bundle.caveats else {})


def scores_by_axis(values: Array, bundle: Bundle) -> dict[str, Any]:
    """Mean scores [A] as an answer has them: held to the scale where the bundle's are."""
    return _by_axis(_on_scale(values, bundle), bundle)


def _result(tally: Tally, info: AudioInfo, bundle: Bundle) -> dict[str, Any]:
    """Scores, intervals, spread, domain, flags and timeline of a piece that was heard to its end."""
    axes = bundle.axes.names
    mean, spread = bundle.mixture.mean_and_spread(tally.scores.mean)
    if said := beyond_scale(mean, axes, bundle.scale, bundle.bounded):
        return {"error": said}
    of_clip = {spec_id: features.mean[None] for spec_id, features in tally.features.items()}
    (nearest,), (farness,) = bundle.reference.place(of_clip)
    excess = np.maximum(1.0, farness) if bundle.widens else 1.0
    domain = tally.request.domain or nearest
    centre = _on_scale(mean, bundle)
    result = _by_axis(centre, bundle)
    middle = centre if bundle.widens else mean
    for level in CONFIDENCE_LEVELS:
        # Nothing was measured out there, so an interval grows with the distance; and it is laid around
        # the score that is given, so that it cannot shrink to nothing at an end of the scale.
        half = bundle.intervals.half_widths(level, spread, domain) * excess
        ends = zip(axes, _on_scale(middle - half, bundle), _on_scale(middle + half, bundle), strict=True)
        for axis, *limits in ends:
            result |= zip(interval_columns(axis, level), map(rounded, limits), strict=True)
    result |= {f"{axis}_spread": value for axis, value in _by_axis(spread, bundle).items()}
    result |= {"seconds": round(tally.scores.seconds, 3), "domain": domain}
    result |= heard(info, bool(farness > 1.0))
    if tally.windows:
        result["windows"] = tally.windows
    return result


def _on_scale(values: Array, bundle: Bundle) -> Array:
    if not bundle.bounded:
        return values
    return np.clip(values, bundle.scale.lows, bundle.scale.highs)


def _by_axis(values: Array, bundle: Bundle) -> dict[str, Any]:
    return {axis: rounded(value) for axis, value in zip(bundle.axes.names, values, strict=True)}
