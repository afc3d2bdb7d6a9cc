"""Rows of ratings gathered into clips: what rows of one audio file say together."""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmmos.store.clip_rows import MOST, split_name
from mmmos.store.ratings.meaning import Meaning, as_list, as_number
from mmmos.store.ratings.sheet import Sheet, is_blank
from mmmos.store.rows import TableError, refusal
from mmmos.store.schema import Clip

ABOUT = ("system", "group", "domain", "source", "split")


@dataclass(frozen=True)
class Rated:
    """Clips with the paths that the table names, in its order.

    first_rows:   clip id -> number of its first row.
    row_a_rating: whether rows were gathered.
    raters:       (clip id, axis, rater, rating) of the ratings whose rater is named.
    """

    clips: tuple[Clip, ...]
    first_rows: Mapping[str, int]
    row_a_rating: bool
    raters: tuple[tuple[str, str, str, float], ...]
    notes: tuple[str, ...]


@dataclass(frozen=True)
class _Value:
    """One row's rating of a clip on an axis."""

    row: int
    axis: str
    rater: str
    number: float | None
    single: tuple[float, ...]


def rated_clips(sheet: Sheet, meaning: Meaning, path: Path) -> Rated:
    """Gather the rows of each audio file; TableError with every row that cannot be used."""
    rows: dict[str, list[int]] = defaultdict(list)
    notes: list[str] = []
    without = []
    for number, row in sheet.rows.items():
        name = _path_of(row, meaning.roles)
        if name:
            rows[name].append(number)
        else:
            without.append(number)
    if not rows:
        raise TableError(f"{path}: no row names an audio file: say which column does, --column path=NAME")
    if without:
        notes.append(
            f"{len(without)} rows name no audio file and are left out, the first is row {without[0]}"
        )
    left_out = set(without)
    values, reasons = _values(sheet, meaning, [n for n in sheet.rows if n not in left_out])
    if reasons:
        raise TableError(refusal(str(path), reasons))
    several = _row_a_rating(rows, values, meaning, path)
    ids = _ids(sheet, meaning, rows)
    about = {role: _about(sheet, meaning, rows, role, notes) for role in ABOUT}
    clips, raters = [], []
    for name, numbers in rows.items():
        mine = [
            values[number, axis] for number in numbers for axis in meaning.axes if (number, axis) in values
        ]
        scores, ratings, named = _gathered(mine, meaning, several=several)
        raters += [(ids[name], axis, rater, rating) for axis, rater, rating in named]
        texts = {role: about[role][name] for role in ABOUT}
        texts["split"] = split_name(texts["split"])
        about_clip = (texts["domain"], texts["source"], texts["system"], texts["group"], texts["split"])
        clips.append(Clip(ids[name], name, *about_clip, scores, ratings, axes=meaning.axes.names))
    first = {ids[name]: numbers[0] for name, numbers in rows.items()}
    return Rated(tuple(clips), first, several, tuple(raters), tuple(notes))


def _path_of(values: Mapping[str, Any], roles: Mapping[str, str]) -> str:
    pattern = roles.get("path", roles.get("id", ""))
    if "{" not in pattern:
        return _text(values.get(pattern))
    parts = re.findall(r"\{([^{}]*)\}", pattern)
    if not all(_text(values.get(part)) for part in parts):
        return ""
    return re.sub(r"\{([^{}]*)\}", lambda found: _text(values.get(found[1])), pattern)


def _text(value: Any) -> str:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return "" if value is None else re.sub(r"[\x00-\x1f\x7f]+", " ", str(value)).strip()


def _values(
    sheet: Sheet, meaning: Meaning, numbers: Sequence[int]
) -> tuple[dict[tuple[int, str], _Value], list[str]]:
    """(row, axis) -> what the row says of the axis, and why rows cannot be used."""
    found: dict[tuple[int, str], _Value] = {}
    reasons = []
    for number in numbers:
        row = sheet.rows[number]
        rater = _text(row.get(meaning.roles.get("rater", "")))
        axes = [_text(row.get(meaning.roles["axis"]))] if "axis" in meaning.roles else meaning.axes.names
        for axis in axes:
            if axis not in meaning.axes.names:
                continue
            try:
                score = _number(row, meaning.scores.get(axis, ""), sheet)
                single = _list(row, meaning.lists.get(axis, ""))
            except ValueError as reason:
                reasons.append(f"row {number}: {reason}")
                continue
            if score is not None or single:
                found[number, axis] = _Value(number, axis, rater, score, single)
    return found, reasons


