"""Decode every file of a clip table once, to learn what it holds before anything is encoded.

A cache remembers the outcome as long as the file's size, times of change and inode stay; whoever reads a crop
later compares the bytes with the content id all the same.  A file that cannot be used becomes a Reject with
its reason: the run goes on without the clip, and nothing is put in its place.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, astuple, dataclass, replace
from pathlib import Path
from typing import Any

from mmmos.extract.audio import AUDIO_RECIPE
from mmmos.extract.audio_info import AudioError, AudioInfo
from mmmos.extract.content import is_settled
from mmmos.extract.decoding import survey_file
from mmmos.extract.progress import ClipProgress
from mmmos.store import sealed
from mmmos.store.clips import ClipTable
from mmmos.store.console import say
from mmmos.store.crops import resolve_audio
from mmmos.store.files import write_csv
from mmmos.store.schema import Clip

MAX_CACHE_BYTES = 1 << 30


@dataclass(frozen=True)
class Reject:
    """A clip that is left out, and why."""

    id: str
    path: str
    reason: str


class CoverageError(RuntimeError):
    """Too few of a table's clips could be read to go on."""


def look_at(
    clips: Sequence[Clip],
    audio_root: Path,
    cache_path: Path | None = None,
    workers: int | None = None,
    *,
    title: str = "survey",
    quiet: bool = False,
) -> list[AudioInfo | Reject]:
    """What the audio of each clip holds, or why it cannot be used, in the order of the clips.

    Parameters
    ----------
    audio_root : Path
        The clips' paths are relative to it and must not lead out of it.
    cache_path : Path, optional
        A JSON file to remember outcomes in.
    workers : int, optional
        Decoding threads; one per CPU if left out.
    title : str
        Of the progress line.
    """
    cache = _Cache(cache_path)
    found: list[AudioInfo | Reject] = []

    def look(clip: Clip) -> AudioInfo | Reject:
        try:
            return cache.info(resolve_audio(audio_root, clip.path))
        except (AudioError, ValueError, OSError) as error:
            return Reject(clip.id, _shown(clip.path), _shown(str(error)))

    pool = ThreadPoolExecutor(workers or os.cpu_count() or 1)
    try:
        with ClipProgress(title, "files", {clip.id: 1 for clip in clips}, quiet=quiet) as progress:
            for clip, one in zip(clips, pool.map(look, clips), strict=True):
                found.append(one)
                progress.advance(clip.id, 0.0 if isinstance(one, Reject) else one.duration_s)
    finally:
        pool.shutdown(cancel_futures=True)
        cache.save()
    return found


def _shown(text: str) -> str:
    """Text that any file and terminal takes: what is not Unicode as escapes."""
    return text.encode(errors="backslashreplace").decode()


def survey(
    table: ClipTable,
    audio_root: Path,
    cache_path: Path | None = None,
    workers: int | None = None,
    *,
    quiet: bool = False,
    stored: Collection[str] = (),
) -> tuple[ClipTable, list[Reject]]:
    """The table's readable clips with their content id and duration, and the rejected ones; see `look_at`.

    Parameters
    ----------
    stored : collection of str
        Content ids of features that are there.  A clip whose features are stored under the id that earlier
        versions gave its audio keeps that id, unless another file of the table has the same one.
    """
    found = look_at(table.clips, audio_root, cache_path, workers, quiet=quiet)
    named: defaultdict[str, set[str]] = defaultdict(set)
    for info in found:
        if isinstance(info, AudioInfo):
            named[info.old_id].add(info.audio)

    def content_id(info: AudioInfo) -> str:
        keeps = info.old_id in stored and info.audio not in stored and len(named[info.old_id]) == 1
        return info.old_id if keeps else info.audio

    clips = tuple(
        replace(clip, audio=content_id(info), duration_s=info.duration_s)
        for clip, info in zip(table.clips, found, strict=True)
        if isinstance(info, AudioInfo)
    )
    return replace(table, clips=clips), [one for one in found if isinstance(one, Reject)]


def check_coverage(clips: int, rejects: Sequence[Reject], minimum: float) -> float:
    """The readable fraction of `clips` clips; CoverageError where it is under `minimum`."""
    coverage = 1.0 - len(rejects) / clips if clips else 0.0
    if coverage < minimum:
        first = f"; first: {rejects[0].path}: {rejects[0].reason}" if rejects else ""
        raise CoverageError(
            f"only {clips - len(rejects)} of {clips} clips can be read ({coverage:.1%}), "
            f"{minimum:.0%} are needed{first}. Mend the files, or lower the minimum coverage"
        )
    return coverage


def write_rejects(path: Path, rejects: Iterable[Reject]) -> None:
    """id,path,reason as CSV; the header alone where every clip can be read."""
    write_csv(path, ("id", "path", "reason"), (astuple(reject) for reject in rejects))


class _Cache:
    """Outcomes of survey_file by path, valid while the file's state and the recipe stay the same."""

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self.entries: dict[str, Any] = {}
        if path is not None and path.is_file():
            try:
                stored = sealed.read_object(path, MAX_CACHE_BYTES)
                if stored["recipe"] == AUDIO_RECIPE:
                    self.entries = dict(stored["files"])
            except (OSError, ValueError, KeyError, TypeError) as reason:
                # A cache that cannot be read is only a slower survey.
                said = f"{path}: field {reason} is missing" if isinstance(reason, KeyError) else str(reason)
                say(f"the survey is made anew: {said}")

    def info(self, path: Path) -> AudioInfo:
        status = path.stat()
        state = [status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino]
        entry = self.entries.get(str(path))
        if known := _known(entry, state):
            return known
        info = survey_file(path)
        # A file that was written a moment ago could change again and look the same.
        if is_settled(status.st_ctime_ns):
            self.entries[str(path)] = {"state": state, "info": asdict(info)}
        return info

    def save(self) -> None:
        if self.path is not None:
            content = {"recipe": AUDIO_RECIPE, "files": self.entries}
            sealed.write_json(self.path, content, indent=None)


def _known(entry: Any, state: list[int]) -> AudioInfo | None:
    """What a cache's entry says of a file in this state; None where it says nothing that could be."""
    try:
        return AudioInfo(**entry["info"]) if entry["state"] == state else None
    except (KeyError, TypeError, ValueError, AttributeError):
        return None
