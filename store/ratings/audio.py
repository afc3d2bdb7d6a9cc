"""Where the audio of a rated clip lies: below a folder, or where a Kaldi `wav.scp` says."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path, PurePosixPath

from mmmos.store.ratings.sheet import SUFFIXES
from mmmos.store.row_formats import MAX_LINE_LETTERS
from mmmos.store.rows import TableError, open_text

MAX_SCP_BYTES = 1 << 30

HOW = {
    "named": "as named",
    "shortened": "after leaving out the beginning of the path",
    "suffix": "under another suffix",
    "elsewhere": "in another folder",
}
"""How a file was found, in the order in which it is looked for."""


class Audio:
    """The audio files below `root`, found by what a table says of them.

    Attributes
    ----------
    root
        What `find` gives paths relative to.
    how
        Counts of files found, by the keys of HOW.
    """

    def __init__(self, source: Path) -> None:
        self.how: Counter[str] = Counter()
        self.listed: dict[str, str] | None = None
        if source.is_dir():
            self.root = source.resolve()
        elif source.name.endswith(".scp"):
            paths = read_scp(source)
            self.root = Path(os.path.commonpath([str(path.parent) for path in paths.values()]))
            self.listed = {key: path.relative_to(self.root).as_posix() for key, path in paths.items()}
        else:
            what = "is not there" if not source.exists() else "is neither a folder nor a wav.scp"
            raise TableError(f"{source} {what}: --audio takes the folder with the audio, or a wav.scp")
        self.files = self._files()
        self.by_name: Mapping[str, list[str]] = _grouped(self.files, lambda path: path.name)
        self.by_stem: Mapping[str, list[str]] = _grouped(self.files, lambda path: path.stem)

    def find(self, named: str) -> str | None:
        """The path below `root` that a table's path or id means; None where there is none.

        TableError where several files could be meant: nothing is guessed between them.
        """
        if self.listed is not None:
            return self.listed.get(named) or self.listed.get(PurePosixPath(named).stem)
        if named in self.files:
            self.how["named"] += 1
            return named
        named = named.replace("\\", "/")  # of another system
        parts = [part for part in named.split("/") if part not in ("", ".", "..")]
        if not parts:
            return None
        endings = ["/".join(parts[n:]) for n in range(len(parts))]
        for n, ending in enumerate(endings):
            if ending in self.files:
                self.how["named" if n == 0 else "shortened"] += 1
                return ending
        for ending in endings:
            folder, _, name = ending.rpartition("/")
            stem = PurePosixPath(name).stem if name.lower().endswith(SUFFIXES) else name
            beside = [f for f in self.by_stem.get(stem, []) if f.rpartition("/")[0] == folder]
            if found := self._only(named, beside, "suffix"):
                return found
        name = parts[-1]
        stem = PurePosixPath(name).stem if name.lower().endswith(SUFFIXES) else name
        return self._only(named, self.by_name.get(name) or self.by_stem.get(stem, []), "elsewhere")

    def told(self) -> str:
        """How the files were found, in words."""
        return ", ".join(f"{self.how[key]} {words}" for key, words in HOW.items() if self.how[key])

    def _only(self, named: str, found: list[str], how: str) -> str | None:
        if len(found) > 1:
            raise TableError(
                f"{named!r} may be {' or '.join(sorted(found)[:3])} below {self.root}: "
                "name the file with its folder and suffix"
            )
        if found:
            self.how[how] += 1
        return found[0] if found else None

    def _files(self) -> set[str]:
        if self.listed is not None:
            return set(self.listed.values())
        found = set()
        for folder, folders, names in os.walk(self.root):
            folders[:] = [name for name in folders if not name.startswith(".")]
            inside = Path(folder).relative_to(self.root)
            found |= {(inside / n).as_posix() for n in names if n.lower().endswith(SUFFIXES)}
        return found


def read_scp(path: Path) -> dict[str, Path]:
    """Id -> file of a `wav.scp`; TableError for pipes and lines that are not `id path`."""
    found: dict[str, Path] = {}
    for number, line in enumerate(_lines(path), 1):
        if not (line := line.strip()):
            continue
        key, _, rest = line.partition(" ")
        rest = rest.strip()
        if not rest or rest.endswith("|"):
            why = "is a command, which is never run" if rest else "is not `id path`"
            raise TableError(f"{path}, line {number}: {line[:60]!r} {why}; write the audio to files")
        if key in found:
            raise TableError(f"{path}, line {number}: id {key!r} stands there twice")
        found[key] = (path.parent / rest).resolve()
    if not found:
        raise TableError(f"{path} names no files")
    return found


def _lines(path: Path) -> Iterator[str]:
    try:
        with open_text(path, MAX_SCP_BYTES) as text:
            yield from iter(partial(text.readline, MAX_LINE_LETTERS), "")
    except (OSError, ValueError) as reason:
        raise TableError(f"{path} cannot be read: {reason}") from None


def _grouped(files: set[str], name_of: Callable[[PurePosixPath], str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = defaultdict(list)
    for path in sorted(files):
        found[name_of(PurePosixPath(path))].append(path)
    return found
