"""The command `extract`: from a clip table and its audio to stored features."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer
from click.core import ParameterSource

from store.console import COVERAGE, REJECTS, say, table

PAPER_ENCODERS = "wavlm,muq,m2d"

Work = Annotated[Path, typer.Option(help="Folder of this experiment: table, features, runs, ensemble.")]


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
        str, typer.Option(envvar="MMMOS_ENCODERS", help="Comma-separated: wavlm, muq, muq16k, m2d, logmel.")
    ] = PAPER_ENCODERS,
    weights: Annotated[
        Path | None, typer.Option(help="Folder with pretrained weights. Left out: the hub and its cache.")
    ] = None,
    random_weights: Annotated[
        int | None, typer.Option(metavar="SEED", help="Untrained encoders; results will say so.")
    ] = None,
    size: Annotated[str, typer.Option(help="full, or tiny (random weights only).")] = "full",
    layers: Annotated[
        str, typer.Option(help="Rule for the stored frames: mean, last, all or a layer's number.")
    ] = "mean",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:K.")] = "auto",
    precision: Annotated[str, typer.Option(help="fp32, or bf16 (faster, less exact).")] = "fp32",
    batch: Annotated[
        int | None, typer.Option(min=1, help="Crops per forward pass. Left out: found by itself.")
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Decoding threads. Left out: found by itself.")
    ] = None,
    stock: Annotated[
        bool, typer.Option("--stock", help="The published forward passes instead of our faster ones.")
    ] = False,
    scale: Annotated[str, typer.Option(metavar="LO,HI", help="Range that the scores live on.")] = "0,10",
    split: Annotated[
        float | None, typer.Option(help="Train fraction, for a table without a split column, e.g. 0.8.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of that split.")] = 0,
    min_coverage: Annotated[float, typer.Option(help="Stop if fewer of the clips can be read.")] = 0.95,
) -> None:
    """Stage one: every 10 s crop of the clips through the encoders; what is stored is not encoded again.

    Exit codes: 0 done; 2 refused; 3 done, but some files are in rejects.csv; 4 too few files could be read.
    """
    request = {
        "clips": clips and str(clips.resolve()),
        "audio_root": audio_root and str(audio_root.resolve()),
        "encoders": encoders,
        "weights": weights and str(weights.resolve()),
        "random_weights": random_weights,
        "size": size,
        "layers": layers,
        "precision": precision,
        "scale": scale,
        "split": split,
        "seed": seed,
        "min_coverage": min_coverage,
    }
    chosen = {name for name in request if context.get_parameter_source(name) is not ParameterSource.DEFAULT}
    request = _remembered(request, chosen, work)
    raise typer.Exit(run(request, work, device=device, batch=batch, workers=workers, stock=stock))


def run(
    request: dict[str, Any],
    work: Path,
    *,
    device: str = "auto",
    batch: int | None = None,
    workers: int | None = None,
    stock: bool = False,
    caveats: tuple[str, ...] = (),
) -> int:
    """Survey the audio, encode what is missing, keep the table of what could be read; the exit code.

    caveats: what every result on this table has to say, e.g. "synthetic audio".
    """
    from extract.extraction import CoverageError, check_coverage, shared_audio, survey, write_rejects
    from extract.extraction import extract as encode_missing
    from store.clips import ClipTable, read_clips, save_table

    clips, root = Path(request["clips"]), Path(request["audio_root"])
    written = read_clips(
        clips,
        audio_root=root,
        scale=parse_scale(request["scale"]),
        train_fraction=request["split"],
        seed=request["seed"],
    )
    networks = load_encoders(request, device=device, stock=stock)
    surveyed, rejects = survey(replace(written, caveats=caveats), root, work / "survey.json", workers)
    for warning in shared_audio(surveyed.clips):
        say(f"warning: {warning}")
    try:
        check_coverage(len(written), rejects, request["min_coverage"])
        done = encode_missing(surveyed, root, networks, work / "features", batch=batch, workers=workers)
        rejects = [*rejects, *done.rejects]
        check_coverage(len(written), rejects, request["min_coverage"])
    except CoverageError as error:
        write_rejects(work / "rejects.csv", rejects)
        say(f"stopped: {error}. All reasons: {work / 'rejects.csv'}")
        return COVERAGE
    write_rejects(work / "rejects.csv", rejects)
    lost = {reject.id for reject in rejects}
    kept = ClipTable(tuple(c for c in surveyed if c.id not in lost), surveyed.scale, surveyed.caveats)
    save_table(kept, work / "clips.json")
    table(
        f"Features of {len(kept)} clips, {done.crops} crops, in {work / 'features'}",
        ("encoder", "signature", "newly encoded", "frames", "layers", "weights"),
        (
            (
                e.spec.name,
                e.spec.id,
                done.encoded[e.spec.name],
                f"{e.spec.frames} x {e.spec.frame_dim}",
                e.spec.layers,
                e.spec.weights[:20],
            )
            for e in networks
        ),
        kept.caveats,
    )
    if rejects:
        say(f"{len(rejects)} of {len(written)} clips could not be read; reasons in {work / 'rejects.csv'}")
    return REJECTS if rejects else 0


def load_encoders(request: dict[str, Any], *, device: str = "auto", stock: bool = False) -> list[Any]:
    """The encoders of a request, in its order, on the device."""
    from extract.audio import AUDIO_RECIPE
    from extract.encoders import load_encoder
    from extract.extraction import choose_device

    names = [name.strip() for name in request["encoders"].split(",") if name.strip()]
    if not names or len(set(names)) != len(names):
        raise ValueError(f"--encoders takes different names separated by commas, not {request['encoders']!r}")
    return [
        load_encoder(
            name,
            audio_recipe=AUDIO_RECIPE,
            weights=Path(request["weights"]) if request["weights"] else None,
            random_seed=request["random_weights"],
            size=request["size"],
            layer=request["layers"],
            precision=request["precision"],
            device=choose_device(device),
            stock=stock,
        )
        for name in names
    ]


def parse_scale(text: str) -> Any:
    """ "0,100" as a Scale; ValueError says what was expected."""
    from store.schema import Scale

    try:
        low, high = (float(part) for part in text.split(","))
    except ValueError:
        raise ValueError(
            f"--scale takes two numbers separated by a comma, as in 0,10, not {text!r}"
        ) from None
    return Scale(low, high)


def _remembered(request: dict[str, Any], chosen: set[str], work: Path) -> dict[str, Any]:
    """The request; without a table, the work folder's last one with what was `chosen` put over it."""
    from store.files import write_text

    path = work / "extract.json"
    if request["clips"] is None:
        if not path.exists():
            raise ValueError(f"no --clips given, and {work} has no earlier extraction to go on with")
        last = json.loads(path.read_text(encoding="utf-8"))
        request = last | {name: request[name] for name in chosen}
        say(f"going on with the table and settings of {path}")
    elif request["audio_root"] is None:
        request = {**request, "audio_root": str(Path(request["clips"]).parent)}
    write_text(path, json.dumps(request, indent=1) + "\n")
    return request
