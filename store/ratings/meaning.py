"""What the columns of a table of ratings mean: see `roles`, and here which of them hold the ratings."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mmmos.store.axes import parse_axes
from mmmos.store.ratings.roles import Wishes, canonical, find_column, find_roles, no_path
from mmmos.store.ratings.sheet import Sheet
from mmmos.store.rows import TableError, parse_number
from mmmos.store.schema import AES_AXES, MAX_AXES, Axes

LISTS = ("ratings", "singleratings")
"""Columns that hold the single ratings of the only axis."""

BOOKKEEPING = re.compile(
    r"(|n|no|nr|index|idx|row|unnamed.*|experiment|exp|interval|trial|order|position|page|session|block|age|"
    r"gender|year|date|time|timestamp|count|votes|std|sd|sem|se|var|variance|ci|ci95|duration|length|rate|"
    r"samplerate|fs|bitrate|bandwidth|snr|seed|repetition|starttime|endtime|start|end|stimulus|cluster|lang|"
    r"(rater|listener|participant)(ids|idx)?|(n|num)(raters|ratings|votes|listeners))"
)
"""Names of columns of numbers that are no ratings, unless --axes names them."""

BOOKKEEPING_END = re.compile(
    r"[_ .-](std|sd|sem|se|var|ci|ci95|n|count|votes|time|duration|id|ids|idx|index)$"
)

SEGMENTS = ("starttime", "endtime")


@dataclass(frozen=True)
class Meaning:
    """Role -> column; the axes with the column of their scores and of their single ratings.

    scores, lists: axis -> column.
    aside:         columns that are not read.
    notes:         what was decided on the way, for the user.
    """

    roles: Mapping[str, str]
    axes: Axes
    scores: Mapping[str, str]
    lists: Mapping[str, str]
    aside: tuple[str, ...]
    notes: tuple[str, ...] = ()


def find_meaning(sheet: Sheet, wishes: Wishes) -> Meaning:
    """What the columns mean; TableError names the columns that are there and the nearest meaning."""
    notes: list[str] = []
    roles = find_roles(sheet, wishes, notes)
    for name in sheet.columns:
        if canonical(name) in SEGMENTS and sheet.values(name):
            raise TableError(
                f"column {name!r} names parts of files: a clip is a whole file here, so cut the parts to "
                "files of their own first, or take the column out of the table"
            )
    if not {"path", "id"} & {*roles}:
        raise TableError(no_path(sheet))
    if "axis" in roles:
        return _long_axes(sheet, wishes, roles, notes)
    taken = {*roles.values(), *re.findall(r"\{([^{}]*)\}", roles.get("path", ""))}
    free = [name for name in sheet.columns if name not in taken]
    if wishes.axes:
        axes, scores, lists = _named_axes(sheet, wishes.axes)
    else:
        axes, scores, lists = _guessed_axes(sheet, free)
    used = {*taken, *scores.values(), *lists.values()}
    aside = tuple(name for name in sheet.columns if name not in used and name)
    return Meaning(roles, axes, scores, lists, aside, tuple(notes))


def _named_axes(sheet: Sheet, text: str) -> tuple[Axes, dict[str, str], dict[str, str]]:
    axes = parse_axes(text)
    scores, lists = {}, {}
    for axis in axes:
        single = next((c for c in sheet.columns if canonical(c) == canonical(f"{axis}_ratings")), "")
        if single and axis not in sheet.columns:
            lists[axis] = single
            continue
        column = find_column(sheet, axis)
        values = sheet.values(column)
        if values and all(as_list(value) is not None for value in values):
            lists[axis] = column
            continue
        scores[axis] = column
        if single:
            lists[axis] = single
    _join_list(sheet, axes, scores, lists)
    return axes, scores, lists


def _guessed_axes(sheet: Sheet, free: Sequence[str]) -> tuple[Axes, dict[str, str], dict[str, str]]:
    """Columns of numbers that are not bookkeeping, and columns of lists of numbers."""
    scores, lists = {}, {}
    for column in free:
        values = sheet.values(column)
        name = canonical(column)
        if not values or column.startswith("_") or _is_bookkeeping(column) or name in LISTS:
            continue
        if all(as_list(value) is not None for value in values):
            base = re.sub(r"[_ -]?ratings$", "", column)
            lists[next((c for c in free if c == base), base or column)] = column
        elif _holds_ratings([as_number(value, sheet.decimal_comma) for value in values]):
            scores[column] = column
    names = dict.fromkeys([*scores, *lists])
    titles = {canonical(title): name for name, title in zip(AES_AXES.names, AES_AXES.titles, strict=True)}
    if names and all(canonical(name) in titles for name in names):
        scores = {titles[canonical(name)]: column for name, column in scores.items()}
        lists = {titles[canonical(name)]: column for name, column in lists.items()}
        names = dict.fromkeys(name for name in AES_AXES.names if name in scores or name in lists)
    if not names and (single := [c for c in free if canonical(c) in LISTS]):
        return Axes(("score",)), {}, {"score": single[0]}
    if not names:
        near = _nearly(sheet, free)
        raise TableError(
            f"no column holds ratings, that is numbers that vary{near}. The columns are "
            f"{', '.join(sheet.columns)}; say which ones with --axes NAME,NAME"
        )
    if len(names) > MAX_AXES:
        raise TableError(
            f"{len(names)} columns hold numbers ({', '.join([*names][:8])}, ...): say which ones are ratings "
            "with --axes NAME,NAME"
        )
    axes = AES_AXES if set(names) == set(AES_AXES.names) else Axes(tuple(names))
    _join_list(sheet, axes, scores, lists)
    return axes, scores, lists


def _nearly(sheet: Sheet, free: Sequence[str]) -> str:
    """The column that comes nearest: of numbers and a word, or of one number throughout."""
    for column in free:
        values = sheet.values(column)
        odd = [value for value in values if as_number(value, sheet.decimal_comma) is None]
        if odd and len(odd) < len(values) / 2 and not _is_bookkeeping(column):
            return f"; {column!r} comes nearest, but holds {odd[0]!r}"
        if odd and all(re.fullmatch(r"-?\d+,\d+", str(value)) for value in odd):
            return f"; {column!r} holds {odd[0]!r}: write a point, or separate the columns by semicolons"
        if values and not odd and len(set(values)) == 1 and not _is_bookkeeping(column):
            return f"; {column!r} is {values[0]!r} throughout, from which nothing can be learnt"
    return ""


def _is_bookkeeping(column: str) -> bool:
    return bool(BOOKKEEPING.fullmatch(canonical(column)) or BOOKKEEPING_END.search(column.lower()))


def _holds_ratings(numbers: Sequence[float | None]) -> bool:
    """True for numbers that vary and do not merely count the rows."""
    known = [number for number in numbers if number is not None]
    first = min(known, default=0.0)
    counting = len(known) >= 10 and sorted(known) == [first + n for n in range(len(known))]
    return len(known) == len(numbers) and len(set(known)) > 1 and not counting


def _join_list(sheet: Sheet, axes: Axes, scores: Mapping[str, str], lists: dict[str, str]) -> None:
    """A column "ratings" holds the single ratings of the only axis."""
    if len(axes) == 1 and not lists:
        for column in sheet.columns:
            if canonical(column) in LISTS and column not in scores.values() and sheet.values(column):
                lists[axes.names[0]] = column


def _long_axes(sheet: Sheet, wishes: Wishes, roles: dict[str, str], notes: list[str]) -> Meaning:
    """A row for each axis: one column names it, another holds the number."""
    free = [name for name in sheet.columns if name not in roles.values()]
    _, scores, lists = _guessed_axes(sheet, free)
    if len({*scores, *lists}) != 1:
        raise TableError(
            f"column {roles['axis']!r} names the axis of each row, and {', '.join({**scores, **lists})} all "
            "hold numbers: take the others out of the table, or say --column axis= and --axes NAME,NAME"
        )
    found = dict.fromkeys(str(value) for value in sheet.values(roles["axis"]))
    axes = parse_axes(wishes.axes) if wishes.axes else Axes(tuple(found))
    for name in axes:
        if name not in found:
            raise TableError(f"no row is about {name!r}, only about {', '.join(found)}")
    ((_, column),) = (scores or lists).items()
    used = {*roles.values(), *scores.values(), *lists.values()}
    aside = tuple(name for name in sheet.columns if name not in used and name)
    single = next(iter(lists.values()), "")
    return Meaning(
        roles,
        axes,
        dict.fromkeys(axes, column) if scores else {},
        dict.fromkeys(axes, single) if lists else {},
        aside,
        tuple(notes),
    )


def as_number(value: Any, decimal_comma: bool = False) -> float | None:
    """A cell as a number, None where it is none."""
    if isinstance(value, bool):
        return None
    try:
        if isinstance(value, int | float):
            return float(value)
        if not isinstance(value, str):
            return None
        return parse_number(value.replace(",", ".") if decimal_comma else value)
    except (ValueError, OverflowError):
        return None


def as_list(value: Any) -> list[float] | None:
    """A cell as a list of numbers, None where it is none."""
    if isinstance(value, str):
        if not value.strip().startswith("["):
            return None
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return None
    if not isinstance(value, list) or any(
        isinstance(v, bool) or not isinstance(v, int | float) for v in value
    ):
        return None
    try:
        return [float(v) for v in value]
    except OverflowError:
        return None
