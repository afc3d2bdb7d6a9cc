"""The command `train`: one command from a listening test to a predictor."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mmmos.extract.corpora.table_command import (
    MIN_COVERAGE,
    Audio,
    AxisNames,
    Columns,
    MissingShare,
    Ratings,
    ScaleOf,
    Split,
    keep,
    scale_text,
    understood,
    wishes_of,
)
from mmmos.heads.options import TensorBoard
from mmmos.store import noted
from mmmos.store.console import Device, Licence, TrustRemoteCode, Weights, say
from mmmos.store.work_folder import refuse_foreign_work

if TYPE_CHECKING:
    from mmmos.extract.request import ExtractRequest
    from mmmos.store.ratings.reader import Reading
    from mmmos.train.verdict import Verdict

ENCODERS = "logmel,fullband"
"""What needs no weights, no licence and no GPU."""


def train(
    ratings: Ratings,
    audio: Audio = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder of the bundle. Left out: WORK/bundle.")
    ] = None,
    work: Annotated[
        Path | None, typer.Option(help="Folder of the experiment. Left out: the table's name and -work.")
    ] = None,
    axes: AxisNames = "",
    scale: ScaleOf = "",
    column: Columns = None,
    split: Split = None,
    encoders: Annotated[
        str, typer.Option(envvar="MMMOS_ENCODERS", help="Comma-separated names; a wrong one lists the known.")
    ] = ENCODERS,
    weights: Weights = None,
    licence: Licence = "",
    trust_remote_code: TrustRemoteCode = False,
    start: Annotated[
        str,
        typer.Option(
            "--from",
            metavar="BUNDLE",
            help="Start from this bundle's scores too: a folder, owner/name on the hub, or audiobox.",
        ),
    ] = "",
    preset: Annotated[
        str,
        typer.Option(help="size: heads and values by the number of clips; paper: the paper's sixteen."),
    ] = "size",
    minutes: Annotated[
        float | None, typer.Option(min=0.1, help="Stop training in time to be done after so many minutes.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what is understood and would be done, and stop.")
    ] = False,
    min_coverage: MissingShare = MIN_COVERAGE,
    jobs: Annotated[int, typer.Option(min=0, help="Processes; 0: one per processor.")] = 0,
    device: Device = "auto",
    seed: Annotated[int, typer.Option(help="Seed of splits and heads.")] = 0,
    tensorboard: TensorBoard = False,
) -> None:
    """From ratings and audio to a bundle that scores new audio, and how far it can be trusted.

    Says what it understands of the table, makes features, trains heads, chooses and calibrates an ensemble,
    writes the bundle and a report.  Running it again goes on from where it stopped.
    """
    from mmmos.extract.compute import Compute
    from mmmos.extract.request import ExtractRequest
    from mmmos.train import steps

    deadline = steps.Deadline.of(minutes)
    source = steps.source(start, preset, weights)
    work = work or Path(f"{ratings.stem}-work")
    output = output or work / "bundle"
    clips = work / "clips.csv"
    refuse_foreign_work(work)
    steps.refuse_others(clips, output, work)
    reading = understood(ratings, audio, wishes_of(axes, scale, column, split, seed), min_coverage)
    steps.refuse_too_few(reading.table)
    request = ExtractRequest(
        clips,
        reading.audio_root,
        steps.encoders_for(encoders, source),
        weights,
        scale=scale_text(reading),
        seed=seed,
        min_coverage=min_coverage,
        licence=licence,
        trust_remote_code=trust_remote_code,
    )
    steps.refuse_unknown(preset, request)
    options = _given(reading, axes, scale, column, split)
    lines = by_hand(ratings, options, request, work, preset, output, start)
    say("\n".join(["the same by hand:", *(f"  {line}" for line in lines)]))
    if dry_run:
        return
    with noted.noting(work, clips.name, "clips.axes.json", "clips.raters.csv"):
        keep(reading, clips)
    steps.extract(request, work, Compute(device), deadline)
    steps.start_from(work, source)
    steps.train_heads(work, preset, deadline, seed=seed, jobs=jobs, device=device, tensorboard=tensorboard)
    found = steps.judge(steps.choose(work))
    steps.export(work, output, found, weights)
    _tell(found, output)


def by_hand(
    ratings: Path,
    options: Sequence[str],
    request: ExtractRequest,
    work: Path,
    preset: str,
    output: Path,
    start: str = "",
) -> list[str]:
    """The commands that do the same step by step."""
    about = ("--encoders", request.encoders, f"--scale={request.scale}")
    lines: list[Sequence[object]] = [
        ("prepare", "table", ratings, *options, "-o", request.clips),
        ("extract", "--clips", request.clips, "--audio-root", request.audio_root, *about, "--work", work),
        *[("adopt", start, "--work", work)] * bool(start),
        ("heads", "--preset", preset, "--seed", request.seed, "--work", work),
        ("ensemble", "--export", output, "--work", work),
        ("evaluate", "--work", work),
        ("report", "--work", work),
    ]
    return ["mmmos " + shlex.join(map(str, line)) for line in lines]


def _given(
    reading: Reading, axes: str, scale: str, columns: Sequence[str] | None, split: float | None
) -> list[str]:
    """The options about the table, as they were understood."""
    options = ["--audio", str(reading.audio_root)]
    options += ["--axes", axes] * bool(axes) + [f"--scale={scale}"] * bool(scale)
    options += [word for column in columns or () for word in ("--column", column)]
    return options + (["--split", str(split)] if split is not None else [])


def _tell(found: Verdict, output: Path) -> None:
    """The last words, on stdout so that they can be kept."""
    for line in found.lines:
        typer.echo(line)
    for warning in found.warnings:
        typer.echo(f"beware: {warning}")
    say(f"score audio with it: mmmos predict FILES --bundle {output}")
