"""What a survey found, kept from one run to the next.

An outcome holds as long as the file's size, times of change and inode stay; whoever reads a crop later
compares the bytes with the content id all the same.  The cache grows while the survey goes on, so a run that
was killed has lost seconds of it.
"""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from mmmos.extract.audio import AUDIO_RECIPE
from mmmos.extract.audio_info import AudioInfo
from mmmos.extract.compute import ahead
from mmmos.store import files, sealed
from mmmos.store.console import say
from mmmos.store.crops import resolving
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


def state_of(status: os.stat_result) -> tuple[int, ...]:
    """What changes with a file: size, times of change of content and inode, inode."""
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino


Entries = dict[str, tuple[tuple[int, ...], AudioInfo]]
"""Path -> the file's state, and what was found then."""


class SurveyCache:
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
