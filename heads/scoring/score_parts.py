"""Scores of the parts of a list, each in a file of its own, and all of them put together.  No torch.

scores.part-3-of-64.csv        the answers of every 64th row of the list, from the third on
scores.part-3-of-64.csv.done   written last: which part of which list, by which bundle and options
"""

from __future__ import annotations

import csv
import json
from array import array
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TextIO

import numpy as np
import xxhash

from mmmos.heads.scoring.output_file import Settings
from mmmos.store import files, sealed
from mmmos.store.parts import Part, PartError, complete, in_name, table_digest

FORMAT = "mmmos-scores-part-1"
IN_CSV = 1
"""The column of an answer's id."""


@dataclass(frozen=True)
class ScoredPart:
    """A finished part: its settings, how many answers, how many of them errors, and its file's digest."""

    settings: Settings
    form: str
    answers: int
    errors: int
    digest: str

    def save(self, path: Path) -> None:
        sealed.write_json(_done(path), {"format": FORMAT, **asdict(self)})

    @staticmethod
    def load(path: Path) -> ScoredPart | None:
        """What is known of a part's file; None where it did not end.  PartError where it changed since."""
        if not _done(path).exists():
            return None
        try:
            content = sealed.read_object(_done(path))
            if content.pop("format") != FORMAT:
                raise KeyError("format")
            found = ScoredPart(**{**content, "settings": Settings(**content["settings"])})
        except (KeyError, TypeError) as reason:
            raise PartError(f"{_done(path)} is no record of a part: {reason}") from None
        if not path.exists() or table_digest(path) != found.digest:
            raise PartError(f"{path} changed after it ended: remove it and {_done(path).name}, and run again")
        return found


def part_path(output: Path, part: Part) -> Path:
    """The file of a part's answers: scores.part-3-of-64.csv for scores.csv."""
    return output.with_name(f"{output.stem}.{part.name}{output.suffix}")


def _done(path: Path) -> Path:
    return path.with_name(f"{path.name}.done")


def scored_part(path: Path, settings: Settings) -> ScoredPart | None:
    """A part that ended, and was scored as it would be now; None for one that is to be scored.

    ResumeError where it was scored otherwise.
    """
    done = ScoredPart.load(path)
    if done is None:
        return None
    settings.differ(done.settings, path)
    return done if settings.bundle else None  # a bundle that is not known yet is compared row by row


def finish(path: Path, settings: Settings, form: str, answers: int, errors: int) -> None:
    """Write down that a part ended."""
    ScoredPart(settings, form, answers, errors, table_digest(path)).save(path)


def join(output: Path) -> tuple[int, int]:
    """Write the answers of all parts of `output`, in the order of the list; returns answers and errors.

    Raises
    ------
    PartError, ValueError
        Parts are missing, unfinished or changed, of another list, or scored by another bundle or with other
        options; or a row's id occurs twice.  Nothing was written.
    """
    if output.exists():
        raise PartError(f"{output} is already there: remove it, or name another file")
    paths = _paths(output)
    parts = complete(paths, str(output))
    known = {part: ScoredPart.load(paths[part]) for part in parts}
    records = {part: record for part, record in known.items() if record is not None}
    if unfinished := [str(part) for part in parts if part not in records]:
        raise PartError(f"{output}: {', '.join(unfinished)} did not end: run them again, and join then")
    for part in parts:
        _check(part, records[part], records[parts[0]], paths)
    with ExitStack() as stack:
        streams = [stack.enter_context(paths[part].open(encoding="utf-8", newline="")) for part in parts]
        form = records[parts[0]].form
        headers = {stream.readline() if form == "csv" else "" for stream in streams}
        if len(headers) > 1:
            raise PartError(f"{output}: its parts have different columns")
        seen = array("Q")
        answers = _csv if form == "csv" else _json_lines
        with files.writing(output) as file:
            file.write(headers.pop().encode())
            for text, name in _in_turn([answers(stream) for stream in streams]):
                seen.append(xxhash.xxh3_64_intdigest(name.encode("utf-8", "surrogatepass")))
                file.write(text.encode())
            _refuse_repeated(seen, output)
    return len(seen), sum(record.errors for record in records.values())


def _paths(output: Path) -> dict[Part, Path]:
    found: dict[Part, Path] = {}
    for path in sorted(output.parent.glob("*")):
        start, end = f"{output.stem}.", output.suffix
        if path.name.startswith(start) and path.name.endswith(end):
            part = in_name(path.name[len(start) : len(path.name) - len(end)])
            found |= {part: path} if part else {}
    return found


def _check(part: Part, mine: ScoredPart, first: ScoredPart, paths: Mapping[Part, Path]) -> None:
    """PartError or ResumeError unless a part is what its name says, and belongs to the first one."""
    if mine.settings.part != str(part):
        raise PartError(f"{paths[part]} holds part {mine.settings.part}: give the file its name back")
    replace(first.settings, part=str(part)).differ(mine.settings, paths[part])
    if mine.form != first.form:
        raise PartError(f"{paths[part]} has the format {mine.form}, others have {first.form}")
    if not first.answers - 1 <= mine.answers <= first.answers:
        raise PartError(f"{paths[part]} has {mine.answers} answers, where the first part has {first.answers}")


def _in_turn(parts: Sequence[Iterator[tuple[str, str]]]) -> Iterator[tuple[str, str]]:
    """The first answer of each part, then the second of each, and so on."""
    left = list(parts)
    while left:
        ended = []
        for part in left:
            answer = next(part, None)
            if answer is None:
                ended.append(part)
            else:
                yield answer
        left = [part for part in left if part not in ended]


def _json_lines(stream: TextIO) -> Iterator[tuple[str, str]]:
    for line in stream:
        try:  # names may hold halves of surrogate pairs, so this is no `sealed.parse_json`
            yield line, str(json.loads(line)["id"])
        except (ValueError, TypeError, KeyError, RecursionError):
            raise PartError(f"{stream.name} holds a line that is no answer: run that part again") from None


def _csv(stream: TextIO) -> Iterator[tuple[str, str]]:
    """The text of each answer, the rows of its windows included, and its id."""
    lines: list[str] = []

    def taken() -> Iterator[str]:
        for line in stream:
            lines.append(line)
            yield line

    text, name = "", ""
    for cells in csv.reader(taken(), strict=True):
        if cells[0] == "file" and text:
            yield text, name
            text = ""
        text, name = text + "".join(lines), cells[IN_CSV]
        lines.clear()
    if text:
        yield text, name


def _refuse_repeated(seen: Sequence[int], output: Path) -> None:
    count = len(seen) - len(np.unique(np.array(seen, dtype=np.uint64)))
    if count:
        raise PartError(f"{output}: {count} ids are asked for twice; give the rows ids of their own")
