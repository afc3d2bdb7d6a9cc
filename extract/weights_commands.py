"""The command `weights`: fetch the published weights of encoders, and see that they load."""

from __future__ import annotations

from typing import Annotated

import typer

from mmmos.extract.request import ExtractRequest
from mmmos.store.console import REFUSED, say


def weights(
    encoders: Annotated[
        str, typer.Option(help="Comma-separated names; a wrong one lists the known.")
    ] = ExtractRequest.encoders,
    accept_licence: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Encoder whose licence you agree to; can be given several times."),
    ] = None,
) -> None:
    """Fetch the encoders' published weights and load each once; prints their terms and sizes first.

    Exit codes: 0 all are ready; 2 some are not, for the reason that is told.
    """
    from mmmos.extract.fetch_weights import make_ready

    names = list(dict.fromkeys(name.strip() for name in encoders.split(",") if name.strip()))
    accepted = [name.strip() for text in accept_licence or () for name in text.split(",")]
    ready = make_ready(names, accepted, say)
    say(f"{len(ready)} of {len(names)} ready")
    raise typer.Exit(0 if len(ready) == len(names) else REFUSED)
