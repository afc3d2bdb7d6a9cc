"""The command `extract`: from a clip table and its audio to stored features."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mmmos.store.console import COVERAGE, REJECTS, say, table
from mmmos.store.names import choose

if TYPE_CHECKING:
    from mmmos.extract.encoders import Encoder
    from mmmos.store.schema import Scale

LAST = "extract.json"
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
    cluster: Annotated[
        str, typer.Option(metavar="ADDRESS|local:N", help="Encode on the workers of a Dask cluster.")
    ] = "",
) -> None:
    """Stage one: every 10 s crop of the clips through the encoders; what is stored is not encoded again.

    Exit codes: 0 done; 2 refused; 3 done, but some files are in rejects.csv; 4 too few files could be read.
    """
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
        "split": split,
        "seed": seed,
        "min_coverage": min_coverage,
    }
    if clips is None:
        given = {name for name in chosen if _was_given(context, name)}
        request = Request.last(work, {name: chosen[name] for name in given})
    else:
        request = Request(**{**chosen, "audio_root": audio_root or clips.parent})
    raise typer.Exit(
        run(request, work, device=device, batch=batch, workers=workers, stock=stock, cluster=cluster)
    )


def _was_given(context: typer.Context, name: str) -> bool:
    source = context.get_parameter_source(name)
    return source is not None and source.name != "DEFAULT"


@dataclass(frozen=True)
class Request:
    """What is to be extracted: all that decides which features and which table come out.

    random_weights: seed of untrained encoders, None for pretrained ones.
    caveats: what every result on this table has to say, e.g. "synthetic audio".
    """

    clips: Path
    audio_root: Path
    encoders: str = PAPER_ENCODERS
    weights: Path | None = None
    random_weights: int | None = None
    size: str = "full"
    layers: str = "mean"
    precision: str = "fp32"
    scale: str = "0,10"
    split: float | None = None
    seed: int = 0
    min_coverage: float = 0.95
    caveats: tuple[str, ...] = ()

    @staticmethod
    def last(work: Path, changes: dict[str, Any]) -> Request:
        """The last request of a work folder with `changes` put over it; ValueError where there is none."""
        path = work / LAST
        if not path.exists():
            raise ValueError(f"no --clips given, and {work} has no earlier extraction to go on with")
        say(f"going on with the table and settings of {path}")
        kept = json.loads(path.read_text(encoding="utf-8"))
        for name in ("clips", "audio_root", "weights"):
            kept[name] = kept[name] and Path(kept[name])
        return Request(**{**kept, "caveats": tuple(kept["caveats"]), **changes})

    def remember(self, work: Path) -> None:
        """Keep the request for a later `extract` without a table."""
        from mmmos.store.files import write_text

        paths = {name: str(value.resolve()) for name, value in vars(self).items() if isinstance(value, Path)}
        write_text(work / LAST, json.dumps({**vars(self), **paths}, indent=1) + "\n")


def run(
    request: Request,
    work: Path,
    *,
    device: str = "auto",
    batch: int | None = None,
    workers: int | None = None,
    stock: bool = False,
    cluster: str = "",
) -> int:
    """Survey the audio, encode what is missing, keep the table of what could be read; the exit code.

    cluster: "local:N" or a Dask scheduler's address; device, batch and workers then hold for each worker.
    """
    from mmmos.extract.extraction import CoverageError, check_coverage, shared_audio, survey, write_rejects
    from mmmos.extract.extraction import extract as encode_missing
    from mmmos.store.clips import ClipTable, read_clips, save_table
    from mmmos.store.specs import near_misses

    written = read_clips(
        request.clips,
        audio_root=request.audio_root,
        scale=parse_scale(request.scale),
        train_fraction=request.split,
        seed=request.seed,
    )
    # On a cluster they are built here as well, for their signatures.
    networks = load_encoders(request, device="cpu" if cluster else device, stock=stock)
    specs = tuple(network.spec for network in networks)
    for line in (line for spec in specs for line in near_misses(work / "features", spec)):
        say(f"features stored before do not fit, so these are made anew: {line}")
    request.remember(work)
    written = replace(written, caveats=request.caveats)
    surveyed, rejects = survey(written, request.audio_root, work / "survey.json", workers)
    for warning in shared_audio(surveyed.clips):
        say(f"warning: {warning}")
    try:
        check_coverage(len(written), rejects, request.min_coverage)
        features = work / "features"
        if cluster:
            from mmmos.extract.cluster import extract_on

            del networks
            done = extract_on(
                cluster, surveyed, request, features, specs,
                device=device, batch=batch, workers=workers, stock=stock,
            )  # fmt: skip
        else:
            done = encode_missing(
                surveyed, request.audio_root, networks, features, batch=batch, workers=workers
            )
        rejects = [*rejects, *done.rejects]
        check_coverage(len(written), rejects, request.min_coverage)
    except CoverageError as error:
        say(f"stopped: {error}. All reasons: {work / 'rejects.csv'}")
        return COVERAGE
    finally:
        write_rejects(work / "rejects.csv", rejects)
    lost = {reject.id for reject in rejects}
    kept = ClipTable(tuple(c for c in surveyed if c.id not in lost), surveyed.scale, surveyed.caveats)
    save_table(kept, work / "clips.json")
    table(
        f"Features of {len(kept)} clips, {done.crops} crops, in {work / 'features'}",
        ("encoder", "signature", "newly encoded", "frames", "layers", "weights"),
        (
            (s.name, s.id, done.encoded[s.name], f"{s.frames} x {s.frame_dim}", s.layers, s.weights[:20])
            for s in specs
        ),
        (*kept.caveats, *(f"untrained {spec.name}" for spec in specs if spec.is_random)),
    )
    if rejects:
        say(f"{len(rejects)} of {len(written)} clips could not be read; reasons in {work / 'rejects.csv'}")
    return REJECTS if rejects else 0


def load_encoders(request: Request, *, device: str = "auto", stock: bool = False) -> list[Encoder]:
    """The encoders of a request, in its order, on the device."""
    from mmmos.extract.audio import AUDIO_RECIPE
    from mmmos.extract.encoders import ENCODERS, load_encoder
    from mmmos.extract.extraction import choose_device

    names = [name.strip() for name in request.encoders.split(",") if name.strip()]
    if not names or len(set(names)) != len(names):
        raise ValueError(f"--encoders takes different names separated by commas, not {request.encoders!r}")
    for name in names:  # all of them before the first one's weights are fetched
        choose("encoder", name, ENCODERS)
    return [
        load_encoder(
            name,
            audio_recipe=AUDIO_RECIPE,
            weights=request.weights,
            random_seed=request.random_weights,
            size=request.size,
            layer=request.layers,
            precision=request.precision,
            device=choose_device(device),
            stock=stock,
        )
        for name in names
    ]


def parse_scale(text: str) -> Scale:
    """ "0,100" as a Scale; ValueError says what was expected."""
    from mmmos.store.schema import Scale

    try:
        low, high = (float(part) for part in text.split(","))
    except ValueError:
        raise ValueError(
            f"--scale takes two numbers separated by a comma, as in 0,10, not {text!r}"
        ) from None
    return Scale(low, high)
