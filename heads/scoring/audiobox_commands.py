"""The command `audio-aes`, as that of the package `audiobox_aesthetics`; and the baseline of `evaluate`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from mmmos.store.console import OK, REJECTS, Device, say


def audio_aes(
    input_file: Annotated[
        Path,
        typer.Argument(
            help='JSON lines {"path": ..., "start_time": s, "end_time": s}; times may be left out.'
        ),
    ],
    ckpt: Annotated[
        Path | None,
        typer.Option(help="The published checkpoint, or a folder with it. Left out: found by itself."),
    ] = None,
    batch_size: Annotated[
        int,
        typer.Option(
            min=1, help="At most so many 10 s windows at a time; fewer where the device is faster so."
        ),
    ] = 100,
    device: Device = "auto",
) -> None:
    """Scores as audiobox-aesthetics' own `audio-aes` prints them: one JSON line for each line, in order."""
    from mmmos.extract.front import Compute
    from mmmos.heads.scoring.answers import json_line
    from mmmos.heads.scoring.audio_aes import AesPredictor
    from mmmos.heads.scoring.requests import MAX_LIST_BYTES
    from mmmos.store.device import choose_device
    from mmmos.store.rows import JSON_SUFFIXES, convert, read_rows, refusal

    rows, reasons = convert(read_rows(input_file, MAX_LIST_BYTES, suffix=JSON_SUFFIXES[0]), dict)
    if reasons:
        raise ValueError(refusal(str(input_file), reasons))
    batch = min(batch_size, Compute(device).batch_on(choose_device(device)))
    predictor = AesPredictor(ckpt, device=device, batch=batch)
    errors = 0
    for answer in predictor.answers(list(rows.values())):
        errors += "error" in answer
        sys.stdout.write(json_line(answer))
        sys.stdout.flush()
    if errors:
        say(f"{errors} of {len(rows)} could not be read: their lines say why")
    raise typer.Exit(REJECTS if errors else OK)


def predict_baseline(work: Path, audio_root: Path | None, weights: Path | None, device: str) -> None:
    """For `evaluate --baseline audiobox`: have its predictions stored, see `baseline.predict_audiobox`."""
    from mmmos.heads.scoring.baseline import predict_audiobox

    predict_audiobox(work, audio_root, weights, device)
