"""From a file of ratings to a clip table, and what was understood of it.

Rows are ratings or clips; the ratings of a clip are averaged and kept.  Nothing is guessed in silence: each
thing that was understood is told with the option that changes it, and what cannot be understood is refused.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from mmmos.store.axes import parse_scale
from mmmos.store.clip_rows import off_scale
from mmmos.store.clips import ClipTable
from mmmos.store.ratings.audio import Audio
from mmmos.store.ratings.grouping import Rated, rated_clips
from mmmos.store.ratings.meaning import Meaning, find_meaning
from mmmos.store.ratings.roles import Wishes
from mmmos.store.ratings.sheet import Sheet, read_sheet
from mmmos.store.rows import TableError, refusal
from mmmos.store.schema import Clip, Scale
from mmmos.store.splits import split_clips
from mmmos.store.suffixes import NOT_DECODED

USUAL_SCALES = ((1, 5), (0, 5), (1, 7), (1, 10), (0, 10), (0, 100), (0, 1), (-1, 1), (-2, 2), (-3, 3))
"""What listeners are asked on, in the order in which a scale is guessed by the values that occur."""

NEAR = 4.0
"""Axes whose guessed scales differ by less than this factor share one: the widest."""


@dataclass(frozen=True)
class Understood:
    """One thing that was understood of a table, and the option that changes it."""

    what: str
    how: str
    option: str


@dataclass(frozen=True)
class Reading:
    """A table that was read.

    table:      clips with paths relative to `audio_root`, ratings kept.
    understood: what it was taken for.
    missing:    the table's names of audio files that are not there; such clips are left out.
    raters:     (clip id, axis, rater, rating) of every single rating whose rater is named.
    """

    table: ClipTable
    audio_root: Path
    understood: tuple[Understood, ...]
    missing: tuple[str, ...]
    raters: tuple[tuple[str, str, str, float], ...]


def read_ratings(path: Path, audio: Path | None = None, wishes: Wishes | None = None) -> Reading:
    """Read a file of ratings in any known form.

    Parameters
    ----------
    path
        CSV, JSON lines, or Kaldi's `id value`; see docs/tables.md.
    audio
        Folder with the audio, or a Kaldi `wav.scp`; left out, the folder of the table.
    wishes
        What the user says about the table.

    Raises
    ------
    TableError
        Where something cannot be understood: the columns that are there, and the nearest meaning.
    """
    return understand(read_sheet(Path(path)), Path(path), audio, wishes or Wishes())


def understand(sheet: Sheet, path: Path, audio: Path | None, wishes: Wishes) -> Reading:
    """`read_ratings` of columns and rows that were read, or put together, before."""
    try:
        return _reading(sheet, path, audio, wishes)
    except ValueError as reason:
        if str(path) in str(reason):
            raise
        raise TableError(f"{path}: {reason}") from None


def _reading(sheet: Sheet, path: Path, audio: Path | None, wishes: Wishes) -> Reading:
    meaning = find_meaning(sheet, wishes)
    found = Audio(Path(audio) if audio else path.parent)
    rated = rated_clips(sheet, meaning, path)
    clips, missing = _place(rated, found)
    if not clips:
        raise TableError(
            f"none of the {len(rated.clips)} audio files of {path} is below {found.root}, not even "
            f"{missing[0]!r}: name the folder with --audio, or the column of paths with --column path=NAME"
        )
    for place, axis in enumerate(meaning.axes):
        if len({clip.scores[place] for clip in clips} - {None}) < 2:
            count = sum(clip.scores[place] is not None for clip in clips)
            how = "the same score in every clip" if count > 1 else f"a score in {count} of the clips"
            raise TableError(
                f"{axis} has {how} whose audio is there: nothing can be learnt of it. "
                "Name the others by --axes NAME,NAME"
            )
    scale, guessed = _scale(clips, wishes, meaning)
    if reasons := off_scale({rated.first_rows[clip.id]: clip for clip in clips}, scale):
        raise TableError(refusal(str(path), reasons))
    if not any(clip.split != "none" for clip in clips):
        clips = [replace(clip, split="train") for clip in clips]
    if wishes.split is not None:
        if "split" in meaning.roles:
            raise TableError(
                f"{path} has splits in column {meaning.roles['split']!r} and --split was given: "
                "leave the column out with --column split="
            )
        clips = list(split_clips(clips, wishes.split, wishes.seed))
    table = ClipTable(tuple(clips), scale, axes=meaning.axes)
    lines = _understood(sheet, meaning, rated, table, found, missing, guessed)
    kept = {clip.id for clip in clips}
    raters = tuple(one for one in rated.raters if one[0] in kept)
    return Reading(table, found.root, tuple(lines), tuple(missing), raters)


def _place(rated: Rated, audio: Audio) -> tuple[list[Clip], list[str]]:
    """The clips with their paths below the audio's root, and the names of those that are not there."""
    clips, missing = [], []
    owner: dict[str, str] = {}
    for clip in rated.clips:
        place = audio.find(clip.path)
        if place is None:
            missing.append(clip.path)
            continue
        if place in owner:
            raise TableError(f"{clip.path!r} and {owner[place]!r} both mean the file {place}")
        owner[place] = clip.path
        clips.append(replace(clip, path=place))
    return clips, missing


