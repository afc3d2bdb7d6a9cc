"""The clip table: what was rated, where its audio lies, and which clips may train.

A table is read from CSV or JSON lines by `read_clips`, which refuses it whole, with every reason, or
returns it checked.  `save_table` and `load_table` keep it as JSON beside the features.
"""

from __future__ import annotations

import contextlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from mmmos.store import files, sealed
from mmmos.store.axes import axes_beside, axes_path
from mmmos.store.clip_rows import (
    TEXTS,
    check_columns,
    columns_of,
    duplicates,
    from_values,
    off_scale,
    to_clip,
    to_values,
)
from mmmos.store.crops import UnusableNameError, containing
from mmmos.store.names import choose, digest
from mmmos.store.parts import WHOLE, Part
from mmmos.store.row_formats import RowError
from mmmos.store.rows import TableError, convert, read_rows, refusal
from mmmos.store.schema import AES_AXES, OOF, SPLITS, Axes, Clip, Scale
from mmmos.store.splits import split_clips

FORMAT = "mmmos-clips-1"
DEFAULT_SCALE = Scale()
MAX_BYTES = 1 << 31


@dataclass(frozen=True)
class ClipTable:
    """Clips with unique ids, the scale and the axes of their scores, and what to say beside results.

    caveats: e.g. "synthetic audio"; they follow the data into predictions and reports.
    """

    clips: tuple[Clip, ...]
    scale: Scale = DEFAULT_SCALE
    caveats: tuple[str, ...] = ()
    axes: Axes = AES_AXES

    def __post_init__(self) -> None:
        _refuse(f"clip {clip_id!r} occurs twice" for clip_id in _repeated([clip.id for clip in self.clips]))
        _refuse(
            f"clip {clip.id!r} is rated on {', '.join(clip.axes)}, the table on {', '.join(self.axes)}"
            for clip in self.clips
            if clip.axes != self.axes.names
        )

    @cached_property
    def id(self) -> str:
        """ "data-0123456789ab": changes with anything that training can see, and with nothing else.

        Paths, sources and the order of rows do not count; a file's content does.
        """
        seen = [
            [c.id, c.audio, c.split, c.system, c.group, c.domain, c.scores, c.ratings]
            for c in sorted(self.clips, key=lambda clip: clip.id)
        ]
        content = {"clips": seen, "scale": self.scale.to_json()}
        if self.axes.names != AES_AXES.names:  # tables of the paper's axes keep the ids they always had
            content["axes"] = self.axes.names
        return f"data-{digest(content)}"

    def __len__(self) -> int:
        return len(self.clips)

    def __iter__(self) -> Iterator[Clip]:
        return iter(self.clips)

    def of(self, split: str) -> tuple[Clip, ...]:
        """The clips of one split, in the table's order; those of "oof" are the rated ones of train."""
        if split == OOF:
            return tuple(clip for clip in self.of("train") if any(s is not None for s in clip.scores))
        if split not in SPLITS:
            raise ValueError(f"unknown split {split!r}; known: {', '.join(SPLITS)}")
        return tuple(clip for clip in self.clips if clip.split == split)

    def scores(self, clips: Sequence[Clip] | None = None, axes: Sequence[str] | None = None) -> np.ndarray:
        """Scores [N, A] float64 of the clips (default: all) on `axes` (default: the table's)."""
        return score_array(self.clips if clips is None else clips, self.axes.names if axes is None else axes)


def score_array(clips: Sequence[Clip], axes: Sequence[str]) -> np.ndarray:
    """Scores [N, A] float64, a column per name in `axes` and in that order, NaN where not rated.

    Raises
    ------
    ValueError
        Where an axis is not one that the clips are rated on.
    """
    rows = []
    columns: dict[tuple[str, ...], list[int]] = {}
    for clip in clips:
        if clip.axes not in columns:
            columns[clip.axes] = [clip.axes.index(choose("axis", axis, clip.axes)) for axis in axes]
        rows.append([np.nan if (s := clip.scores[i]) is None else s for i in columns[clip.axes]])
    return np.array(rows, dtype=np.float64).reshape(len(clips), len(axes))


