"""The commands of scoring beside `predict`: `sensitivity`, `serve` and `push`."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from mmmos.heads.scoring.opening import BundleOption, open_scorer
from mmmos.store.console import OK, REJECTS, Batch, Device, Weights, Work, Workers, say, table


def adopt(
    bundle: Annotated[str, typer.Argument(help="A bundle's folder, owner/name on the hub, or audiobox.")],
    work: Work = Path("work"),
    weights: Weights = None,
) -> None:
    """Keep what a bundle says of a work folder's clips as features: `heads --preset size` starts from it."""
    from mmmos.heads.scoring import prior

    refuse_other(work / prior.FOLDER)
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
    folder = Path(bundle) if bundle else work / "bundle"
    if output is not None:
        refuse_others(output)
    elif (folder / "bundle.json").is_file():
        refuse_other(folder)
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
    port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="Left out: the first free one from 7860.")
    ] = None,
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


def refuse_other(folder: Path) -> None:
    """For `ensemble --export`: ValueError where a folder holds something that is not a bundle of ours."""
    from mmmos.heads.scoring import bundle_folder

    bundle_folder.refuse_other(folder)


def export(work: Path, folder: Path, repository: str = "") -> None:
    """For `ensemble --export`: write a work folder's ensemble as a bundle; upload it where asked to."""
    from mmmos.heads.scoring.export import export_bundle
    from mmmos.heads.scoring.hub import push_to_hub

    export_bundle(work, folder)
    say(f"bundle with its model card: {folder}")
    if repository:
        say(push_to_hub(folder, repository))
