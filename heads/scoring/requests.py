"""What a user asks to have scored: files, folders, patterns and lists, turned into one flat list.

Only the lists are opened here; a file that turns out to be missing or unreadable is one request like any
other, and its answer says so.
"""

# Of os.path, because Path raises errors for names that are too long or closed to us.
# ruff: noqa: PTH110, PTH112, PTH113

from __future__ import annotations

import glob
import math
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmmos.store.clip_rows import OTHER_TABLES
from mmmos.store.names import digest
from mmmos.store.parts import WHOLE, Part, table_digest
from mmmos.store.row_formats import RowError
from mmmos.store.rows import convert, parse_number, read_rows, refusal
from mmmos.store.suffixes import AUDIO, DECODED, TABLES

LIST_SUFFIXES = frozenset({".csv", ".jsonl", ".json", ".parquet"})
MAX_LIST_BYTES = 1 << 31


class RequestError(ValueError):
    """A request that cannot be understood; the message has one line per reason."""


@dataclass(frozen=True)
class AudioRequest:
    """One piece of audio to score.

    path:           as the user wrote it; `file` is where it was found.
    start_s, end_s: the part of the file, None for its beginning and end.
    domain:         the kind of audio where the user knows it ("speech", "music", ...), "" where not.
    group:          what it shares with others, such as its speaker or text, "" where that is not known.
    """

    id: str
    path: str
    file: Path
    start_s: float | None = None
    end_s: float | None = None
    domain: str = ""
    group: str = ""


def list_requests(
    sources: Iterable[str], audio_root: Path | None = None, part: Part = WHOLE
) -> list[AudioRequest]:
    """Requests in the order given; folders are walked and patterns expanded in alphabetical order.

    Parameters
    ----------
    sources
        Audio files; folders (with all below them); patterns with * ? [ or **; lists: .csv with a `path`
        column (a clip table is one), .parquet with one, .jsonl with {"path", "start_time", "end_time"} in
        seconds as audiobox-aesthetics has it.  Lists may have `id`, `domain` and `group`.
    audio_root
        Where a list's relative paths begin; without it the list's own folder, and, for files that are not
        there, the current one.
    part
        Take only every so many-th of what one source names; all others pass by unread.

    Returns
    -------
    list of AudioRequest
        Ids are the paths (with "#start-end" for parts of files) where a list gives none.

    Raises
    ------
    RequestError
        Where something is not understood, or two ids are equal.
    """
    requests: list[AudioRequest] = []
    sources = list(sources)
    if part != WHOLE and len(sources) != 1:
        raise RequestError(f"--part takes one list, folder or pattern, not {len(sources)} names")
    for source in sources:
        requests += _expand(source, audio_root, part)
    if sources and not requests:
        raise RequestError(f"{sources[0]}: it has no rows for part {part}: take fewer parts")
    _refuse_repeated(requests)
    return requests


def digest_of(source: str) -> str:
    """Names all that a source lists, also where only a part of it is asked for."""
    path = Path(source)
    if path.suffix.lower() in LIST_SUFFIXES:
        return table_digest(path)
    return digest([request.path for request in _expand(source, None)])


def _expand(source: str, audio_root: Path | None, part: Part = WHOLE) -> list[AudioRequest]:
    path, ours = Path(source), slice(part.number - 1, None, part.of)
    if os.path.isdir(source):  # os.path: a name that no file can have is no error, and gets its answer
        found = sorted(_audio_below(path))
        if not found:
            raise RequestError(f"{source}: no audio below this folder ({' '.join(sorted(DECODED))})")
        return [_plain(str(p)) for p in found[ours]]
    if path.suffix.lower() in LIST_SUFFIXES:
        return read_list(path, audio_root, part)
    if path.suffix.lower() in TABLES:
        raise RequestError(f"{source} is not text: save it as CSV (UTF-8) and name that file")
    if not os.path.exists(source) and glob.has_magic(source):
        matches = sorted(m for m in glob.glob(source, recursive=True) if os.path.isfile(m))  # noqa: PTH207
        if not matches:
            raise RequestError(f"{source}: nothing matches this pattern")
        return [_plain(match) for match in matches[ours]]
    return [_plain(source)][ours]


