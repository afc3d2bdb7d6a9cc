"""The command `predict`: audio in, a row of scores for each file out."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mmmos.heads.scoring.opening import (
    BundleOption,
    bundle_meant,
    known_id,
    open_scorer,
    reporting,
    say_opened,
)
from mmmos.store.console import DAMAGED, OK, REJECTS, Batch, Device, InPart, Weights, Work, Workers, say
from mmmos.store.names import choose

if TYPE_CHECKING:
    from mmmos.heads.scoring.answers import Writer
    from mmmos.heads.scoring.cluster import ClusterScorer
    from mmmos.heads.scoring.output_file import Settings
    from mmmos.heads.scoring.requests import AudioRequest
    from mmmos.heads.scoring.scorer import Scorer


def predict(
    files: Annotated[
        list[str] | None,
        typer.Argument(
            help="Audio files, folders, patterns, .csv with a path column, .jsonl as audiobox has it."
        ),
    ] = None,
    bundle: BundleOption = "",
    work: Work = Path("work"),
    output: Annotated[Path | None, typer.Option("--output", "-o", help="A file. Left out: stdout.")] = None,
    form: Annotated[
        str, typer.Option("--format", help="jsonl or csv. Left out: by the output's suffix, else jsonl.")
    ] = "",
    timeline: Annotated[
        bool, typer.Option("--timeline", help="Scores of overlapping 10 s windows too.")
    ] = False,
    hop: Annotated[float, typer.Option(min=1, max=10, help="Seconds from one window to the next.")] = 5.0,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with an output file that was interrupted.")
    ] = False,
    audio_root: Annotated[
        Path | None, typer.Option(help="Where the relative paths of a list begin. Left out: beside it.")
    ] = None,
    domain: Annotated[
        str, typer.Option(help="Kind of all the audio, where known: narrows the intervals.")
    ] = "",
    loudness: Annotated[
        float | None,
        typer.Option(
            min=-70, max=0, help="First bring each file to this loudness in LUFS, as -23. Left out: as it is."
        ),
    ] = None,
    weights: Weights = None,
    device: Device = "auto",
    batch: Batch = None,
    workers: Workers = None,
    check: Annotated[
        bool, typer.Option("--check", help="First compare this installation with the bundle's golden scores.")
    ] = False,
    cluster: Annotated[
        str, typer.Option(metavar="ADDRESS|local:N", help="Score on the workers of a Dask cluster.")
    ] = "",
    part: InPart = "",
    join: Annotated[
        bool, typer.Option("--join", help="Put the files of all parts of -o together; nothing is scored.")
    ] = False,
) -> None:
    """Score audio: a score with intervals per axis, flags, a timeline if wanted; one row per file.

    With --part the answers go into a file beside -o, NAME.part-I-of-N, and the same command goes on with it.
    """
    from mmmos.heads.scoring.answers import FORMATS
    from mmmos.heads.scoring.output_file import Settings, check_output
    from mmmos.heads.scoring.requests import digest_of, list_requests
    from mmmos.heads.scoring.score_parts import part_path, scored_part
    from mmmos.store.parts import Part
    from mmmos.store.suffixes import TABLES

    if join:
        raise typer.Exit(_join(files, output))
    ours = Part.parse(part)
    requests = list_requests(files or (), audio_root, ours)
    if not requests and not check:
        raise ValueError("nothing to score: name files, folders, patterns or lists")
    if domain:
        requests = [replace(request, domain=request.domain or domain) for request in requests]
    if (resume or part) and output is None:
        raise ValueError(f"{'--part' if part else '--resume'} needs a file: name it by -o")
    if output is not None and output.suffix.lower() in TABLES:
        raise ValueError(f"{output}: scores are written as .csv, which spreadsheets open, or as .jsonl")
    chosen = form or ("csv" if output is not None and output.suffix.lower() == ".csv" else "jsonl")
    choose("format", chosen, FORMATS)
    settings = Settings(hop if timeline else None, domain, known_id(bundle), loudness)
    if output is not None and part:
        output = part_path(output, ours)
        settings = replace(settings, part=str(ours), asked=digest_of((files or [""])[0]))
        if (done := scored_part(output, settings)) is not None:
            say(f"{output}: all of its {done.answers} answers are there")
            raise typer.Exit(REJECTS if done.errors else OK)
        resume = output.exists()
    if output is not None:
        check_output(output, settings, resume=resume)
    compute = device, batch, workers
    scorer: Scorer | ClusterScorer
    with ExitStack() as stack:
        if cluster:
            scorer = _on_cluster(stack, cluster, bundle_meant(bundle, work), weights, compute)
        else:
            scorer = open_scorer(bundle, work, weights=weights, device=device, batch=batch, workers=workers)
        if check and (lines := scorer.check()):
            say("the golden scores differ here:\n  " + "\n  ".join(lines))
            raise typer.Exit(DAMAGED)
        errors = _write(scorer, requests, settings, output, chosen, resume=resume)
    raise typer.Exit(REJECTS if errors else OK)


def _on_cluster(
    stack: ExitStack,
    cluster: str,
    bundle: str,
    weights: Path | None,
    compute: tuple[str, int | None, int | None],
) -> ClusterScorer:
    from mmmos.extract.front import Compute, machines
    from mmmos.heads.scoring.cluster import ClusterScorer

    scorer = ClusterScorer(stack.enter_context(machines(cluster, Compute(*compute))), bundle, weights)
    say_opened(scorer.with_intervals, scorer.caveats)
    return scorer


def _join(files: list[str] | None, output: Path | None) -> int:
    from mmmos.heads.scoring.score_parts import join

    if files or output is None:
        raise ValueError("--join takes the parts of -o NAME, and no files: predict --join -o scores.csv")
    answers, errors = join(output)
    say(f"{output}: {answers} answers" + (f", {errors} of them errors" if errors else ""))
    return REJECTS if errors else OK


def _write(
    scorer: Scorer | ClusterScorer,
    requests: Sequence[AudioRequest],
    settings: Settings,
    output: Path | None,
    form: str,
    *,
    resume: bool,
) -> int:
    """Score what is not answered yet, and write it; returns how many answers are errors."""
    from mmmos.heads.scoring.answers import Writer
    from mmmos.heads.scoring.output_file import OutputFile
    from mmmos.heads.scoring.score_parts import finish

    if output is None:
        return _answer(scorer, requests, Writer(sys.stdout, form, scorer.axes), settings)
    settings = replace(settings, bundle=scorer.id)
    with OutputFile(output, form, scorer.axes, requests, settings, resume=resume) as file:
        if file.done:
            say(f"{output}: {file.done} of {len(requests)} are there, going on")
        errors = _answer(scorer, requests[file.done :], file.writer, settings, errors=file.errors)
    if settings.part:
        finish(output, settings, form, len(requests), errors)
    return errors


def _answer(
    scorer: Scorer | ClusterScorer,
    requests: Sequence[AudioRequest],
    writer: Writer,
    settings: Settings,
    errors: int = 0,
) -> int:
    """`_write` into an open file; `errors` are those that a resumed one holds already."""
    audio_s = 0.0
    answers = scorer.stream(requests, hop_s=settings.hop_s, loudness_lufs=settings.loudness_lufs)
    for answer in reporting(answers, len(requests)):
        writer.write(answer)
        errors += "error" in answer
        audio_s += answer.get("seconds", 0.0)
    say(
        f"{len(requests) - errors} scored, {audio_s:.0f} s of audio"
        + (f", {errors} could not be read" if errors else "")
    )
    return errors
