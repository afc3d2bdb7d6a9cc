"""What each column of a table of ratings is: the file, the system, the group, the rater ...

Columns are known by their names, compared without capitals and signs, so `Wav_Path`, "wav path" and
`wavPath` are one; the user's options come first.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from mmmos.store.clip_rows import split_name
from mmmos.store.ratings.sheet import SUFFIXES, Sheet
from mmmos.store.rows import TableError
from mmmos.store.schema import SPLITS

ROLES: dict[str, tuple[str, ...]] = {
    "path": (
        "path", "wavpath", "filepath", "filepathdeg", "audiopath", "datapath", "audio", "audiofile", "file",
        "filename", "filenamedeg", "wav", "wavfile", "wavname", "clip", "clippath", "stimuluspath",
    ),
    "id": ("id", "clipid", "sampleid", "uttid", "utt", "utterance", "utteranceid", "key", "stimulusid"),
    "rater": (
        "rater", "raterid", "listener", "listenerid", "participant", "participantid", "subject", "subjectid",
        "worker", "workerid", "assessor", "assessorid", "annotator", "annotatorid", "judge", "sessionuuid",
        "user", "userid",
    ),
    "system": (
        "system", "systemid", "sys", "sysid", "condition", "conditionid", "con", "model", "modelname",
        "codec", "method", "generator", "vocoder", "ratingstimulus", "stimuli",
    ),
    "group": (
        "group", "groupid", "prompt", "promptid", "song", "songid", "track", "trackid", "item", "itemid",
        "signal", "filenameref", "filepathref", "reference", "sentence", "sentenceid", "scene", "sceneid",
        "trialid", "speaker", "speakerid",
    ),
    "split": ("split", "set", "subset", "partition"),
    "domain": ("domain",),
    "source": ("source", "dataset", "corpus", "database", "db"),
    "axis": ("axis", "attribute", "dimension", "criterion", "question"),
}  # fmt: skip
"""What a column can be, and the names by which it is known, the likeliest first."""


@dataclass(frozen=True)
class Wishes:
    """What the user says about a table; all else is guessed and told.

    axes:    names or NAME=TITLE, see `store.axes.parse_axes`; "" guesses.
    scale:   see `store.axes.parse_scale`; "" guesses.
    columns: role -> column, "" for none; "path" may be a pattern with columns in braces.
    split, seed: train fraction of a table without splits, and the seed of the draw.
    """

    axes: str = ""
    scale: str = ""
    columns: Mapping[str, str] = field(default_factory=dict)
    split: float | None = None
    seed: int = 0


def canonical(name: str) -> str:
    """A name without capitals and signs."""
    return re.sub(r"[^a-z0-9]", "", name.lower())


def find_roles(sheet: Sheet, wishes: Wishes, notes: list[str]) -> dict[str, str]:
    """Role -> column, or a pattern for the path; what was decided on the way goes to `notes`."""
    roles: dict[str, str] = {}
    for role, column in wishes.columns.items():
        if role not in ROLES:
            raise TableError(f"--column {role}={column}: known are {', '.join(ROLES)}, as in path=NAME")
        if "{" in column and role == "path":
            for part in re.findall(r"\{([^{}]*)\}", column):
                find_column(sheet, part)
            roles[role] = column
        elif column:
            roles[role] = find_column(sheet, column)
    by_name = {canonical(name): name for name in reversed(sheet.columns)}
    for role, names in ROLES.items():
        if role in wishes.columns:
            continue
        for name in names:
            column = by_name.get(name, "")
            if not column or column in roles.values() or not sheet.values(column):
                continue
            if role == "split" and (odd := _odd_splits(sheet, column)):
                if name == "split":
                    raise TableError(
                        f"column {column!r} holds {', '.join(map(repr, odd[:4]))}; splits are "
                        f"{', '.join(SPLITS)}. Leave the column out with --column split="
                    )
                notes.append(f"column {column!r} holds other words than splits, so it is not one")
                continue
            roles[role] = column
            break
    if "axis" in roles and len({*map(str, sheet.values(roles["axis"]))}) > 32:
        del roles["axis"]
    return roles


def _odd_splits(sheet: Sheet, column: str) -> list[str]:
    return sorted({str(v) for v in sheet.values(column) if split_name(str(v)) not in SPLITS})


def find_column(sheet: Sheet, name: str) -> str:
    """A column by its name, capitals and signs apart; TableError with the nearest."""
    if name in sheet.columns:
        return name
    found = [column for column in sheet.columns if canonical(column) == canonical(name)]
    if len(found) == 1:
        return found[0]
    nearest = difflib.get_close_matches(name.lower(), [c.lower() for c in sheet.columns], n=1)
    hint = next((f" Did you mean {c!r}?" for c in sheet.columns if nearest and c.lower() == nearest[0]), "")
    raise TableError(f"there is no column {name!r}, only {', '.join(sheet.columns)}.{hint}")


def _names_audio(sheet: Sheet, column: str) -> bool:
    values = sheet.values(column)
    return bool(values) and all(str(value).lower().endswith(SUFFIXES) for value in values)


def no_path(sheet: Sheet) -> str:
    known = [name for role in ("path", "id") for name in ROLES[role]]
    near = [column for column in sheet.columns if _names_audio(sheet, column)] or [
        column
        for column in sheet.columns
        if difflib.get_close_matches(canonical(column), known, n=1, cutoff=0.6)
    ]
    by_name = {canonical(column): column for column in sheet.columns}
    for stimulus in ("ratingstimulus", "stimuli"):  # webMUSHRA's exports
        if "trialid" in by_name and stimulus in by_name:
            pattern = f"{{{by_name['trialid']}}}/{{{by_name[stimulus]}}}.wav"
            return f"no column names the audio files: say how a path is made, as in --column 'path={pattern}'"
    likely = (near or sheet.columns)[0]
    hint = f"; {likely!r} comes nearest" if near else ""
    return (
        f"no column names the audio files. The columns are {', '.join(sheet.columns)}{hint}: say which one "
        f"with --column path={likely}, or how a path is made, as in --column 'path={{{likely}}}.wav'"
    )