def _audio_below(folder: Path) -> Iterator[Path]:
    """Audio files below a folder, and the folders below it that are closed to us: their answers say so.

    What macOS leaves beside files on other disks, `._a.wav`, is no audio.
    """
    closed: list[Path] = []
    for where, _, names in os.walk(folder, onerror=lambda error: closed.append(Path(error.filename))):
        paths = (Path(where, name) for name in names)
        yield from (
            p
            for p in paths
            if p.suffix.lower() in AUDIO and not p.name.startswith("._") and os.path.isfile(p)
        )
    yield from closed


def _plain(path: str) -> AudioRequest:
    return AudioRequest(path, path, Path(path))


def read_list(path: Path, audio_root: Path | None, part: Part = WHOLE) -> list[AudioRequest]:
    """The requests of a list, row by row; ids may repeat, see `list_requests` for its columns."""
    try:
        rows = read_rows(path, MAX_LIST_BYTES, _check_columns, part)
        made, reasons = convert(rows, lambda values: read_request(values, path.parent, audio_root))
    except RowError as reason:
        raise RequestError(str(reason)) from None
    if reasons or (not made and part == WHOLE):
        raise RequestError(refusal(str(path), reasons or ["it has no rows"]))
    return list(made.values())


def _check_columns(names: Sequence[str]) -> None:
    if "path" not in names:
        raise RowError(f"no column 'path', only {', '.join(names) or 'nothing'}. {OTHER_TABLES}")


def read_request(values: Mapping[str, Any], folder: Path, audio_root: Path | None) -> AudioRequest:
    """The request of one row of a list in `folder`; ValueError says what is wrong with it."""
    path = values.get("path")
    if not isinstance(path, str) or not path.strip():
        raise ValueError("no path")
    start_s, end_s = _seconds(values, "start_time"), _seconds(values, "end_time")
    if start_s is not None and end_s is not None and end_s <= start_s:
        raise ValueError(f"{path}: it ends at {end_s:g} s, not after its start at {start_s:g} s")
    piece = "" if start_s is None and end_s is None else f"#{_text(start_s)}-{_text(end_s)}"
    given = values.get("id")
    domain, group = (values.get(name) or "" for name in ("domain", "group"))
    if not isinstance(domain, str):
        raise ValueError(f"{path}: its domain is {domain!r}, not a name")
    return AudioRequest(
        id=path + piece if given in (None, "") else str(given),
        path=path,
        file=_locate(path, folder, audio_root),
        start_s=start_s,
        end_s=end_s,
        domain=domain,
        group=str(group),
    )


def _seconds(values: Mapping[str, Any], name: str) -> float | None:
    value = values.get(name)
    if value in (None, ""):
        return None
    try:
        seconds = parse_number(value) if isinstance(value, str) else float(value)
    except (TypeError, ValueError, OverflowError):
        seconds = math.nan
    if isinstance(value, bool) or not 0.0 <= seconds < math.inf:
        raise ValueError(f"{name} is {value!r:.60}, not a number of seconds from 0 on")
    return seconds


def _text(seconds: float | None) -> str:
    return "" if seconds is None else f"{seconds:g}"


def _locate(path: str, folder: Path, audio_root: Path | None) -> Path:
    if audio_root is not None:
        return audio_root / path
    beside = folder / path
    return beside if os.path.exists(beside) or not os.path.exists(path) else Path(path)


def _refuse_repeated(requests: Sequence[AudioRequest]) -> None:
    seen: set[str] = set()
    for request in requests:
        if request.id in seen:
            raise RequestError(
                f"{request.id!r} is asked for twice; give the rows ids of their own, or name it once"
            )
        seen.add(request.id)
