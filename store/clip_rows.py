"""The columns of a clip table, and one row as a clip, with a reason for everything refused."""

from __future__ import annotations

import difflib
import json
import math
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import fields
from functools import cache
from typing import Any
from unicodedata import normalize

from mmmos.store.row_formats import RowError
from mmmos.store.rows import parse_number
from mmmos.store.schema import SPLITS, Axes, Clip, Scale

TEXTS = ("id", "path", "domain", "source", "system", "group", "split")
REQUIRED = ("path",)
"""A clip without an id is called by its path."""

SPLIT_WORDS = {
    "training": "train", "trn": "train", "valid": "dev", "val": "dev", "validation": "dev",
    "development": "dev", "eval": "test", "evaluation": "test", "testing": "test", "tst": "test",
}  # fmt: skip
"""What else people call splits, in small letters."""

CONTROL = re.compile(r"[\x00-\x1f\x7f]")
MAX_RATINGS_LETTERS = 100_000
MOST = 1e100
"""Of any rating; the mean of larger ones could not be formed."""
MAX_UNKNOWN = 10
"""So many unknown columns are named; the nearest known name is looked for, which takes time."""
OTHER_TABLES = (
    "`mmmos prepare table TABLE --audio DIR -o clips.csv` makes a clip table of ratings in other forms"
)
AUDIO = re.compile(r"[0-9A-Za-z_.-]{0,64}")
"""A content hash, or "" where the audio was not surveyed."""
MAX_DURATION_S = 1e7
"""Four months; a longer clip can only be damage, and its crops would fill the memory."""
FIELDS = tuple(field.name for field in fields(Clip) if field.name != "axes")
REMARK = "_"
"""Columns whose name begins so are the owner's own remarks and are not read."""


def columns_of(axes: Axes) -> tuple[str, ...]:
    """Every column that a table on these axes may have."""
    return (*TEXTS, *axes, *(f"{axis}_ratings" for axis in axes))


def check_columns(names: Sequence[str], axes: Axes) -> None:
    """RowError unless the columns are known, and enough; with the nearest name for a slip."""
    reasons = []
    known_columns = columns_of(axes)
    unknown = [name for name in names if name not in known_columns and not name.startswith(REMARK)]
    for name in unknown[:MAX_UNKNOWN]:
        lower = {known.lower(): known for known in known_columns}
        nearest = difflib.get_close_matches(name.lower(), list(lower), n=1)
        hint = f" (did you mean {lower[nearest[0]]!r}?)" if nearest else ""
        reasons.append(f"unknown column {name!r:.80}{hint}")
    if len(unknown) > MAX_UNKNOWN:
        reasons.append(f"and {len(unknown) - MAX_UNKNOWN} more")
    reasons += [f"column {name!r} is missing" for name in REQUIRED if name not in names]
    if reasons:
        known = f"known columns: {', '.join(known_columns)}; begin a remark's name with {REMARK!r}"
        hint = "" if set(REQUIRED) <= set(names) else f". {OTHER_TABLES}"
        raise RowError(f"{'; '.join(reasons)}. {known}{hint}")


def to_clip(values: Mapping[str, Any], axes: Axes) -> Clip:
    """One row as a clip; RowError with every reason, joined by "; "; see `off_scale`."""
    reasons: list[str] = []
    texts = {name: _text(name, values.get(name), reasons) for name in TEXTS}
    texts["id"] = texts["id"] or texts["path"]
    texts["split"] = split_name(texts["split"])
    reasons += [f"{name} is empty" for name in REQUIRED if not texts[name]]
    if texts["split"] not in SPLITS:
        reasons.append(f"unknown split {texts['split']!r} (known: {', '.join(SPLITS)})")
    scores: list[float | None] = []
    ratings: list[tuple[float, ...]] = []
    for axis in axes:
        single = _ratings(f"{axis}_ratings", values.get(f"{axis}_ratings"), reasons)
        score = _number(axis, values.get(axis), reasons)
        if score is None and single:
            score = math.fsum(single) / len(single)
        ratings.append(single)
        scores.append(score)
    if reasons:
        raise RowError("; ".join(reasons))
    return Clip(
        id=texts["id"],
        path=texts["path"],
        # Many clips share these words: each is kept once.
        domain=sys.intern(texts["domain"]),
        source=sys.intern(texts["source"]),
        system=sys.intern(texts["system"]),
        group=sys.intern(texts["group"]),
        split=sys.intern(texts["split"]),
        scores=tuple(scores),
        ratings=tuple(ratings) if any(ratings) else _unrated(len(axes)),
        axes=axes.names,
    )


@cache
def _unrated(axes: int) -> tuple[tuple[float, ...], ...]:
    """No single ratings on any axis: one tuple for all clips."""
    return ((),) * axes


def duplicates(clips: Mapping[int, Clip]) -> list[str]:
    """Reasons against rows (by number) that have the same id, or ids that look the same."""
    ids = (clip.id for clip in clips.values())
    if len({one if one.isascii() else normalize("NFC", one) for one in ids}) == len(clips):
        return []
    rows: dict[str, list[int]] = {}
    for number, clip in clips.items():
        rows.setdefault(clip.id, []).append(number)
    twins: dict[str, list[str]] = {}
    for clip_id in rows:
        twins.setdefault(normalize("NFC", clip_id), []).append(clip_id)
    return [
        f"rows {', '.join(map(str, numbers))}: id {clip_id!r} occurs {len(numbers)} times"
        for clip_id, numbers in rows.items()
        if len(numbers) > 1
    ] + [
        f"rows {', '.join(str(rows[one][0]) for one in same)}: the ids look alike ({same[0]!r}) and differ "
        f"only in how Unicode composes a letter: {', '.join(map(ascii, same))}"
        for same in twins.values()
        if len(same) > 1
    ]


