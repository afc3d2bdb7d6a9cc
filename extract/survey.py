"""Decode every file of a clip table once, to learn what it holds before anything is encoded.

A file that cannot be used becomes a Reject with its reason: the run goes on without the clip, and nothing is
put in its place.  What was found is remembered, see `survey_cache`.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import astuple, dataclass, replace
from functools import partial
from pathlib import Path

from mmmos.extract.audio_info import AudioError, AudioInfo
from mmmos.extract.compute import ahead
from mmmos.extract.content import is_settled
from mmmos.extract.decoding import survey_file
from mmmos.extract.progress import ClipProgress
from mmmos.extract.survey_cache import SurveyCache, state_of
from mmmos.store.clips import ClipTable
from mmmos.store.crops import resolving
from mmmos.store.files import write_csv
from mmmos.store.schema import Clip


@dataclass(frozen=True)
class Reject:
    """A clip that is left out, and why."""

    id: str
    path: str
    reason: str


class CoverageError(RuntimeError):
    """Too few of a table's clips could be read to go on."""


Seen = tuple[AudioInfo | Reject, tuple[int, ...]]
"""What a file holds, or why it cannot be used, and the state it was in: () for what is not remembered."""
Surveyor = Callable[[Sequence[Clip], Path], Iterator[tuple[int, Seen]]]
"""Looks at the audio of clips below a root; gives each one's number and outcome, in any order."""


def look_at(
    clips: Sequence[Clip],
    audio_root: Path,
    cache_path: Path | None = None,
    workers: int | None = None,
    *,
    title: str = "survey",
    quiet: bool = False,
    surveyor: Surveyor | None = None,
) -> list[AudioInfo | Reject]:
    """What the audio of each clip holds, or why it cannot be used, in the order of the clips.

    Parameters
    ----------
    audio_root : Path
        The clips' paths are relative to it and must not lead out of it.
    cache_path : Path, optional
        A file of JSON lines to remember outcomes in.
    workers : int, optional
        Decoding threads; one per CPU if left out.
    title : str
        Of the progress line.
    surveyor : Surveyor, optional
        Decodes what the cache does not know, in place of threads of this process.
    """
    threads = workers or os.cpu_count() or 1
    surveyor = surveyor or partial(_by_threads, threads=threads)
    cache = SurveyCache(cache_path)
    known = cache.known(clips, audio_root, threads)
    todo = [number for number, one in enumerate(known) if one is None]
    found: list[AudioInfo | Reject | None] = list(known)
    try:
        with ClipProgress(title, "files", {clip.id: 1 for clip in clips}, quiet=quiet) as progress:
            for clip, info in zip(clips, known, strict=True):
                if info is not None:
                    progress.advance(clip.id, info.duration_s)
            for at, (one, state) in surveyor([clips[number] for number in todo], audio_root):
                clip = clips[todo[at]]
                found[todo[at]] = one
                if isinstance(one, AudioInfo) and state:
                    cache.add(clip.path, state, one)
                progress.advance(clip.id, 0.0 if isinstance(one, Reject) else one.duration_s)
    finally:
        cache.keep()
    return [one for one in found if one is not None]


def _by_threads(clips: Sequence[Clip], audio_root: Path, threads: int) -> Iterator[tuple[int, Seen]]:
    pool = ThreadPoolExecutor(threads)
    look = looking(audio_root)
    try:
        yield from enumerate(ahead(pool, look, clips, 4 * threads))
    finally:
        pool.shutdown(cancel_futures=True)


def looking(audio_root: Path) -> Callable[[Clip], Seen]:
    """A function that decodes the audio of one clip after the other, in any thread."""
    resolve = resolving(audio_root)

    def look(clip: Clip) -> Seen:
        try:
            path, status = resolve(clip.path)
            info = survey_file(path)
        except (AudioError, ValueError, OSError) as error:
            return Reject(clip.id, _shown(clip.path), _shown(str(error))), ()
        # A file that was written a moment ago could change again and look the same.
        return info, state_of(status) if is_settled(status.st_ctime_ns) else ()

    return look


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
    surveyor: Surveyor | None = None,
) -> tuple[ClipTable, list[Reject]]:
    """The table's readable clips with their content id and duration, and the rejected ones; see `look_at`.

    Parameters
    ----------
    stored : collection of str
        Content ids of features that are there.  A clip whose features are stored under the id that earlier
        versions gave its audio keeps that id, unless another file of the table has the same one.
    """
    found = look_at(table.clips, audio_root, cache_path, workers, quiet=quiet, surveyor=surveyor)
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
