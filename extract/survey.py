"""Decode every file of a clip table once, to learn what it holds before anything is encoded.

A cache remembers the outcome as long as the file's size, times of change and inode stay; whoever reads a crop
later compares the bytes with the content id all the same.  It grows while the survey goes on, so a run that
was killed has lost seconds of it.  A file that cannot be used becomes a Reject with its reason: the run goes
on without the clip, and nothing is put in its place.
"""

from __future__ import annotations

import itertools
import os
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, astuple, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from mmmos.extract.audio import AUDIO_RECIPE
from mmmos.extract.audio_info import AudioError, AudioInfo
from mmmos.extract.compute import ahead
from mmmos.extract.content import is_settled
from mmmos.extract.decoding import survey_file
from mmmos.extract.progress import ClipProgress
from mmmos.store import files, sealed
from mmmos.store.clips import ClipTable
from mmmos.store.console import say
from mmmos.store.crops import resolving
from mmmos.store.files import write_csv
from mmmos.store.lines import append_lines, read_lines
from mmmos.store.schema import Clip

CACHE = "survey.jsonl"
OLD_CACHE = "survey.json"
"""What earlier versions wrote at the end of a survey; its entries are taken over."""
MAX_CACHE_BYTES = 1 << 30
KEPT_EVERY_S = 2.0
"""A kill loses the survey of so many seconds."""
AT_ONCE = 256
"""Files that one thread looks up in the cache at a time."""


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
    cache = _Cache(cache_path)
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


def state_of(status: os.stat_result) -> tuple[int, ...]:
    """What changes with a file: size, times of change of content and inode, inode."""
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino


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


Entries = dict[str, tuple[tuple[int, ...], AudioInfo]]
"""Path -> the file's state, and what was found then."""


class _Cache:
    """Outcomes by the clips' paths, valid while the file's state and the recipe stay the same."""

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self.begun = False  # the file says the recipe, and what is added is of that recipe
        self.new: list[dict[str, Any]] = []
        self.kept_s = time.monotonic()

    def known(self, clips: Sequence[Clip], audio_root: Path, threads: int) -> list[AudioInfo | None]:
        """What is remembered of the audio of each clip as it is now; None where nothing is."""
        entries = self._entries({clip.path for clip in clips}, audio_root)
        resolve = resolving(audio_root)

        def look(some: Sequence[Clip]) -> list[AudioInfo | None]:
            found: list[AudioInfo | None] = []
            for clip in some:
                state, info = entries.get(clip.path, ((), None))
                with suppress(ValueError):
                    found.append(info if info and state_of(resolve(clip.path)[1]) == state else None)
                    continue
                found.append(None)
            return found

        if not entries:
            return [None] * len(clips)
        parts = (clips[at : at + AT_ONCE] for at in range(0, len(clips), AT_ONCE))
        with ThreadPoolExecutor(threads) as pool:
            return list(itertools.chain.from_iterable(ahead(pool, look, parts, 2 * threads)))

    def _entries(self, wanted: Collection[str], audio_root: Path) -> Entries:
        entries: Entries = {}
        if self.path is None:
            return entries
        try:
            for line in self._lines(self.path, audio_root):
                if "recipe" in line:
                    self.begun = line["recipe"] == AUDIO_RECIPE
                elif self.begun and line["path"] in wanted:
                    entries[line["path"]] = tuple(line["state"]), AudioInfo(**line["info"])
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as reason:
            # A cache that cannot be read is only a slower survey; what was read of it is written anew.
            said = f"{self.path}: field {reason} is missing" if isinstance(reason, KeyError) else str(reason)
            say(f"the survey is made anew: {said}")
            with suppress(FileNotFoundError):
                files.remove(self.path)
        if not self.path.exists():
            self.begun = False
            self.new = [_line(path, *entry) for path, entry in entries.items()]
        return entries

    @staticmethod
    def _lines(path: Path, audio_root: Path) -> Iterator[Mapping[str, Any]]:
        """The lines of the cache or, where there is none yet, the entries that an earlier version left."""
        if path.exists():
            yield from read_lines(path)
            return
        old = path.with_name(OLD_CACHE)
        if old.exists():
            stored = sealed.read_object(old, MAX_CACHE_BYTES, '"recipe"')
            yield {"recipe": stored["recipe"]}
            root = f"{audio_root.resolve()}{os.sep}"
            yield from ({"path": path.removeprefix(root), **entry} for path, entry in stored["files"].items())

    def add(self, path: str, state: tuple[int, ...], info: AudioInfo) -> None:
        """Remember an outcome; written every KEPT_EVERY_S seconds."""
        self.new.append(_line(path, state, info))
        if time.monotonic() - self.kept_s >= KEPT_EVERY_S:
            self.keep()

    def keep(self) -> None:
        """Write what is new."""
        if self.path is not None and self.new:
            head = [] if self.begun and self.path.exists() else [{"recipe": AUDIO_RECIPE}]
            append_lines(self.path, [*head, *self.new])
            self.begun = True
        self.new, self.kept_s = [], time.monotonic()


def _line(path: str, state: tuple[int, ...], info: AudioInfo) -> dict[str, Any]:
    return {"path": path, "state": state, "info": asdict(info)}
