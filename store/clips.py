"""The clip table: what was rated, where its audio lies, and which clips may train.

A table is read from CSV or JSON lines by `read_clips`, which refuses it whole, with every reason, or
returns it checked.  `save_table` and `load_table` keep it as JSON beside the features.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from mmmos.store import files
from mmmos.store.crops import MIN_TAIL_S, contain, crop_grid, crops_of, resolve_audio
from mmmos.store.names import digest
from mmmos.store.rows import RowError, csv_rows, json_rows, to_clip
from mmmos.store.schema import AXES, SPLITS, Clip, Scale
from mmmos.store.splits import split_clips

__all__ = [
    "MIN_TAIL_S",
    "ClipTable",
    "TableError",
    "crop_grid",
    "crops_of",
    "load_table",
    "read_clips",
    "resolve_audio",
    "save_table",
    "score_array",
    "split_clips",
]

FORMAT = "mmmos-clips-1"
DEFAULT_SCALE = Scale()
MAX_REASONS = 50
MAX_BYTES = 1 << 31


class TableError(ValueError):
    """A clip table that cannot be used; the message has one line per reason, with row numbers."""


@dataclass(frozen=True)
class ClipTable:
    """Clips with unique ids, the scale of their scores, and what to say wherever results appear.

    caveats: e.g. "synthetic audio"; they follow the data into predictions and reports.
    """

    clips: tuple[Clip, ...]
    scale: Scale = DEFAULT_SCALE
    caveats: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _refuse(f"clip {clip_id!r} occurs twice" for clip_id in _repeated([clip.id for clip in self.clips]))

    @cached_property
    def id(self) -> str:
        """ "data-0123456789ab": changes with anything that training can see, and with nothing else.

        Paths, sources and the order of rows do not count; a file's content does.
        """
        seen = [
            [c.id, c.audio, c.split, c.system, c.group, c.domain, c.scores, c.ratings]
            for c in sorted(self.clips, key=lambda clip: clip.id)
        ]
        return f"data-{digest({'clips': seen, 'scale': asdict(self.scale)})}"

    def __len__(self) -> int:
        return len(self.clips)

    def __iter__(self) -> Iterator[Clip]:
        return iter(self.clips)

    def of(self, split: str) -> tuple[Clip, ...]:
        """The clips of one split, in the table's order."""
        if split not in SPLITS:
            raise ValueError(f"unknown split {split!r}; known: {', '.join(SPLITS)}")
        return tuple(clip for clip in self.clips if clip.split == split)

    def scores(self, clips: Sequence[Clip] | None = None) -> np.ndarray:
        """Scores [N, 4] float64 of the clips (default: all), NaN where an axis was not rated."""
        return score_array(self.clips if clips is None else clips)


def score_array(clips: Sequence[Clip]) -> np.ndarray:
    """Scores [N, 4] float64 in AXES order, NaN where an axis was not rated."""
    rows = [[np.nan if score is None else score for score in clip.scores] for clip in clips]
    return np.array(rows, dtype=np.float64).reshape(len(clips), len(AXES))


def read_clips(
    path: Path,
    *,
    audio_root: Path | None = None,
    scale: Scale = DEFAULT_SCALE,
    train_fraction: float | None = None,
    seed: int = 0,
) -> ClipTable:
    """Read a clip table: `.jsonl` or `.json` as JSON lines, anything else as CSV, both UTF-8.

    Columns: id and path; optional domain, source, system, group, split, CE, CU, PC, PQ and
    CE_ratings ... PQ_ratings (JSON lists).  An empty cell is "not rated" or "not known"; ratings
    without a score give their mean as the score.  Columns that begin with "_" are not read.
    audio_root: where given, paths must stay inside it (links followed); the files need not exist.
    train_fraction: makes a split, see `split_clips`; only for a table without a split column.
    TableError names every row and reason; no part of such a table is used.
    """
    path = Path(path)
    try:
        text = files.read_bytes(path, MAX_BYTES).decode("utf-8-sig")
    except (OSError, ValueError) as reason:
        raise TableError(f"{path} cannot be read: {reason}") from None
    reasons: list[str] = []
    clips: dict[int, Clip] = {}
    has_split = False
    read = json_rows if path.suffix.lower() in (".jsonl", ".json") else csv_rows
    try:
        for number, values in read(text):
            has_split = has_split or bool(values.get("split"))
            try:
                clips[number] = _checked(to_clip(values, scale), audio_root)
            except ValueError as reason:
                reasons.append(f"row {number}: {reason}")
    except RowError as reason:
        reasons.append(str(reason))
    reasons += _duplicates(clips)
    if not clips and not reasons:
        reasons.append("it has no rows")
    if has_split and train_fraction is not None:
        reasons.append("it has a split column and a train fraction was given: choose one of the two")
    _refuse(reasons, path)
    if train_fraction is None:
        return ClipTable(tuple(clips.values()), scale)
    try:
        return ClipTable(split_clips(list(clips.values()), train_fraction, seed), scale)
    except ValueError as reason:
        raise TableError(f"{path} is refused: {reason}") from None


def _checked(clip: Clip, audio_root: Path | None) -> Clip:
    if audio_root is not None:
        contain(audio_root, clip.path)
    return clip


def _duplicates(clips: dict[int, Clip]) -> list[str]:
    rows: dict[str, list[int]] = {}
    for number, clip in clips.items():
        rows.setdefault(clip.id, []).append(number)
    return [
        f"rows {', '.join(map(str, numbers))}: id {clip_id!r} occurs {len(numbers)} times"
        for clip_id, numbers in rows.items()
        if len(numbers) > 1
    ]


def _refuse(reasons: Iterable[str], path: Path | None = None) -> None:
    found = list(reasons)
    if not found:
        return
    shown = found[:MAX_REASONS]
    if len(found) > MAX_REASONS:
        shown.append(f"... and {len(found) - MAX_REASONS} more")
    where = f"{path} is refused" if path else "the clip table is refused"
    raise TableError("\n  ".join([f"{where}, {len(found)} reason(s):", *shown]))


def _repeated(ids: Sequence[str]) -> list[str]:
    return sorted(clip_id for clip_id, count in Counter(ids).items() if count > 1)


def save_table(table: ClipTable, path: Path) -> None:
    """Keep a table as JSON, atomically."""
    content = {
        "format": FORMAT,
        "id": table.id,
        "scale": asdict(table.scale),
        "caveats": table.caveats,
        "clips": [asdict(clip) for clip in table.clips],
    }
    files.write_text(Path(path), json.dumps(content, ensure_ascii=False, allow_nan=False, indent=1) + "\n")


def load_table(path: Path) -> ClipTable:
    """Read what `save_table` wrote; TableError if it is something else or was changed by hand."""
    try:
        content: Any = json.loads(files.read_bytes(Path(path), MAX_BYTES))
        if content["format"] != FORMAT:
            raise ValueError(f"format {content['format']!r}, where {FORMAT!r} is known")
        clips = tuple(_clip(values) for values in content["clips"])
        table = ClipTable(clips, Scale(**content["scale"]), tuple(content["caveats"]))
    except FileNotFoundError:
        raise
    except (OSError, ValueError, KeyError, TypeError) as reason:
        raise TableError(f"{path} is not a saved clip table: {reason!r}") from None
    if table.id != content["id"]:
        raise TableError(f"{path} holds {table.id} but says {content['id']}: changed after it was saved")
    return table


def _clip(values: dict[str, Any]) -> Clip:
    ratings = tuple(tuple(single) for single in values["ratings"])
    return Clip(**{**values, "scores": tuple(values["scores"]), "ratings": ratings})
