"""What a user gets for one piece of audio: a flat row, the same in Python, JSON lines and CSV.  No torch.

id, path, start_s, end_s      what was asked for (start and end only for parts of files)
CE ... PQ                     scores on the bundle's scale, one per axis
CE_80_low ... CE_95_high      intervals of the mean rating of a panel like the training data's
CE_spread                     how far the ensemble's members disagree (standard deviation)
seconds, domain, flags        audio that was scored, its (stated or nearest) domain, the names of warnings
lufs, gain_db                 loudness of the audio (None: too short or silent); the gain, where it got one
windows                       with a timeline: [{start_s, end_s, CE ... PQ}]
caveats, bundle, error        what must be said beside, what made the scores (`signature`), why there are none
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TextIO

import numpy as np
from numpy.typing import NDArray

from mmmos.heads.scoring.conformal import CONFIDENCE_LEVELS
from mmmos.heads.scoring.requests import AudioRequest
from mmmos.store.escape import SPELLED_OUT, csv_row, inert_lines
from mmmos.store.names import choose
from mmmos.store.schema import Scale

if TYPE_CHECKING:
    from mmmos.extract.front import AudioInfo

Answer = dict[str, Any]

CLIPPED_SHARE = 1e-3
SILENT_RMS = 10 ** (-70 / 20)
SHORT_S = 1.0

FLAGS = {
    "clipped": f"more than {CLIPPED_SHARE:.1%} of the samples are at full scale",
    "silent": "the level is below -70 dB of full scale",
    "short": f"shorter than {SHORT_S:g} s",
    "out_of_domain": "its features are farther from the nearest domain than 99 % of held-out clips' are",
}
"""Name of a warning -> the rule behind it."""


def flags(info: AudioInfo, out_of_domain: bool) -> list[str]:
    """Names of `FLAGS` that hold for a piece of audio."""
    found = {
        "clipped": info.clipped > CLIPPED_SHARE,
        "silent": info.rms < SILENT_RMS,
        "short": info.duration_s < SHORT_S,
        "out_of_domain": out_of_domain,
    }
    return [name for name, holds in found.items() if holds]


FARTHEST = 1.0
"""A score that is farther outside of its scale than this many times its span is no prediction."""


def reach(scale: Scale, bounded: bool) -> tuple[float, float]:
    """Between these a prediction may lie before it is held to the scale; finite, so that NaN and infinity
    lie outside."""
    if not bounded:
        return -sys.float_info.max, sys.float_info.max
    further = FARTHEST * (scale.high - scale.low)
    return scale.low - further, scale.high + further


def beyond_scale(values: NDArray[np.float64], axes: Sequence[str], scale: Scale, bounded: bool) -> str:
    """Why a file's scores [A], before they are held to the scale, cannot be believed; "" where they can."""
    low, high = reach(scale, bounded)
    for axis, value in zip(axes, values, strict=True):
        if not low <= value <= high:
            return (
                f"{axis} comes out as {value:.4g} on a scale from {scale.low:g} to {scale.high:g}: these "
                "heads are damaged, or were never meant for such audio"
            )
    return ""


FORMATS = ("jsonl", "csv")


def interval_columns(axis: str, level: float) -> tuple[str, str]:
    """Names of an interval's ends: "PQ_80_low" and "PQ_80_high" for 0.8."""
    return f"{axis}_{round(100 * level)}_low", f"{axis}_{round(100 * level)}_high"


def rounded(value: float) -> float | None:
    """Five decimals are far below any rater's resolution; None where undefined."""
    return round(float(value), 5) if np.isfinite(value) else None


def heard(info: AudioInfo, out_of_domain: bool) -> Answer:
    """What an answer says of the audio: flags, its loudness as it is and, where it was given one, a gain."""
    said: Answer = {"flags": flags(info, out_of_domain)}
    said["lufs"] = None if info.lufs is None else round(info.lufs, 2)
    return said if info.gain_db is None else said | {"gain_db": round(info.gain_db, 2)}


def columns(axes: Sequence[str]) -> tuple[str, ...]:
    """The columns of a CSV; with a timeline, the rows of a file's windows follow the row of the file."""
    of_axes = [
        name
        for axis in axes
        for name in (
            axis,
            *(name for level in CONFIDENCE_LEVELS for name in interval_columns(axis, level)),
            f"{axis}_spread",
        )
    ]
    first = ("row", "id", "path", "start_s", "end_s")
    return (*first, *of_axes, "seconds", "domain", "flags", "lufs", "gain_db", "caveats", "error", "bundle")


AT = " at "


def signature(bundle_id: str, loudness_lufs: float | None) -> str:
    """What made a score: "bundle-0123456789ab", and " at -23 LUFS" where audio was brought to a loudness."""
    return bundle_id if loudness_lufs is None else f"{bundle_id}{AT}{loudness_lufs:g} LUFS"


def identity(request: AudioRequest) -> Answer:
    """The fields of an answer that the request alone decides."""
    row: Answer = {"id": request.id, "path": request.path}
    if request.start_s is not None or request.end_s is not None:
        row |= {"start_s": request.start_s or 0.0, "end_s": request.end_s}
    return row


def json_line(answer: Mapping[str, Any]) -> str:
    """An answer as one line of UTF-8 in which nothing acts on a terminal: JSON has escapes for all that."""
    line = json.dumps(answer, ensure_ascii=False, allow_nan=False)
    return f"{SPELLED_OUT.sub(lambda found: json.dumps(found.group())[1:-1], line)}\n"


class Writer:
    """Writes answers to a text stream and flushes after each, so that what is written can be relied on.

    Text in CSV is harmless to spreadsheets, see `store.escape`; on a terminal it is shown inert, too.
    """

    def __init__(self, stream: TextIO, form: str, axes: Sequence[str], header: bool = True) -> None:
        self.stream, self.form = stream, choose("format", form, FORMATS)
        self.columns = columns(axes)
        if header and form == "csv":
            self._row(self.columns)

    def write(self, answer: Answer) -> None:
        if self.form == "jsonl":
            self.stream.write(json_line(answer))
        else:
            row = {"row": "file", **answer}
            row |= {name: "; ".join(answer.get(name, ())) for name in ("flags", "caveats")}
            same = {"row": "window", **{name: answer[name] for name in ("id", "path", "bundle")}}
            for line in (row, *(same | window for window in answer.get("windows", ()))):
                self._row(line.get(name) for name in self.columns)
        self.stream.flush()

    def _row(self, cells: Iterable[object]) -> None:
        row = csv_row(cells)
        self.stream.write(inert_lines(row) if self.stream.isatty() else row)
