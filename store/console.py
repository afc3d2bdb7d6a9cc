"""How the command line speaks: results on stdout, everything else on stderr, one exit code per outcome."""

from __future__ import annotations

import errno
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from mmmos.store.escape import inert, inert_lines
from mmmos.store.table import Cell, Table
from mmmos.store.work_folder import refuse_foreign_work

OK = 0
FAILED = 1
"""Something nobody foresaw; the traceback is shown."""
REFUSED = 2
"""The request itself was wrong: an unknown name, a bad table, a missing file.  Nothing was changed."""
REJECTS = 3
"""Done, but some files could not be read; they are listed with their reasons."""
COVERAGE = 4
"""Stopped before training: too few of the table's clips could be read."""
DAMAGED = 5
"""Stored data does not match its checksums or structure, or golden scores do not come out."""
MISSING = 6
"""Something asked for is not stored yet."""

WORSE = 7
"""`compare`: B is worse than A beyond chance and margin."""

WORK_HELP = "Folder of this experiment: table, features, runs, ensemble."
Work = Annotated[Path, typer.Option(help=WORK_HELP, callback=refuse_foreign_work)]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:K.")]
Weights = Annotated[
    Path | None,
    typer.Option(help="Folder with the encoders' pretrained weights. Left out: the hub and its cache."),
]
Batch = Annotated[
    int | None, typer.Option(min=1, help="10 s crops per forward pass. Left out: found by itself.")
]
Licence = Annotated[
    str,
    typer.Option(metavar="permissive", help="Refuse encoders not known to allow commercial use."),
]
TrustRemoteCode = Annotated[
    bool, typer.Option("--trust-remote-code", help="Run code that comes with an encoder of the hub.")
]
InPart = Annotated[
    str, typer.Option("--part", metavar="I/N", help="Only every N-th row of the table, from row I on.")
]
Workers = Annotated[int | None, typer.Option(min=1, help="Decoding threads. Left out: found by itself.")]
"""Options that several commands share."""

_plain = partial(Console, highlight=False, emoji=False)
out = _plain()
err = _plain(stderr=True)


@contextmanager
def kept_if_writable(what: object) -> Iterator[None]:
    """Where the block cannot write because a folder is read-only, say that `what` is not kept, and go on."""
    try:
        yield
    except OSError as refused:
        if refused.errno not in (errno.EROFS, errno.EACCES, errno.EPERM):
            raise
        say(f"{what} is not kept: {refused.strerror}")


def say(message: str) -> None:
    """A message of progress or advice, on stderr so that piped results stay clean; names in it are inert."""
    err.print(inert_lines(message), markup=False, soft_wrap=True)


def table(
    title: str, columns: Sequence[str], rows: Iterable[Sequence[Cell]], caveats: Iterable[str] = ()
) -> None:
    """Print one table, see `show`."""
    show([Table(title, tuple(columns), tuple(tuple(row) for row in rows))], caveats)


def show(tables: Iterable[Table], caveats: Iterable[str] = ()) -> None:
    """Print tables one after the other, each with its notes below it.

    The caveats ("random weights", "synthetic audio") stand in the title, so no table is shown without them.
    """
    marks = ", ".join(caveats)
    for one in tables:
        # The title is a line of its own: a rich title folds to the width of its table.
        title = f"{one.title} ({marks})" if marks else one.title
        out.print(inert(title), markup=False, soft_wrap=True, style="bold")
        # A pipe has no width: never fold a figure.
        (out if out.is_terminal else _plain(file=sys.stdout, width=200)).print(one.text())
        for note in one.notes:
            out.print(f"  {inert(note)}", markup=False, soft_wrap=True)
        if one.notes:
            out.print()
