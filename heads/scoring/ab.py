"""Is one set of audio better than another?  The difference of their mean scores, with an interval.

Where files are paired (the same content rendered twice), it is the mean difference of the pairs; otherwise
Welch's unequal-variance comparison of the two means.  Both use Student's t.  The interval of every axis is
widened so that all axes together hold with 95 % (Bonferroni): a check of five figures would otherwise report
a difference that is not there once in five runs.  An error that the predictor makes on both sides alike does
not show in any interval.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t as student

from mmmos.store.names import choose
from mmmos.store.schema import COMPOSITE

Array = NDArray[np.float64]

CONFIDENCE = 0.95
"""Of all intervals together."""
POWER = 0.80

PAIRINGS = ("auto", "paired", "unpaired")
LOWER, HIGHER, EQUAL, OPEN = "B lower", "B higher", "no difference beyond the margin", "not shown"


@dataclass(frozen=True)
class Difference:
    """One axis: B less A in points of the scale.

    low, high:  interval of the difference, see above.
    detectable: the minimum detectable difference of two sets like these (80 % power).
    n_a, n_b:   files (pairs, where paired).
    """

    axis: str
    mean_a: float
    mean_b: float
    difference: float
    low: float
    high: float
    detectable: float
    n_a: int
    n_b: int
    verdict: str


@dataclass(frozen=True)
class Outcome:
    """All axes and their composite; `left_out` names without a partner, where pairs were compared."""

    paired: bool
    differences: tuple[Difference, ...]
    left_out: tuple[str, ...]

    @property
    def worse(self) -> bool:
        """B is lower on some axis, by more than the margin and beyond chance."""
        return any(row.verdict == LOWER for row in self.differences)


Scores = Mapping[str, Mapping[str, float]]
"""Name of a file -> axis -> score."""


def compare_scores(
    a: Scores, b: Scores, axes: Sequence[str], *, pairing: str = "auto", margin: float = 0.0
) -> Outcome:
    """B against A.

    Parameters
    ----------
    pairing
        "paired" matches files by name, "unpaired" does not, "auto" does if every name has its partner.
    margin
        Differences up to this many points of the scale do not matter; with one, two sets can be called equal.

    Raises
    ------
    ValueError
        Where fewer than two files (or pairs) are left on a side.
    """
    check_options(pairing, margin)
    paired = pairing == "paired" or (pairing == "auto" and set(a) == set(b))
    names_a, names_b = sorted(a), sorted(b)
    left_out: tuple[str, ...] = ()
    if paired:
        names_a = names_b = sorted(set(a) & set(b))
        left_out = tuple(sorted(set(a) ^ set(b)))
    if min(len(names_a), len(names_b)) < 2:
        what = "pairs of files with the same name" if paired else "files on each side"
        raise ValueError(f"at least two {what} are needed; there are {len(names_a)} and {len(names_b)}")
    values_a, values_b = _table(a, names_a, axes), _table(b, names_b, axes)
    named = [*axes, COMPOSITE] if len(axes) > 1 else list(axes)
    alpha = (1 - CONFIDENCE) / len(named)
    rows = [
        _difference(axis, values_a[:, i], values_b[:, i], paired, alpha, margin)
        for i, axis in enumerate(named)
    ]
    return Outcome(paired, tuple(rows), left_out)


def check_options(pairing: str, margin: float) -> None:
    """ValueError for options that no comparison has."""
    choose("pairing", pairing, PAIRINGS)
    if not 0.0 <= margin < math.inf:
        raise ValueError(f"a margin is a number of points from 0 on, not {margin}")


def namesakes(*sides: tuple[Iterable[str], str]) -> list[list[str]]:
    """The names that pair the files of several folders.

    A name is the path below the folder without its suffix; where files of one folder would share it
    (0.wav and 0.flac), those files keep theirs, on every side.

    Parameters
    ----------
    sides
        (paths, folder) each.

    Returns
    -------
    A list for each side, in the order of its paths; different within a side.
    """
    inside = [[_below(path, folder) for path in paths] for paths, folder in sides]
    short = [[_without_suffix(path) for path in side] for side in inside]
    twice = {name for side in short for name, count in Counter(side).items() if count > 1}
    names = [
        [path.as_posix() if name in twice else name for path, name in zip(*side, strict=True)]
        for side in zip(inside, short, strict=True)
    ]
    if any(len(set(side)) < len(side) for side in names):  # 0.wav beside 0.flac and 0.wav.mp3
        return [[path.as_posix() for path in side] for side in inside]
    return names


def _without_suffix(path: Path) -> str:
    return (path.with_suffix("") if path.name else path).as_posix()


def _below(path: str, folder: str) -> Path:
    whole = Path(path)
    return whole.relative_to(folder) if whole.is_relative_to(folder) else whole


def _table(scores: Scores, names: Sequence[str], axes: Sequence[str]) -> Array:
    """[N, A + 1]: the axes, and their mean as the composite."""
    values = np.array([[scores[name][axis] for axis in axes] for name in names], dtype=np.float64)
    return np.concatenate((values, values.mean(axis=1, keepdims=True)), axis=1)


def _difference(axis: str, a: Array, b: Array, paired: bool, alpha: float, margin: float) -> Difference:
    middle = float(b.mean() - a.mean())
    if paired:
        error = float((b - a).std(ddof=1)) / math.sqrt(len(a))
        freedom = len(a) - 1.0
    else:
        parts = a.var(ddof=1) / len(a), b.var(ddof=1) / len(b)
        error = math.sqrt(sum(parts))
        below = parts[0] ** 2 / (len(a) - 1) + parts[1] ** 2 / (len(b) - 1)
        freedom = error**4 / below if below else 1.0
    reach = float(student.ppf(1 - alpha / 2, freedom)) * error
    detectable = reach + float(student.ppf(POWER, freedom)) * error
    low, high = middle - reach, middle + reach
    verdict = OPEN
    if low > margin:
        verdict = HIGHER
    elif high < -margin:
        verdict = LOWER
    elif -margin <= low and high <= margin and (margin or low == high == 0.0):
        verdict = EQUAL
    return Difference(
        axis, float(a.mean()), float(b.mean()), middle, low, high, detectable, len(a), len(b), verdict
    )
