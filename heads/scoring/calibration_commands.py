"""The command `calibrate`: intervals for a bundle from a user's own ratings."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mmmos.heads.scoring.opening import BundleOption, folder_of, open_scorer, reporting
from mmmos.store.console import OK, REJECTS, Batch, Device, Weights, Work, Workers, say, table


def calibrate(
    clips: Annotated[
        Path,
        typer.Option(help="Table of clips that you have rated: path, a column an axis, domain if known."),
    ],
    bundle: BundleOption = "",
    work: Work = Path("work"),
    audio_root: Annotated[
        Path | None, typer.Option(help="Where the table's paths begin. Left out: beside it.")
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", help="Folder for the bundle. Left out: in place, for audiobox ./audiobox."
        ),
    ] = None,
    weights: Weights = None,
    device: Device = "auto",
    batch: Batch = None,
    workers: Workers = None,
) -> None:
    """Give a bundle intervals from ratings of your own, of clips that it was not trained on."""
    from mmmos.heads.scoring.bundle_folder import refuse_other
    from mmmos.heads.scoring.calibration import calibrate_bundle, rated_requests, save_calibrated
    from mmmos.store import files
    from mmmos.store.clips import read_clips

    folder = output or folder_of(bundle, work)
    refuse_other(folder)
    files.close(files.open_regular(clips.resolve()))
    scorer = open_scorer(bundle, work, weights=weights, device=device, batch=batch, workers=workers)
    rated = read_clips(clips, scale=scorer.bundle.scale, axes=scorer.bundle.axes)
    requests = rated_requests(rated, clips.parent if audio_root is None else audio_root)
    answers = list(reporting(scorer.stream(requests), len(requests)))
    unread = [answer for answer in answers if "error" in answer]
    for answer in unread:
        say(f"{answer['path']}: {answer['error']}")
    if answers and len(unread) == len(answers):
        raise ValueError(
            f"none of the {len(answers)} rated clips can be read: --audio-root names their folder"
        )
    made = calibrate_bundle(
        scorer.bundle, rated, answers, f"{len(answers) - len(unread)} clips of {clips.name}"
    )
    save_calibrated(made, folder)
    table(
        "Intervals, cross-checked over left-out fifths of these clips",
        ("axis", "domain", "promised", "covered", "mean width", "n"),
        [
            (c.axis, c.domain, f"{c.level:.0%}", f"{c.share:.1%}", c.width, c.n)
            for c in made.intervals.coverage
        ],
        scorer.caveats,
    )
    say(f"kept in {folder}: score with `mmmos predict FILES... --bundle {folder}`")
    raise typer.Exit(REJECTS if unread else OK)
