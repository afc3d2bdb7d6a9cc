"""The command `extract`: from a clip table and its audio to stored features."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from mmmos.extract.compute import Compute
from mmmos.extract.request import ExtractRequest
from mmmos.store.console import Batch, Device, InPart, Licence, TrustRemoteCode, Weights, Work, Workers


def extract(
    context: typer.Context,
    clips: Annotated[
        Path | None,
        typer.Option(help="Clip table, CSV or JSONL. Left out: go on with the work folder's last one."),
    ] = None,
    audio_root: Annotated[
        Path | None, typer.Option(help="Folder that the table's paths are relative to.")
    ] = None,
    work: Work = Path("work"),
    encoders: Annotated[
        str, typer.Option(envvar="MMMOS_ENCODERS", help="Comma-separated names; a wrong one lists the known.")
    ] = ExtractRequest.encoders,
    weights: Weights = None,
    random_weights: Annotated[
        int | None, typer.Option(metavar="SEED", help="Untrained encoders; results will say so.")
    ] = None,
    size: Annotated[str, typer.Option(help="full, or tiny (random weights only).")] = ExtractRequest.size,
    layers: Annotated[
        str, typer.Option(help="Rule for the stored frames: mean, last, all or a layer's number.")
    ] = ExtractRequest.layers,
    device: Device = "auto",
    precision: Annotated[
        str,
        typer.Option(
            help="fp32; less exact, and faster where the hardware has it: bf16, on CUDA tf32, fp16."
        ),
    ] = ExtractRequest.precision,
    force_precision: Annotated[
        bool, typer.Option("--force-precision", help="Take it also where it is slower than fp32.")
    ] = False,
    batch: Batch = None,
    workers: Workers = None,
    stock: Annotated[
        bool, typer.Option("--stock", help="The published forward passes instead of our faster ones.")
    ] = False,
    scale: Annotated[
        str, typer.Option(metavar="LO,HI", help="Range that the scores live on.")
    ] = ExtractRequest.scale,
    axes: Annotated[
        str,
        typer.Option(
            metavar="NAME[=TITLE],...",
            help="Names of the table's axes, e.g. 'MOS=Overall,SIG'. Left out: TABLE.axes.json or CE..PQ.",
        ),
    ] = ExtractRequest.axes,
    split: Annotated[
        float | None, typer.Option(help="Train fraction, for a table without a split column, e.g. 0.8.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of that split.")] = ExtractRequest.seed,
    min_coverage: Annotated[
        float, typer.Option(help="Stop if fewer of the clips can be read.")
    ] = ExtractRequest.min_coverage,
    licence: Licence = "",
    trust_remote_code: TrustRemoteCode = False,
    cluster: Annotated[
        str, typer.Option(metavar="ADDRESS|local:N", help="Encode on the workers of a Dask cluster.")
    ] = "",
    part: InPart = "",
) -> None:
    """Stage one: every 10 s crop of the clips through the encoders; what is stored is not encoded again.

    With --part the work folder is WORK/parts/part-I-of-N; `store merge WORK/parts` puts all parts together.

    Exit codes: 0 done; 2 refused; 3 done, but some files are in rejects.csv; 4 too few files could be read.
    """
    from mmmos.extract.run import run
    from mmmos.store.part_work import part_folder
    from mmmos.store.parts import Part

    chosen: dict[str, Any] = {
        "clips": clips,
        "audio_root": audio_root,
        "encoders": encoders,
        "weights": weights,
        "random_weights": random_weights,
        "size": size,
        "layers": layers,
        "precision": precision,
        "scale": scale,
        "axes": axes,
        "split": split,
        "seed": seed,
        "min_coverage": min_coverage,
        "licence": licence,
        "trust_remote_code": trust_remote_code,
        "part": str(Part.parse(part)) if part else "",
    }
    work = part_folder(work, part)
    if clips is None:
        request = ExtractRequest.last(work, {n: v for n, v in chosen.items() if _was_given(context, n)})
    else:
        request = ExtractRequest(**{**chosen, "audio_root": audio_root or clips.parent})
    raise typer.Exit(run(request, work, Compute(device, batch, workers, stock, force_precision), cluster))


def _was_given(context: typer.Context, name: str) -> bool:
    source = context.get_parameter_source(name)
    return source is not None and source.name != "DEFAULT"