def _scale(clips: Sequence[Clip], wishes: Wishes, meaning: Meaning) -> tuple[Scale, bool]:
    """The scale of the user, or the smallest usual one that holds every value."""
    if wishes.scale:
        return parse_scale(wishes.scale, meaning.axes), False
    ends = []
    for place, axis in enumerate(meaning.axes):
        values = [v for c in clips for v in (c.scores[place], *c.ratings[place]) if v is not None]
        low, high = (min(values), max(values)) if values else (0.0, 1.0)
        fits = [(a, b) for a, b in USUAL_SCALES if a <= low and high <= b]
        if not fits:
            raise TableError(f"{axis}: {low:g} to {high:g} is on no usual scale; name it, --scale LO,HI")
        smallest = min(fits, key=lambda pair: pair[1] - pair[0])
        ends.append((float(smallest[0]), float(smallest[1])))
    widths = [high - low for low, high in ends]
    together = min(low for low, _ in ends), max(high for _, high in ends)
    if max(widths) < NEAR * min(widths) and together in [(float(a), float(b)) for a, b in USUAL_SCALES]:
        ends = [together] * len(ends)
    return Scale.of_axes([(low, high) for low, high in ends]), True


def _understood(
    sheet: Sheet,
    meaning: Meaning,
    rated: Rated,
    table: ClipTable,
    audio: Audio,
    missing: Sequence[str],
    guessed: bool,
) -> list[Understood]:
    """What is told to the user, line by line."""
    roles = meaning.roles
    kind = f"one row a {'rating' if rated.row_a_rating else 'clip'}, {len(sheet.rows)} rows"
    told = f" ({audio.told()})" if audio.told() else ""
    place = f"{len(table)} of {len(rated.clips)} files, column {roles.get('path', roles.get('id'))!r}"
    lines = [
        Understood("form", f"{sheet.form}, {kind}", ""),
        Understood(
            "audio",
            f"{place}, below {audio.root}{told}",
            "--audio, --column path=NAME",
        ),
        Understood("axes", ", ".join(_axis(axis, meaning) for axis in meaning.axes), "--axes NAME,NAME"),
        Understood("scale", _scale_words(table, guessed), "--scale LO,HI or AXIS=LO:HI,..."),
        Understood("raters", _rater_words(table, meaning, rated), "--column rater=NAME"),
    ]
    for role, word, none in (
        ("system", "systems", "none: figures by system cannot be had"),
        ("group", "groups", "none: every clip stands alone when clips are held out"),
        ("domain", "domains", "none"),
    ):
        names = Counter(getattr(clip, role) for clip in table if getattr(clip, role))
        how = f"{len(names)} in column {roles[role]!r}" if role in roles and names else none
        lines.append(Understood(word, how, f"--column {role}=NAME"))
    lines.append(Understood("splits", _split_words(table), "--split FRACTION, --column split=NAME"))
    if meaning.aside:
        lines.append(Understood("not read", ", ".join(meaning.aside), "--axes, --column ROLE=NAME"))
    lines += _odd_files(table, audio, missing)
    return [*lines, *(Understood("note", note, "") for note in (*meaning.notes, *rated.notes))]


def _odd_files(table: ClipTable, audio: Audio, missing: Sequence[str]) -> list[Understood]:
    """Audio files that are not there, will not be read, or are not rated."""
    strange = [c.path for c in table if PurePosixPath(c.path).suffix.lower() in NOT_DECODED]
    unnamed = len(audio.files) - len(table)
    of = {
        "not there": (len(missing), f"audio files, left out: {_some(missing)}", "--audio"),
        "not decoded": (
            len(strange),
            f"audio files of kinds that are not read, left out later: {_some(strange)}",
            "ffmpeg -i FILE FILE.wav converts one",
        ),
        "not rated": (unnamed, "audio files there that the table does not name", ""),
    }
    return [Understood(what, f"{n} {how}", option) for what, (n, how, option) in of.items() if n > 0]


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")


def _axis(axis: str, meaning: Meaning) -> str:
    column, single = meaning.scores.get(axis, ""), meaning.lists.get(axis, "")
    of = f" (column {column!r})" if column and column != axis and "axis" not in meaning.roles else ""
    return f"{axis}{of}" + (f" with single ratings in {single!r}" if single else "")


def _scale_words(table: ClipTable, guessed: bool) -> str:
    why = ", guessed: the smallest usual one that holds all values" if guessed else ""
    if not table.scale.ends:
        return f"{table.scale.low:g} to {table.scale.high:g}{why}"
    each = (f"{a} {low:g} to {high:g}" for a, (low, high) in zip(table.axes, table.scale.ends, strict=True))
    return ", ".join(each) + why


def _rater_words(table: ClipTable, meaning: Meaning, rated: Rated) -> str:
    counts = [len(single) for clip in table for single in clip.ratings if single]
    if not counts:
        return "none: scores only, so there is no ceiling"
    span = f"{min(counts)}" if min(counts) == max(counts) else f"{min(counts)}-{max(counts)}"
    if rated.raters:
        who = len({rater for _, _, rater, _ in rated.raters})
        return f"{who} in column {meaning.roles['rater']!r}, {span} ratings a score"
    return f"{span} ratings a score, without the raters' names"


def _split_words(table: ClipTable) -> str:
    counts = Counter(clip.split for clip in table)
    if set(counts) == {"train"}:
        return "none: every clip trains, and figures are those of clips held out in turn"
    return ", ".join(f"{split} {count}" for split, count in counts.items())