def off_scale(clips: Mapping[int, Clip], scale: Scale) -> list[str]:
    """What to say about scores and ratings outside the scale, by row number: nothing, or one line.

    A wrong scale is one mistake, however many rows there are.
    """
    found: list[tuple[int, str, float, Scale]] = []
    count, scales = 0, dict[int, Scale]()
    for number, clip in clips.items():
        for place, (score, single) in enumerate(zip(clip.scores, clip.ratings, strict=True)):
            if score is None and not single:
                continue
            own = scales.get(place) or scales.setdefault(place, scale.axis(place))
            values = (*single, score) if score is not None else single
            count += len(values)
            if not own.low <= min(values) <= max(values) <= own.high:
                found += [(number, clip.axes[place], v, own) for v in values if not own.low <= v <= own.high]
    if not found:
        return []
    number, axis, value, own = found[0]
    low, high = min(v for _, _, v, _ in found), max(v for _, _, v, _ in found)
    alone = f", or --scale {axis}=LO:HI,... where axes have scales of their own" * (len(scales) > 1)
    return [
        f"row {number}: {axis} {value:g} is outside the scale {own.low:g} to {own.high:g}; in all, "
        f"{len(found)} of {count} values are, from {low:g} to {high:g}. If they are right, name their scale: "
        f"--scale LO,HI, as in --scale 0,100{alone}"
    ]


def split_name(text: str) -> str:
    """The split that people mean by a word: "Train", "val" and "validation", "" for none."""
    word = text.strip().lower()
    return SPLIT_WORDS.get(word, word if word in SPLITS else text.strip() or "none")


def to_values(clip: Clip) -> dict[str, Any]:
    """A clip as JSON values; the axes are left to its table, which says them once."""
    return {name: getattr(clip, name) for name in FIELDS}


def from_values(values: Mapping[str, Any], axes: tuple[str, ...], scale: Scale) -> Clip:
    """The clip that `to_values` was taken of; ValueError names the clip and the value that cannot be."""
    scores, ratings = tuple(values["scores"]), tuple(tuple(single) for single in values["ratings"])
    clip = Clip(**{**values, "scores": scores, "ratings": ratings, "axes": axes})
    texts = {name: getattr(clip, name) for name in (*TEXTS, "audio")}
    wrong = [f"{name} {value!r:.60}" for name, value in texts.items() if not isinstance(value, str)]
    if wrong:
        raise ValueError(f"clip {clip.id!r:.60}: {wrong[0]} is not text")
    if not clip.id or not clip.path or clip.split not in SPLITS or not AUDIO.fullmatch(clip.audio):
        raise ValueError(f"clip {clip.id!r:.60}: id, path, split {clip.split!r} or audio {clip.audio!r:.80}")
    for number in (*scores, *(rating for single in ratings for rating in single)):
        if number is not None and not (_is_number(number) and scale.low <= number <= scale.high):
            raise ValueError(f"clip {clip.id!r:.60}: {number!r:.40} is not a value on the scale")
    if not _is_number(clip.duration_s) or not 0.0 <= clip.duration_s <= MAX_DURATION_S:
        raise ValueError(f"clip {clip.id!r:.60}: a duration of {clip.duration_s!r:.40} s")
    return clip


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _text(name: str, value: Any, reasons: list[str]) -> str:
    if value is None:
        return ""
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)  # JSON ids are often numbers
    if not isinstance(value, str):
        reasons.append(f"{name} {value!r:.60} is not text")
        return ""
    value = value.strip()
    if CONTROL.search(value):
        reasons.append(f"{name} {value!r:.60} holds control characters")
    return value


def _number(name: str, value: Any, reasons: list[str]) -> float | None:
    """A finite number; None for an empty cell."""
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    try:
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            raise ValueError
        number = parse_number(value) if isinstance(value, str) else float(value)
    except (ValueError, OverflowError):
        hint = " (decimal comma?)" if isinstance(value, str) and "," in value else ""
        reasons.append(f"{name} {value!r:.60} is not a number{hint}")
        return None
    if not abs(number) <= MOST:
        large = "a bearable" if math.isfinite(number) else "a finite"
        reasons.append(f"{name} {value!r:.60} is not {large} number")
        return None
    return number


def _ratings(name: str, value: Any, reasons: list[str]) -> tuple[float, ...]:
    if value is None or (isinstance(value, str) and not value.strip()):
        return ()
    if isinstance(value, str):
        try:
            value = json.loads(value) if len(value) <= MAX_RATINGS_LETTERS else None
        except (ValueError, RecursionError):
            reasons.append(f"{name} {value[:40]!r} is not a JSON list of numbers")
            return ()
    if not isinstance(value, list) or any(
        isinstance(v, bool) or not isinstance(v, int | float) for v in value
    ):
        reasons.append(f"{name} is not a JSON list of numbers")
        return ()
    numbers = [_number(name, v, reasons) for v in value]
    return tuple(number for number in numbers if number is not None)
