"""The command `prepare table`: from ratings as people have them to a clip table; `train` begins with it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mmmos.store.console import say, table

if TYPE_CHECKING:
    from mmmos.store.ratings.reader import Reading
    from mmmos.store.ratings.roles import Wishes

Ratings = Annotated[Path, typer.Argument(help="Table of ratings, in any form of docs/tables.md.")]
Audio = Annotated[
    Path | None, typer.Option(help="Folder with the audio, or a wav.scp. Left out: the table's folder.")
]
AxisNames = Annotated[
    str, typer.Option(metavar="NAME[=TITLE],...", help="Columns that hold ratings. Left out: guessed.")
]
ScaleOf = Annotated[
    str, typer.Option(metavar="LO,HI|AXIS=LO:HI,...", help="Range of the ratings. Left out: guessed.")
]
Columns = Annotated[
    list[str] | None,
    typer.Option("--column", metavar="ROLE=NAME", help="What a column is: path=wav, group=song, split="),
]
Split = Annotated[
    float | None, typer.Option(help="Train fraction for a table without splits; left out, all clips train.")
]
MissingShare = Annotated[float, typer.Option(help="Stop if fewer of the audio files can be used.")]
"""Options that `prepare table` and `train` share."""

MIN_COVERAGE = 0.95


def wishes_of(axes: str, scale: str, columns: Sequence[str] | None, split: float | None, seed: int) -> Wishes:
    """The options as wishes; ValueError for a --column that is not ROLE=NAME."""
    from mmmos.store.ratings.roles import Wishes

    pairs = {}
    for text in columns or ():
        role, sign, name = text.partition("=")
        if not (role and sign):
            raise ValueError(f"--column takes ROLE=NAME, as in path=wav_path, not {text!r}")
        pairs[role.strip()] = name.strip()
    return Wishes(axes, scale, pairs, split, seed)


def understood(path: Path, audio: Path | None, wishes: Wishes, min_coverage: float) -> Reading:
    """Read ratings and tell what was understood; ValueError where too many audio files are not there."""
    from mmmos.store.ratings.reader import read_ratings

    reading = read_ratings(path, audio, wishes)
    tell(reading, path)
    found, named = len(reading.table), len(reading.table) + len(reading.missing)
    if found < min_coverage * named:
        raise ValueError(
            f"{len(reading.missing)} of {named} audio files are not below {reading.audio_root}, the first of "
            f"them {reading.missing[0]!r}: name the right folder with --audio, or go on with the rest by "
            f"--min-coverage {found / named:.2f}"
        )
    return reading


def tell(reading: Reading, path: Path) -> None:
    """Print what a table was taken for."""
    table(
        f"What {path} is taken for",
        ("what", "understood as", "changed by"),
        [(one.what, one.how, one.option) for one in reading.understood],
    )


RATERS = ("id", "axis", "rater", "rating")
BESIDE = {".raters.csv": ",".join(RATERS), "-findings.csv": "id,path,split,kind,detail"}
"""What may be written beside a clip table: ends of names, and how such files begin."""


def refuse_existing(output: Path) -> None:
    """ValueError where a clip table, or what lies beside it, would take the place of a file that is there."""
    if os.path.lexists(output):
        raise ValueError(f"{output} is already there: name another table by -o, or remove it")
    refuse_beside(output)


def refuse_beside(output: Path) -> None:
    """ValueError where what is written beside a clip table would take the place of somebody's file."""
    from mmmos.store import folders

    for end, mark in BESIDE.items():
        folders.refuse_foreign_file(output.with_name(output.stem + end), [mark], "list beside a clip table")


def keep(reading: Reading, output: Path) -> None:
    """Write a reading as a clip table, its axes beside it, and who gave each rating where that is known."""
    from mmmos.store import files
    from mmmos.store.axes import axes_beside, axes_path
    from mmmos.store.clips import write_clips
    from mmmos.store.schema import AES_AXES

    # A table of ours has a sidecar of ours.
    if not output.exists() and axes_beside(output) not in (None, reading.table.axes):
        raise ValueError(f"{axes_path(output)} names other axes: name another table by -o, or remove it")
    if output.exists() and reading.table.axes == AES_AXES and axes_path(output).exists():
        files.remove(axes_path(output))
    if reading.raters:
        files.write_csv(output.with_name(f"{output.stem}.raters.csv"), RATERS, reading.raters)
    write_clips(reading.table, output)


def scale_text(reading: Reading) -> str:
    """The scale as --scale takes it."""
    scale, axes = reading.table.scale, reading.table.axes
    if not scale.ends:
        return f"{scale.low:g},{scale.high:g}"
    return ",".join(f"{a}={low:g}:{high:g}" for a, (low, high) in zip(axes, scale.ends, strict=True))


def table_command(
    ratings: Ratings,
    audio: Audio = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="The clip table to write.")] = Path(
        "clips.csv"
    ),
    axes: AxisNames = "",
    scale: ScaleOf = "",
    column: Columns = None,
    split: Split = None,
    seed: Annotated[int, typer.Option(help="Seed of that split.")] = 0,
    min_coverage: MissingShare = MIN_COVERAGE,
) -> None:
    """Write a clip table from ratings in any form of docs/tables.md, and say what was understood."""
    refuse_existing(output)
    reading = understood(ratings, audio, wishes_of(axes, scale, column, split, seed), min_coverage)
    keep(reading, output)
    say(
        f"written: {output}. Go on: mmmos extract --clips {output} --audio-root {reading.audio_root} "
        f"--scale={scale_text(reading)}"
    )