def _number(row: Mapping[str, Any], column: str, sheet: Sheet) -> float | None:
    value = row.get(column)
    if not column or is_blank(value):
        return None
    number = as_number(value, sheet.decimal_comma)
    if number is None or not abs(number) <= MOST:
        raise ValueError(f"{column} {value!r} is not a number")
    return number


def _list(row: Mapping[str, Any], column: str) -> tuple[float, ...]:
    value = row.get(column)
    if not column or is_blank(value):
        return ()
    numbers = as_list(value)
    if numbers is None or not all(abs(number) <= MOST for number in numbers):
        raise ValueError(f"{column} {str(value)[:40]!r} is not a list of numbers")
    return tuple(numbers)


def _row_a_rating(
    rows: Mapping[str, Sequence[int]],
    values: Mapping[tuple[int, str], _Value],
    meaning: Meaning,
    path: Path,
) -> bool:
    """Whether rows are single ratings; TableError where some clips stand there twice and none says why."""
    counts = [sum((n, axis) in values for n in numbers) for numbers in rows.values() for axis in meaning.axes]
    counts = [count for count in counts if count]
    if "rater" in meaning.roles:
        return True
    if not counts or max(counts) == 1:
        return False
    if sorted(counts)[len(counts) // 4] < 2:
        name, numbers = max(rows.items(), key=lambda item: len(item[1]))
        raise TableError(
            f"{path}: {name!r} stands in rows {', '.join(map(str, numbers[:4]))}, and most clips in one row "
            "only. If rows are single ratings, say which column names the rater, --column rater=NAME; if "
            "they are different clips, which one names the file, --column path=NAME"
        )
    return True


def _ids(sheet: Sheet, meaning: Meaning, rows: Mapping[str, Sequence[int]]) -> dict[str, str]:
    """Path -> id: that of the table where there is one for each file, else the path."""
    column = meaning.roles.get("id", "")
    if column:
        named = {name: {_text(sheet.rows[n].get(column)) for n in numbers} for name, numbers in rows.items()}
        single = {name: next(iter(ids)) for name, ids in named.items() if len(ids) == 1}
        if len(single) == len(rows) and len(set(single.values())) == len(rows) and all(single.values()):
            return single
    return {name: name for name in rows}


def _about(
    sheet: Sheet, meaning: Meaning, rows: Mapping[str, Sequence[int]], role: str, notes: list[str]
) -> dict[str, str]:
    """Path -> system, group ...; "" for all where the rows of one clip disagree."""
    column = meaning.roles.get(role, "")
    found = {}
    for name, numbers in rows.items():
        words = {_text(sheet.rows[n].get(column)) for n in numbers} if column else {""}
        if len(words) > 1:
            notes.append(
                f"column {column!r} differs between rows of {name!r}, so it is not taken for the {role}"
            )
            return dict.fromkeys(rows, "")
        found[name] = words.pop()
    return found


def _gathered(
    values: Sequence[_Value], meaning: Meaning, *, several: bool
) -> tuple[tuple[float | None, ...], tuple[tuple[float, ...], ...], list[tuple[str, str, float]]]:
    """Scores and single ratings of one clip by axis, and its (axis, rater, rating).

    A rater who rated a clip twice counts once, with the mean.
    """
    scores: list[float | None] = []
    ratings: list[tuple[float, ...]] = []
    named: list[tuple[str, str, float]] = []
    for axis in meaning.axes:
        mine = [value for value in values if value.axis == axis]
        single = [rating for value in mine for rating in value.single]
        numbers = [value.number for value in mine if value.number is not None]
        if several and not single:
            by_rater: dict[str, list[float]] = defaultdict(list)
            for place, value in enumerate(mine):
                if value.number is not None:
                    by_rater[value.rater or f"row {place}"].append(value.number)
            means = {rater: math.fsum(given) / len(given) for rater, given in sorted(by_rater.items())}
            single = list(means.values())
            named += [(axis, r, v) for r, v in means.items() if "rater" in meaning.roles and r]
            numbers = []
        score = numbers[0] if numbers else math.fsum(single) / len(single) if single else None
        scores.append(score)
        ratings.append(tuple(single))
    return tuple(scores), tuple(ratings), named