def read_clips(
    path: Path,
    *,
    audio_root: Path | None = None,
    scale: Scale = DEFAULT_SCALE,
    axes: Axes | None = None,
    train_fraction: float | None = None,
    seed: int = 0,
    part: Part = WHOLE,
) -> ClipTable:
    """Read a clip table: `.jsonl` or `.json` as JSON lines, `.parquet`, anything else as CSV.

    Columns: path; optional id (else the path), domain, source, system, group, split, one per axis with its
    name (CE, CU, PC, PQ) and one with its single ratings (CE_ratings ... PQ_ratings, JSON lists).  An empty
    cell is "not rated" or "not known"; ratings without a score give their mean as the score.  Columns that
    begin with "_" are not read.  Tables in other forms are read by `ratings.reader`.

    Parameters
    ----------
    audio_root
        Where given, paths must stay inside it (links followed); the files need not exist.
    scale
        The range that scores and ratings must lie in.
    axes
        The axes' names and titles; left out, those of the table's sidecar (see `axes_beside`), or the
        paper's four.
    train_fraction
        Makes a split, see `split_clips`; only for a table without a split column, and a whole one.
    part
        Take only the rows of this part; all others pass by unread.

    Raises
    ------
    TableError
        With every row and reason; no part of such a table is used.
    """
    path = Path(path)
    axes = axes or axes_beside(path) or AES_AXES
    contained = containing(audio_root) if audio_root is not None else None
    with_split = False

    def make(values: Mapping[str, Any]) -> Clip:
        nonlocal with_split
        with_split = with_split or bool(values.get("split"))
        return _checked(to_clip(values, axes), contained)

    try:
        rows = read_rows(path, MAX_BYTES, lambda names: check_columns(names, axes), part)
        clips, reasons = convert(rows, make)
    except RowError as reason:
        raise TableError(str(reason)) from None
    reasons += off_scale(clips, scale) + duplicates(clips)
    if not clips and not reasons:
        reasons.append(
            "it has no rows" if part == WHOLE else f"it has no rows for part {part}: take fewer parts"
        )
    if train_fraction is not None and with_split:
        reasons.append("it has a split column and a train fraction was given: choose one of the two")
    _refuse(reasons, path)
    if train_fraction is None:
        return ClipTable(tuple(clips.values()), scale, axes=axes)
    try:
        return ClipTable(split_clips(list(clips.values()), train_fraction, seed), scale, axes=axes)
    except ValueError as reason:
        raise TableError(f"{path} is refused: {reason}") from None


def write_clips(table: ClipTable, path: Path) -> None:
    """Write a table as CSV with every single rating, as `read_clips` reads it; other axes get a sidecar."""
    path = Path(path)
    if table.axes != AES_AXES:
        titles = dict(zip(table.axes.names, table.axes.titles, strict=True))
        files.write_json(axes_path(path), titles)
    files.write_csv(
        path,
        columns_of(table.axes),
        (
            [getattr(clip, name) for name in TEXTS]
            + list(clip.scores)
            + [json.dumps(single) if single else None for single in clip.ratings]
            for clip in table
        ),
    )


def _checked(clip: Clip, contained: Callable[[str], Path] | None) -> Clip:
    if contained is not None:
        with contextlib.suppress(UnusableNameError):  # one clip's audio, which the survey rejects
            contained(clip.path)
    return clip


def _refuse(reasons: Iterable[str], what: object = "the clip table") -> None:
    found = list(reasons)
    if found:
        raise TableError(refusal(str(what), found))


def _repeated(ids: Sequence[str]) -> list[str]:
    if len(set(ids)) == len(ids):
        return []
    return sorted(clip_id for clip_id, count in Counter(ids).items() if count > 1)


def save_table(table: ClipTable, path: Path) -> None:
    """Keep a table as JSON, atomically."""
    content = {
        "format": FORMAT,
        "id": table.id,
        "scale": table.scale.to_json(),
        "caveats": table.caveats,
        **({} if table.axes == AES_AXES else {"axes": asdict(table.axes)}),
        "clips": [to_values(clip) for clip in table.clips],
    }
    try:
        sealed.write_json(Path(path), content, limit_bytes=MAX_BYTES)
    except ValueError as reason:
        raise TableError(f"{reason}: {IN_PARTS}") from None


IN_PARTS = "`extract --part I/N` makes N work folders, each of every N-th clip"
SAMPLED = 1000
"""So many clips tell how large a table is."""


def check_size(table: ClipTable) -> None:
    """TableError for a table whose clips.json would be more than a work folder can hold; an estimate."""
    some = table.clips[:: max(1, len(table) // SAMPLED)]
    known = [replace(clip, audio=clip.audio or "0" * 48) for clip in some]
    texts = (json.dumps(to_values(clip), indent=3, ensure_ascii=False) for clip in known)
    size = sum(len(text.encode()) for text in texts) * len(table) // max(1, len(some))
    if size > MAX_BYTES:
        raise TableError(
            f"the clip table is refused: {len(table)} clips take some {size / 2**30:.1f} GiB, and "
            f"clips.json holds {MAX_BYTES / 2**30:.1f}: {IN_PARTS}"
        )


def load_table(path: Path) -> ClipTable:
    """Read what `save_table` wrote; TableError if it is something else or was changed by hand."""
    try:
        content: Any = sealed.read_object(Path(path), MAX_BYTES, '"format"')
        if content["format"] != FORMAT:
            raise ValueError(f"format {content['format']!r:.40}, where {FORMAT!r} is known")
        axes = AES_AXES
        if "axes" in content:
            axes = Axes(tuple(content["axes"]["names"]), tuple(content["axes"]["titles"]))
        scale = Scale(**content["scale"])
        clips = tuple(from_values(values, axes.names, scale) for values in content["clips"])
        table = ClipTable(clips, scale, tuple(map(str, content["caveats"])), axes)
        if table.id != content["id"]:
            raise ValueError(
                f"it holds {table.id} but says {content['id']!r:.40}: changed after it was saved"
            )
    except FileNotFoundError:
        raise
    except sealed.DamagedFileError as reason:
        raise TableError(str(reason)) from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as reason:
        said = f"field {reason} is missing" if isinstance(reason, KeyError) else str(reason)
        raise TableError(f"{path} is not a saved clip table: {said}") from None
    return table
