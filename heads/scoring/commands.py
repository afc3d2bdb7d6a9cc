"""The commands of scoring: `predict`, `sensitivity`, `serve` and `push`."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mmmos.heads.scoring.opening import BundleOption, known_id, open_scorer, reporting
from mmmos.store.console import DAMAGED, OK, REJECTS, Batch, Device, Weights, Work, Workers, say, table
from mmmos.store.names import choose

if TYPE_CHECKING:
    from mmmos.heads.scoring.answers import Writer
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
) -> None:
    """Score audio: a score with intervals per axis, flags, a timeline if wanted; one row per file."""
    from mmmos.heads.scoring.answers import FORMATS, Writer
    from mmmos.heads.scoring.output_file import OutputFile, Settings, check_output
    from mmmos.heads.scoring.requests import list_requests

    requests = list_requests(files or (), audio_root)
    if not requests and not check:
        raise ValueError("nothing to score: name files, folders, patterns or lists")
    if domain:
        requests = [replace(request, domain=request.domain or domain) for request in requests]
    if resume and output is None:
        raise ValueError("--resume goes on with a file: name it by -o")
    chosen = form or ("csv" if output is not None and output.suffix.lower() == ".csv" else "jsonl")
    choose("format", chosen, FORMATS)
    hop_s = hop if timeline else None
    settings = Settings(hop_s, domain, known_id(bundle), loudness)
    if output is not None:
        check_output(output, settings, resume=resume)
    scorer = open_scorer(bundle, work, weights=weights, device=device, batch=batch, workers=workers)
    if check and (lines := scorer.check()):
        say("the golden scores differ here:\n  " + "\n  ".join(lines))
        raise typer.Exit(DAMAGED)
    if output is None:
        code = _write(scorer, requests, Writer(sys.stdout, chosen, scorer.axes), settings)
    else:
        settings = replace(settings, bundle=scorer.id)
        with OutputFile(output, chosen, scorer.axes, requests, settings, resume=resume) as file:
            if file.done:
                say(f"{output}: {file.done} of {len(requests)} are there, going on")
            code = _write(scorer, requests[file.done :], file.writer, settings, errors=file.errors)
    raise typer.Exit(code)


def _write(
    scorer: Scorer, requests: Sequence[AudioRequest], writer: Writer, settings: Settings, errors: int = 0
) -> int:
    """Score and write; `errors` are those that a resumed file holds already.  Returns the exit code."""
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
    return REJECTS if errors else OK


def adopt(
    bundle: Annotated[str, typer.Argument(help="A bundle's folder, owner/name on the hub, or audiobox.")],
    work: Work = Path("work"),
    weights: Weights = None,
) -> None:
    """Keep what a bundle says of a work folder's clips as features: `heads --preset size` starts from it."""
    from mmmos.heads.scoring import prior

    source = prior.open_source(bundle, weights)
    spec = prior.adopt(work, source)
    say(f"{spec.id}: {', '.join(source.axes)} of {source.id} in {work / 'features'}")


def sensitivity(
    audio: Annotated[str, typer.Option(help="Folder, pattern or list of audio to try it on.")],
    bundle: BundleOption = "",
    work: Work = Path("work"),
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder for table and plot. Left out: the bundle's.")
    ] = None,
    weights: Weights = None,
    device: Device = "auto",
    batch: Batch = None,
    workers: Workers = None,
) -> None:
    """What level, rate, channels, coding, silence and start do to the scores; kept in the model card."""
    from mmmos.heads.scoring.requests import list_requests
    from mmmos.heads.scoring.sensitivity import measure_sensitivity, plot, refuse_others, write_card

    requests = list_requests([audio])
    if output is not None:
        refuse_others(output)
    scorer = open_scorer(bundle, work, weights=weights, device=device, batch=batch, workers=workers)
    card = measure_sensitivity(scorer, requests)
    table(
        f"Mean shift (mean absolute shift) over {card.files} files, in points",
        ("change", *card.axes, "largest"),
        [
            (
                row.change,
                *(f"{row.shift[axis]:+.3f} ({row.size[axis]:.3f})" for axis in card.axes),
                max(row.largest.values()),
            )
            for row in card.rows
        ],
        card.caveats,
    )
    for path, reason in card.errors:
        say(f"{path}: {reason}")
    folder = Path(bundle) if bundle else work / "bundle"
    if output is not None:
        write_card(card, output)
        say(f"kept as {output}/sensitivity.csv, .json and .svg")
    elif (folder / "bundle.json").is_file():
        from mmmos.heads.scoring.export import add_to_bundle

        add_to_bundle(folder, "sensitivity", card.to_json(), {"sensitivity.svg": plot(card)})
        say(f"kept in {folder}: model card and sensitivity.svg")
    raise typer.Exit(REJECTS if card.errors else OK)


def serve(
    bundle: BundleOption = "",
    work: Work = Path("work"),
    port: Annotated[int | None, typer.Option(help="Left out: the first free one from 7860.")] = None,
    address: Annotated[
        str, typer.Option(help="Listen on this address, so that other machines can reach the page.")
    ] = "127.0.0.1",
    weights: Weights = None,
    device: Device = "auto",
    batch: Batch = None,
) -> None:
    """A page on this machine: drop a file, see its scores with intervals and a timeline (needs gradio)."""
    from mmmos.heads.scoring.serve import serving
    from mmmos.heads.scoring.serve_guard import LOCAL

    scorer = open_scorer(bundle, work, weights=weights, device=device, batch=batch)
    with serving(scorer, port, address) as url:
        whose = "on this machine alone" if address == LOCAL else f"on {address}, for all who can reach it"
        say(f"listening at {url}, {whose}, until Ctrl-C")
        while True:
            time.sleep(3600)


def push(
    bundle: Annotated[Path, typer.Argument(help="A bundle's folder.")],
    repository: Annotated[str, typer.Argument(help="owner/name on the Hugging Face hub.")],
    public: Annotated[
        bool, typer.Option("--public", help="Visible to everybody. Left out: private.")
    ] = False,
) -> None:
    """Upload a bundle to the Hugging Face hub, with the account that `hf auth login` knows."""
    from mmmos.heads.scoring.hub import push_to_hub

    say(push_to_hub(bundle, repository, private=not public))


def export(work: Path, folder: Path, repository: str = "") -> None:
    """For `ensemble --export`: write a work folder's ensemble as a bundle; upload it where asked to."""
    from mmmos.heads.scoring.export import export_bundle
    from mmmos.heads.scoring.hub import push_to_hub

    export_bundle(work, folder)
    say(f"bundle with its model card: {folder}")
    if repository:
        say(push_to_hub(folder, repository))
