"""Parts of a table: every N-th row, for N processes that know nothing of each other."""

from __future__ import annotations

import hashlib
import itertools
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

REQUEST = "extract.json"
"""The options of an extraction, in every work folder."""
MOST = 100_000
"""Parts of one table; more are a slip."""


class PartError(ValueError):
    """Parts that cannot be put together; the message names them."""


@dataclass(frozen=True)
class Part:
    """The rows `number`, `number + of`, `number + 2 of`, ... of a table, counted from 1."""

    number: int = 1
    of: int = 1

    @staticmethod
    def parse(text: str) -> Part:
        """ "3/64"; ValueError for anything that is no part. "" is the whole."""
        if not text:
            return WHOLE
        match = re.fullmatch(r"(\d{1,9})/(\d{1,9})", text, re.ASCII)
        number, of = map(int, match.groups()) if match else (0, 0)
        if not 1 <= number <= of <= MOST:
            raise ValueError(
                f"--part takes I/N, from 1/N for the first of N parts to N/N for the last, not {text!r}"
            )
        return Part(number, of)

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"

    @property
    def name(self) -> str:
        """ "part-3-of-64", in the names of its files."""
        return f"part-{self.number}-of-{self.of}"

    def has(self, index: int) -> bool:
        """Whether the row of this index, from 0, is of this part."""
        return index % self.of == self.number - 1

    def turns(self) -> Iterator[bool]:
        """For each row of a table in turn, whether it is of this part."""
        return itertools.cycle([number == self.number for number in range(1, self.of + 1)])


WHOLE = Part()


def table_digest(path: Path) -> str:
    """Names the bytes of a table's file."""
    found = hashlib.blake2b(digest_size=16)
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            found.update(block)
    return found.hexdigest()


NAME = re.compile(r"part-([1-9]\d{0,5})-of-([1-9]\d{0,5})")


def in_name(name: str) -> Part | None:
    """The part whose `Part.name` this is."""
    match = NAME.fullmatch(name)
    return Part(int(match[1]), int(match[2])) if match else None


def complete(there: Iterable[Part], what: str) -> list[Part]:
    """The parts in order; PartError where some are missing, or parts of another number lie beside them."""
    found = sorted(set(there), key=lambda part: (part.of, part.number))
    if not found:
        raise PartError(f"{what}: no parts are there")
    counts = sorted({part.of for part in found})
    if len(counts) > 1:
        raise PartError(
            f"{what}: parts of {' and of '.join(map(str, counts))} lie together: "
            "move those of other runs away"
        )
    missing = sorted(set(range(1, counts[0] + 1)) - {part.number for part in found})
    if missing:
        named = ", ".join(f"{number}/{counts[0]}" for number in missing[:10])
        more = f" and {len(missing) - 10} more" if len(missing) > 10 else ""
        raise PartError(f"{what}: of {counts[0]} parts, {named}{more} are missing: run them first")
    return found
