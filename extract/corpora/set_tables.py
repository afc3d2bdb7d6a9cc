"""Clip tables of published listening tests, from their own files: single ratings, systems, groups.

Columns are found by name.  What is needed and not there is refused with the columns that are: these files
may change, and nothing of them is guessed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

from mmmos.extract.corpora.labels import PAM, read_pam
from mmmos.store.clips import ClipTable
from mmmos.store.ratings.audio import Audio
from mmmos.store.ratings.reader import Reading, understand
from mmmos.store.ratings.roles import Wishes, canonical
from mmmos.store.ratings.sheet import Sheet, read_sheet
from mmmos.store.rows import TableError

AUDIOEVAL_AXES = {
    "CE": ("enjoyment",), "CU": ("usefulness",), "PC": ("complexity",), "PQ": ("quality",),
    "alignment": ("alignment", "relevance"),
}  # fmt: skip
SONGEVAL_AXES = {
    "coherence": ("coherence",), "memorability": ("memorability",), "naturalness": ("naturalness",),
    "clarity": ("clarity",), "musicality": ("musicality",),
}  # fmt: skip
"""Axis -> what the name of its column contains, capitals and signs apart."""

FILE_NAMES = ("filename", "wavname", "filepath", "wavpath", "audio", "path", "file", "songpath", "audiopath")
RATERS = ("raterid", "rater", "annotatorid", "annotator", "listenerid", "listener", "userid", "evaluator")
PROMPTS = ("promptid", "prompt", "prompttext")
SYSTEMS = ("systemid", "system", "systemname", "modelid", "model", "modelname")


def audioeval(folder: Path) -> Reading:
    """AudioEval: a row a rating, joined with each clip's prompt and system."""
    ratings, about = folder / "annotations" / "ratings.csv", folder / "data" / "metadata.jsonl"
    sheet, clips = read_sheet(_there(ratings)), read_sheet(_there(about))
    key, name = _column(sheet, FILE_NAMES, ratings, "the clip"), _column(clips, FILE_NAMES, about, "the clip")
    prompt = _column(clips, PROMPTS, about, "the prompt")
    system = _find(clips, SYSTEMS)
    if not system and not _find(sheet, SYSTEMS):
        raise TableError(_lacks(clips, about, "the system", SYSTEMS))
    axes = _axes(sheet.columns, AUDIOEVAL_AXES, ratings)
    rater = _column(sheet, RATERS, ratings, "the rater")
    known = {_stem(row[name]): row for row in clips.rows.values()}
    rows = {}
    for number, row in sheet.rows.items():
        clip = known.get(_stem(row[key]))
        if clip is None:
            raise TableError(f"{ratings}, row {number}: {row[key]!r} does not stand in {about}")
        of = clip if system else row
        rows[number] = {axis: row[column] for axis, column in axes.items()} | {
            "path": clip[name],
            "rater": row[rater],
            "group": clip[prompt],
            "system": of[system or _find(sheet, SYSTEMS)],
        }
    return _understood(rows, axes, ratings, folder, "1,10")


def songeval(folder: Path) -> Reading:
    """SongEval: one song a line, with a list of annotations or of ratings for each axis."""
    path = folder / "metadata.jsonl"
    sheet = read_sheet(_there(path))
    name = _column(sheet, FILE_NAMES, path, "the song")
    lists = next((c for c in sheet.columns if canonical(c) in ("annotation", "annotations")), "")
    rows: dict[int, Mapping[str, Any]] = {}
    axes: Mapping[str, str] = {}
    for number, row in sheet.rows.items():
        annotations: Sequence[Mapping[str, Any]] = row[lists] if lists else [row]
        if not isinstance(annotations, list) or not all(isinstance(one, dict) for one in annotations):
            raise TableError(f"{path}, row {number}: {lists!r} is not a list of objects")
        if not annotations:
            raise TableError(f"{path}, row {number}: {lists!r} is empty")
        for place, one in enumerate(annotations):
            axes = _axes(tuple(one), SONGEVAL_AXES, path)
            values = {axis: one[column] for axis, column in axes.items()}
            song = {"path": row[name], "group": _stem(row[name])}
            rows[len(rows) + 1] = song | values | ({"rater": f"annotator {place + 1}"} if lists else {})
    return _understood(rows, axes, path, folder, "1,5")


def pam(folder: Path) -> Reading:
    """PAM with the ten ratings a clip of AES-PAM, whose label file lies in the folder or in labels/."""
    labels = next((p for p in (folder / PAM, Path("labels") / PAM) if p.is_file()), folder / PAM)
    clips, audio = read_pam(_there(labels)), Audio(folder)
    placed = [(clip, audio.find(clip.path)) for clip in clips]
    found = tuple(replace(clip, path=place, split="train") for clip, place in placed if place)
    if not found:
        raise TableError(f"none of the {len(clips)} clips of {labels} is below {folder}: is it unpacked?")
    missing = tuple(clip.path for clip, place in placed if not place)
    return Reading(ClipTable(found), audio.root, (), missing, ())


READERS: dict[str, Callable[[Path], Reading]] = {"audioeval": audioeval, "songeval": songeval, "pam": pam}


def _understood(
    rows: Mapping[int, Mapping[str, Any]], axes: Mapping[str, str], path: Path, folder: Path, scale: str
) -> Reading:
    columns = tuple(dict.fromkeys(name for row in rows.values() for name in row))
    sheet = Sheet(columns, rows, f"{path.name} of a published set")
    return understand(sheet, path, folder, Wishes(axes=",".join(axes), scale=scale))


def _there(path: Path) -> Path:
    if not path.is_file():
        raise TableError(f"{path} is not there: fetch the set with --accept-licence, or put it there by hand")
    return path


def _find(sheet: Sheet, names: Sequence[str]) -> str:
    by_name = {canonical(column): column for column in reversed(sheet.columns)}
    return next((by_name[name] for name in names if name in by_name), "")


def _column(sheet: Sheet, names: Sequence[str], path: Path, what: str) -> str:
    if column := _find(sheet, names):
        return column
    raise TableError(_lacks(sheet, path, what, names))


def _lacks(sheet: Sheet, path: Path, what: str, names: Sequence[str]) -> str:
    return (
        f"{path}: no column names {what} (known: {', '.join(names)}); there are {', '.join(sheet.columns)}. "
        "The set has changed since this was written: rename the column, or read it with `prepare table`"
    )


def _axes(columns: Sequence[str], wanted: Mapping[str, Sequence[str]], path: Path) -> dict[str, str]:
    """Axis -> its column; TableError where one has none or several."""
    found = {}
    for axis, words in wanted.items():
        fits = [column for column in columns if any(word in canonical(column) for word in words)]
        if len(fits) != 1:
            raise TableError(
                f"{path}: {len(fits) or 'no'} columns for {axis} ({' or '.join(words)}); there are "
                f"{', '.join(columns)}. The set has changed since this was written: read "
                "it with `prepare table`"
            )
        found[axis] = fits[0]
    return found


def _stem(value: Any) -> str:
    return PurePosixPath(str(value)).stem
