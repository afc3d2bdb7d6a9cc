"""Is one set of audio better than another?  The difference of their mean scores, with an interval.

Where files are paired (the same content rendered twice), it is the mean difference of the pairs; otherwise
that of the two means, with unequal variances.  Both use Student's t.  Files that share a speaker or a text
are left out together (the jackknife over groups), on both sides where both have the group; a file without a
group is one of its own.  The degrees of freedom without pairs are Welch's where the sides have equally many
groups, or 20 each; else they are those of the smaller side, since Welch's are then too many: of 3 files
against 30 that did not differ, 15 % were found to.  No t holds for a few files against many where scores are
strongly skewed, as they are where one rendering in ten fails: then there is no interval and no verdict
(`two_means.too_skewed`).  `python -m tests.simulate` measures how often sides are wrongly called different.

The interval of every axis is widened so that all axes together hold with 95 % (Bonferroni): a check of five
figures would otherwise report a difference that is not there once in five runs.  An error that the predictor
makes on both sides alike does not show in any interval.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t as student

from mmmos.heads.scoring.two_means import Index, Uncertainty, detectable, shares, unpaired
from mmmos.store.names import choose
from mmmos.store.schema import COMPOSITE

Array = NDArray[np.float64]

CONFIDENCE = 0.95
"""Of all intervals together."""

PAIRINGS = ("auto", "paired", "unpaired")
LOWER, HIGHER, EQUAL, OPEN = "B lower", "B higher", "no difference beyond the margin", "not shown"
TOO_FEW = "too few files for scores so skewed"


@dataclass(frozen=True)
class Difference:
    """One axis: B less A in points of the scale.

    low, high:  interval of the difference, see above; None with the verdict TOO_FEW.
    detectable: the minimum detectable difference of two sets like these (80 % power, noncentral t), or None.
    n_a, n_b:   files (pairs, where paired).
    groups_a, groups_b: what was left out as a whole: groups of files, or files.
    """

    axis: str
    mean_a: float
    mean_b: float
    difference: float
    low: float | None
    high: float | None
    detectable: float | None
    n_a: int
    n_b: int
    verdict: str
    groups_a: int
    groups_b: int


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
Groups = Mapping[str, str]
"""Name of a file -> the speaker or text that it shares with others, "" for none."""


def compare_scores(
    a: Scores,
    b: Scores,
    axes: Sequence[str],
    *,
    pairing: str = "auto",
    margin: float = 0.0,
    groups: tuple[Groups, Groups] = ({}, {}),
) -> Outcome:
    """B against A.

    Parameters
    ----------
    pairing
        "paired" matches files by name, "unpaired" does not, "auto" does if every name has its partner.
    margin
        Differences up to this many points of the scale do not matter; with one, two sets can be called equal.
    groups
        Of A's files and of B's; a group of the same name on both sides is one.  The group of a pair is that
        of its file in A, or else in B.

    Raises
    ------
    ValueError
        Where fewer than two files (or pairs), or groups of them, are left on a side.
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
    index_a, index_b = _numbered(names_a, names_b, groups, paired)
    if min(len(np.unique(index_a)), len(np.unique(index_b))) < 2:
        raise ValueError("at least two groups are needed on each side: all files of one have the same group")
    values_a, values_b = _table(a, names_a, axes), _table(b, names_b, axes)
    named = [*axes, COMPOSITE] if len(axes) > 1 else list(axes)
    alpha = (1 - CONFIDENCE) / len(named)
    rows = [
        _difference(axis, (values_a[:, i], values_b[:, i]), (index_a, index_b), paired, alpha, margin)
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


def groups_by_pattern(pattern: str, names: Iterable[str]) -> dict[str, str]:
    """Name -> what a regular expression finds in it: its first part in brackets, or else all that it matches.

    Raises
    ------
    ValueError
        For an expression that cannot be read, or a name in which it finds nothing.
    """
    try:
        wanted = re.compile(pattern)
    except re.error as reason:
        raise ValueError(f"{pattern!r} is not a regular expression: {reason}") from None
    groups = {}
    for name in names:
        found = wanted.search(name)
        groups[name] = (found[1] if wanted.groups else found[0]) if found else ""
        if not groups[name]:
            raise ValueError(f"{pattern!r} finds nothing in {name!r}, so the group of this file is not known")
    return groups


def _without_suffix(path: Path) -> str:
    return (path.with_suffix("") if path.name else path).as_posix()


def _below(path: str, folder: str) -> Path:
    whole = Path(path)
    return whole.relative_to(folder) if whole.is_relative_to(folder) else whole


def _table(scores: Scores, names: Sequence[str], axes: Sequence[str]) -> Array:
    """[N, A + 1]: the axes, and their mean as the composite."""
    values = np.array([[scores[name][axis] for axis in axes] for name in names], dtype=np.float64)
    return np.concatenate((values, values.mean(axis=1, keepdims=True)), axis=1)


def reach_of_mean(values: Array, alpha: float = 0.05) -> Array:
    """[A] half the width of Student's interval of the mean of N independent values [N, A], N > 1."""
    error = values.std(axis=0, ddof=1) / math.sqrt(len(values))
    return np.asarray(student.ppf(1 - alpha / 2, len(values) - 1) * error)


def _numbered(
    names_a: Sequence[str], names_b: Sequence[str], groups: tuple[Groups, Groups], paired: bool
) -> tuple[Index, Index]:
    """Number of the group of each file, [N] of A and of B; equal where a group is on both sides."""
    of_a, of_b = groups
    if paired:
        keys = [("group", of_a.get(n) or of_b.get(n, "")) for n in names_a]
        keys = [key if key[1] else ("file", name) for key, name in zip(keys, names_a, strict=True)]
        index = np.unique([repr(key) for key in keys], return_inverse=True)[1].reshape(-1)
        return index, index
    keys = [("group", of_a[n]) if of_a.get(n) else ("file of A", n) for n in names_a]
    keys += [("group", of_b[n]) if of_b.get(n) else ("file of B", n) for n in names_b]
    index = np.unique([repr(key) for key in keys], return_inverse=True)[1].reshape(-1)
    return index[: len(names_a)], index[len(names_a) :]


def _difference(
    axis: str,
    sides: tuple[Array, Array],
    index: tuple[Index, Index],
    paired: bool,
    alpha: float,
    margin: float,
) -> Difference:
    a, b = sides
    middle = float(b.mean() - a.mean())
    if paired:
        count = int(index[0].max()) + 1
        found = Uncertainty(float(np.linalg.norm(shares(b - a, index[0], count))), count - 1.0)
    else:
        found = unpaired(sides, index)
    means, sizes = (float(a.mean()), float(b.mean())), (len(a), len(b))
    counts = [len(np.unique(of)) for of in index]
    if not found.reliable:
        return Difference(axis, *means, middle, None, None, None, *sizes, TOO_FEW, *counts)
    critical = float(student.ppf(1 - alpha / 2, found.freedom))
    low, high = middle - critical * found.error, middle + critical * found.error
    least = margin + detectable(critical, found.freedom) * found.error
    verdict = OPEN
    if low > margin:
        verdict = HIGHER
    elif high < -margin:
        verdict = LOWER
    elif -margin <= low and high <= margin and (margin or low == high == 0.0):
        verdict = EQUAL
    return Difference(axis, *means, middle, low, high, least, *sizes, verdict, *counts)
