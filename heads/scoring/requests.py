"""What a user asks to have scored: files, folders, patterns and lists, turned into one flat list.

Only the lists are opened here; a file that turns out to be missing or unreadable is one request like any
other, and its answer says so.
"""

from __future__ import annotations

import glob
import math
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmmos.store.rows import RowError, convert, read_rows, refusal

WAVE_SUFFIXES = {".aif", ".aifc", ".aiff", ".au", ".caf", ".w64", ".wav", ".wave"}
AUDIO_SUFFIXES = frozenset(WAVE_SUFFIXES | {".flac", ".mp3", ".oga", ".ogg", ".opus"})
"""What is scored from a folder; a file that is named itself may have any suffix."""
UNREAD_SUFFIXES = frozenset(
    {".3gp", ".aac", ".ac3", ".amr", ".ape", ".avi", ".dsf", ".flv", ".m4a", ".m4b", ".m4v", ".mka", ".mkv"}
    | {".mov", ".mp2", ".mp4", ".mpc", ".mpeg", ".mpg", ".ra", ".rf64", ".snd", ".spx", ".tta", ".voc"}
    | {".weba", ".webm", ".wma", ".wmv", ".wv"}
)
"""Audio and video that is asked for as well, so that its answer says why it is not read."""
LIST_SUFFIXES = frozenset({".csv", ".jsonl", ".json"})
MAX_LIST_BYTES = 1 << 31


class RequestError(ValueError):
    """A request that cannot be understood; the message has one line per reason."""


@dataclass(frozen=True)
class AudioRequest:
    """One piece of audio to score.

    path:           as the user wrote it; `file` is where it was found.
    start_s, end_s: the part of the file, None for its beginning and end.
    domain:         the kind of audio where the user knows it ("speech", "music", ...), "" where not.
    """

    id: str
    path: str
    file: Path
    start_s: float | None = None
    end_s: float | None = None
    domain: str = ""


def list_requests(sources: Iterable[str], audio_root: Path | None = None) -> list[AudioRequest]:
    """Requests in the order given; folders are walked and patterns expanded in alphabetical order.

    Parameters
    ----------
    sources
        Audio files; folders (with all below them); patterns with * ? [ or **; lists: .csv with a `path`
        column (a clip table is one), .jsonl with {"path", "start_time", "end_time"} in seconds as
        audiobox-aesthetics has it.  Lists may have `id` and `domain`.
    audio_root
        Where a list's relative paths begin; without it the list's own folder, and, for files that are not
        there, the current one.

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
    for source in sources:
        requests += _expand(source, audio_root)
    _refuse_repeated(requests)
    return requests


def _expand(source: str, audio_root: Path | None) -> list[AudioRequest]:
    path = Path(source)
    if os.path.isdir(path):  # noqa: PTH112 - Path.is_dir raises for a name that is too long
        found = sorted(_walk(path))
        if not found:
            raise RequestError(f"{source}: no audio below this folder ({' '.join(sorted(AUDIO_SUFFIXES))})")
        return [_plain(str(p)) for p in found]
    if path.suffix.lower() in LIST_SUFFIXES:
        return _read_list(path, audio_root)
    if glob.has_magic(source) and not os.path.lexists(source):
        matches = sorted(m for m in glob.glob(source, recursive=True) if os.path.isfile(m))  # noqa: PTH207, PTH113
        if not matches:
            raise RequestError(f"{source}: nothing matches this pattern")
        return [_plain(match) for match in matches]
    return [_plain(source)]


def _walk(folder: Path) -> Iterator[Path]:
    """Audio below a folder, and every folder that cannot be listed: its answer says so."""
    closed: list[Path] = []
    for place, _, names in os.walk(folder, onerror=lambda error: closed.append(Path(error.filename))):
        for name in names:
            if Path(name).suffix.lower() in AUDIO_SUFFIXES | UNREAD_SUFFIXES:
                yield Path(place, name)
    yield from closed


def _plain(path: str) -> AudioRequest:
    return AudioRequest(path, path, Path(path))


def _read_list(path: Path, audio_root: Path | None) -> list[AudioRequest]:
    try:
        rows = read_rows(path, MAX_LIST_BYTES, _check_columns)
        made, reasons = convert(rows, lambda values: _request(values, path.parent, audio_root))
    except RowError as reason:
        raise RequestError(str(reason)) from None
    if reasons or not made:
        raise RequestError(refusal(str(path), reasons or ["it has no rows"]))
    return list(made.values())


def _check_columns(names: Sequence[str]) -> None:
    if "path" not in names:
        raise RowError(f"no column 'path', only {', '.join(names) or 'nothing'}")


def _request(values: Mapping[str, Any], folder: Path, audio_root: Path | None) -> AudioRequest:
    path = values.get("path")
    if not isinstance(path, str) or not path.strip() or "\0" in path:
        raise ValueError("no path")
    start_s, end_s = _seconds(values, "start_time"), _seconds(values, "end_time")
    if start_s is not None and end_s is not None and end_s <= start_s:
        raise ValueError(f"{path}: it ends at {end_s:g} s, not after its start at {start_s:g} s")
    piece = "" if start_s is None and end_s is None else f"#{_text(start_s)}-{_text(end_s)}"
    given = values.get("id")
    domain = values.get("domain") or ""
    if not isinstance(domain, str):
        raise ValueError(f"{path}: its domain is {domain!r}, not a name")
    return AudioRequest(
        id=path + piece if given in (None, "") else str(given),
        path=path,
        file=_locate(path, folder, audio_root),
        start_s=start_s,
        end_s=end_s,
        domain=domain,
    )


def _seconds(values: Mapping[str, Any], name: str) -> float | None:
    value = values.get(name)
    if value in (None, ""):
        return None
    try:
        seconds = float(value)
    except (TypeError, ValueError):
        seconds = math.nan
    if isinstance(value, bool) or not 0.0 <= seconds < math.inf:
        raise ValueError(f"{name} is {value!r}, not a number of seconds from 0 on")
    return seconds


def _text(seconds: float | None) -> str:
    return "" if seconds is None else f"{seconds:g}"


def _locate(path: str, folder: Path, audio_root: Path | None) -> Path:
    if audio_root is not None:
        return audio_root / path
    beside = folder / path
    return beside if os.path.exists(beside) or not os.path.exists(path) else Path(path)  # noqa: PTH110


def _refuse_repeated(requests: Sequence[AudioRequest]) -> None:
    seen: set[str] = set()
    for request in requests:
        if request.id in seen:
            raise RequestError(
                f"{request.id!r} is asked for twice; give the rows ids of their own, or name it once"
            )
        seen.add(request.id)
