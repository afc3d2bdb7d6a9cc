"""What the page of `serve` shows of files: scores in words, intervals as bars, scores over the waveform."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray

from mmmos.extract.front import Sound
from mmmos.heads.documents import render_html
from mmmos.heads.scoring.answers import FLAGS, Answer, Writer, interval_columns
from mmmos.heads.scoring.rank import rank
from mmmos.heads.scoring.scorer import Scorer
from mmmos.store.schema import Scale

TEMPLATE = Path(__file__).parent / "serve.html.j2"
ENVELOPE_STEPS = 400
WIDTH, HEIGHT = 1000, 100
"""Units of a drawing, which the page stretches to the room that there is."""
STEPS_S = (1, 2, 5, 10, 20, 60, 120, 300, 600)
MOST_TICKS = 6
"""More marks of time than this do not fit on a phone."""

IN_WORDS = {0.8: "4 clips in 5", 0.95: "19 in 20"}
ADVICE = {
    "clipped": "Listen for distortion: the scores may or may not have heard it.",
    "silent": "Is it the right file?",
    "short": "Score a longer piece: listeners rated clips of about ten seconds.",
    "out_of_domain": "Take the scores as a guess.",
}
"""Flag -> what to do."""

Envelope = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Heard:
    """An upload and its answer; `envelope` and `duration_s` only where it could be scored."""

    path: Path
    answer: Answer
    envelope: Envelope | None = None
    duration_s: float = 0.0


def envelope_of(sound: Sound) -> Envelope:
    """[2, ENVELOPE_STEPS] lowest and highest sample of equal steps of a piece of audio, in one pass."""
    total = max(1, round(sound.claimed_s * sound.rate_hz))
    ends = np.zeros((2, ENVELOPE_STEPS))
    position = 0
    for block in sound.blocks:
        steps = (np.arange(position, position + len(block)) * ENVELOPE_STEPS // total).clip(
            max=ENVELOPE_STEPS - 1
        )
        np.minimum.at(ends[0], steps, block.min(axis=1))
        np.maximum.at(ends[1], steps, block.max(axis=1))
        position += len(block)
    return ends


def results(scorer: Scorer, files: Sequence[Heard]) -> str:
    """HTML: a table of all files where there are several, a card for each, and all as CSV to download."""
    views = [_card(scorer, file, number) for number, file in enumerate(files, 1)]
    training = scorer.bundle.about.get("training")
    return render_html(
        TEMPLATE,
        clips=views,
        axes=scorer.axes,
        csv=base64.b64encode(_csv(scorer, files).encode()).decode(),
        bundle_id=scorer.id,
        caveats=scorer.caveats,
        trained=training["splits"].get("train") if isinstance(training, dict) else None,
        ranked=bool(scorer.bundle.about.get("ratings")),
    )


def _csv(scorer: Scorer, files: Sequence[Heard]) -> str:
    stream = io.StringIO()
    writer = Writer(stream, "csv", scorer.axes)
    for file in files:
        writer.write(file.answer)
    return stream.getvalue()


def _card(scorer: Scorer, file: Heard, number: int) -> dict[str, Any]:
    answer = file.answer
    common = {
        "id": f"clip-{number}",
        "name": file.path.name,
        "seconds": round(file.duration_s, 3),
        "error": answer.get("error", ""),
        "flags": [],
    }
    if file.envelope is None:
        return common
    scales = [scorer.bundle.scale.axis(number) for number in range(len(scorer.axes))]
    return common | {
        "address": f"/gradio_api/file={quote(str(file.path))}",
        "about": _about(answer),
        "flags": [
            {"name": name.replace("_", " "), "rule": FLAGS[name], "advice": ADVICE[name]}
            for name in answer["flags"]
        ],
        "axes": [_axis(scorer, answer, axis, scale) for axis, scale in zip(scorer.axes, scales, strict=True)],
        "wave": _wave(file.envelope),
        "strips": _strips(answer, scorer.axes, scales, file.duration_s),
        "ticks": _ticks(file.duration_s),
    }


def _about(answer: Answer) -> str:
    lufs = "loudness not known" if answer["lufs"] is None else f"{answer['lufs']:.1f} LUFS"
    kind = f", taken for {answer['domain']}" if answer["domain"] else ""
    return f"{answer['seconds']:.1f} s scored{kind}, {lufs}"


def _axis(scorer: Scorer, answer: Answer, axis: str, scale: Scale) -> dict[str, Any]:
    """One axis of a card: the score, its bar in percent of the scale, and both in words."""
    score = answer[axis]
    known = rank(scorer.bundle.about.get("ratings", {}), answer["domain"], axis, score)
    intervals = {level: [answer[name] for name in interval_columns(axis, level)] for level in IN_WORDS}
    found = {level: ends for level, ends in intervals.items() if None not in ends}
    bars = [
        {"level": round(100 * level), "from": start, "width": _percent(high, scale) - start}
        for level, (low, high) in sorted(found.items(), reverse=True)
        for start in [_percent(low, scale)]
    ]
    return {
        "axis": axis,
        "title": scorer.bundle.axes.title(axis),
        "score": f"{score:.2f}",
        "low": f"{scale.low:g}",
        "high": f"{scale.high:g}",
        "at": _percent(score, scale),
        "bars": bars,
        "rank": "" if known is None else rank_in_words(known.percent, known.domain),
        "panel": " and ".join(
            f"{low:.2f} to {high:.2f} for {IN_WORDS[level]}" for level, (low, high) in found.items()
        ),
        "spread": f"{answer[f'{axis}_spread']:.2f}" if len(scorer.members.heads) > 1 else "",
    }


def rank_in_words(percent: int, domain: str) -> str:
    """ "Above 64 of 100 training clips (speech)"."""
    clips = f"training clips ({domain})" if domain else "training clips"
    if percent in (0, 100):
        return f"{'Above' if percent else 'Below'} all {clips}"
    return f"Above {percent} of 100 {clips}"


def _percent(value: float, scale: Scale) -> float:
    share = (value - scale.low) / (scale.high - scale.low)
    return round(100 * min(1.0, max(0.0, share)), 2)


def _wave(envelope: Envelope) -> str:
    """The corners of the waveform, drawn as high as its peak allows."""
    peak = max(float(np.abs(envelope).max()), 1e-9)
    x = (np.arange(envelope.shape[1]) + 0.5) * WIDTH / envelope.shape[1]
    low, high = (HEIGHT * (0.5 - 0.48 * ends / peak) for ends in envelope)
    return _points([*zip(x, high, strict=True), *zip(x[::-1], low[::-1], strict=True)])


def _points(pairs: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in pairs)


def _strips(
    answer: Answer, axes: Sequence[str], scales: Sequence[Scale], duration_s: float
) -> list[dict[str, Any]]:
    """A line of scores for each axis between round ends; all that share a scale span as many points of it."""
    windows = answer["windows"]
    values = {axis: [window[axis] for window in windows] for axis in axes}
    reach = {axis: _units(values[axis], scale) for axis, scale in zip(axes, scales, strict=True)}
    found = []
    for axis, scale in zip(axes, scales, strict=True):
        own, unit = values[axis], unit_of(scale)
        alike = [reach[other] for other, theirs in zip(axes, scales, strict=True) if theirs == scale]
        span = max(2, *(last - first for first, last in alike))
        first, last = reach[axis]
        # In the middle, but not beyond the scale, and with all of its scores.
        centred = round((min(own) + max(own)) / (2 * unit) - span / 2)
        start = min(max(centred, math.floor(scale.low / unit)), math.ceil(scale.high / unit) - span)
        start = min(max(start, last - span), first)
        low, high = start * unit, (start + span) * unit
        pairs = [
            (WIDTH * second / duration_s, HEIGHT * (high - value) / (high - low))
            for second, value in _in_time(windows, axis)
        ]
        peak, least = max(own), min(own)
        found.append(
            {
                "axis": axis,
                "points": _points(pairs),
                "low": f"{low:.10g}",
                "high": f"{high:.10g}",
                "words": f"{axis} over time: {least:.2f} to {peak:.2f}; "
                f"lowest at {windows[own.index(least)]['start_s']:g} s, "
                f"highest at {windows[own.index(peak)]['start_s']:g} s",
            }
        )
    return found


def _units(values: Sequence[float], scale: Scale) -> tuple[int, int]:
    """The round numbers, in units of the scale, between which values lie."""
    unit = unit_of(scale)
    return math.floor(min(values) / unit), math.ceil(max(values) / unit)


def _in_time(windows: Sequence[dict[str, Any]], axis: str) -> list[tuple[float, float]]:
    """(second, score): each window's at its middle; the first and the last reach to their outer ends."""
    middles = [((window["start_s"] + window["end_s"]) / 2, window[axis]) for window in windows]
    return [(windows[0]["start_s"], middles[0][1]), *middles, (windows[-1]["end_s"], middles[-1][1])]


def unit_of(scale: Scale) -> float:
    """1, 2 or 5 times a power of ten, about a ninth of the scale: 1 on 1 to 10, 10 on 0 to 100."""
    ninth = (scale.high - scale.low) / 9
    power = 10.0 ** math.floor(math.log10(ninth) + 1e-9)
    return max(step * power for step in (1, 2, 5) if step * power <= ninth * (1 + 1e-9))


def _ticks(duration_s: float) -> list[dict[str, Any]]:
    step = next((s for s in STEPS_S if duration_s / s <= MOST_TICKS), STEPS_S[-1])
    times = np.arange(0, duration_s, step)
    return [{"at": round(100 * t / duration_s, 2), "label": clock(t)} for t in times]


def clock(seconds: float) -> str:
    """ "1:05"; "65 s" would be harder to find in a player."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02d}"
