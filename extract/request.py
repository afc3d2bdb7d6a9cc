"""What is to be extracted: the table, the encoders and the settings that decide which features come out."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmmos.extract.compute import Compute
from mmmos.store import sealed
from mmmos.store.console import say
from mmmos.store.device import choose_device, device_type
from mmmos.store.names import choose
from mmmos.store.parts import REQUEST, WHOLE, Part
from mmmos.store.schema import EncoderSpec

if TYPE_CHECKING:
    from mmmos.extract.encoders import Encoder

KINDS: dict[str, Any] = {
    **dict.fromkeys(("clips", "audio_root", "encoders", "size", "layers", "precision", "scale", "axes"), str),
    **{"licence": str, "part": str},
    **{"weights": (str, type(None)), "random_weights": (int, type(None)), "split": (int, float, type(None))},
    **{"seed": int, "min_coverage": (int, float), "caveats": (list, tuple)},
}
"""Of each value that is kept."""
MIN_COVERAGE = 0.95
"""Training on less of a table than this would be training on another data set."""


@dataclass(frozen=True)
class ExtractRequest:
    """Everything that decides which features and which clip table come out.

    Attributes
    ----------
    clips, audio_root : Path
        The clip table, and the folder that its paths are relative to.
    encoders : str
        Names separated by commas.
    weights : Path, optional
        Folder with pretrained weights; None takes them from the hub or its cache.
    random_weights : int, optional
        Seed of untrained encoders; None for pretrained ones.
    size, layers, precision : str
        See `encoders.load_encoder`.
    scale : str
        The range of the scores, see `store.axes.parse_scale`.
    axes : str
        Names of the table's axes, see `store.axes.parse_axes`; "" for those of its sidecar or the paper's.
    split, seed : float, int
        Train fraction and seed, for a table without a split column.
    min_coverage : float
        The fraction of the clips that has to be readable.
    licence : str
        "permissive" refuses encoders whose terms are not known to allow commercial use.
    trust_remote_code : bool
        Whether code that comes with a model of the hub may run.
    caveats : tuple of str
        What every result on this table has to say, e.g. "synthetic audio".
    part : str
        "3/64" for every 64th row of the table, from the third on; "" for all.
    """

    clips: Path
    audio_root: Path
    encoders: str = "wavlm,muq,m2d"
    weights: Path | None = None
    random_weights: int | None = None
    size: str = "full"
    layers: str = "mean"
    precision: str = "fp32"
    scale: str = "0,10"
    axes: str = ""
    split: float | None = None
    seed: int = 0
    min_coverage: float = MIN_COVERAGE
    caveats: tuple[str, ...] = ()
    licence: str = ""
    trust_remote_code: bool = False
    part: str = ""

    def __post_init__(self) -> None:
        if self.split is not None and Part.parse(self.part) != WHOLE:
            raise ValueError("--split divides a whole table: write its column split, then take a --part")
        if not 0.0 <= self.min_coverage <= 1.0:  # NaN is not either
            raise ValueError(f"--min-coverage takes a part from 0 to 1, not {self.min_coverage}")

    @staticmethod
    def last(work: Path, changed: dict[str, Any]) -> ExtractRequest:
        """The last request of a work folder, with `changed` fields; ValueError where there is none."""
        path = work / REQUEST
        if not path.exists():
            raise ValueError(f"no --clips given, and {work} has no earlier extraction to go on with")
        say(f"going on with the table and settings of {path}")
        kept = sealed.read_object(path)
        for name, value in kept.items():
            if not isinstance(value, KINDS.get(name, ())) or isinstance(value, bool):
                raise ValueError(f"{path}: {name} is {value!r:.60}: give --clips and the other options anew")
        if not (kept.get("clips") and kept.get("audio_root")):
            raise ValueError(
                f"{path}: clips or audio_root is missing: give --clips and the other options anew"
            )
        for name in ("clips", "audio_root", "weights"):
            kept[name] = Path(kept[name]) if kept.get(name) else None
        try:
            before = ExtractRequest(**{**kept, "caveats": tuple(map(str, kept.get("caveats", ())))})
        except ValueError as reason:
            raise ValueError(f"{path}: {reason}: give --clips and the other options anew") from None
        return replace(before, **changed)

    def remember(self, work: Path) -> None:
        """Keep the request for a later `extract` without a table."""
        sealed.write_json(work / REQUEST, self.kept())

    def kept(self) -> dict[str, Any]:
        """Its fields as JSON values, with absolute paths."""
        values = {name: str(v) if isinstance(v, Path) else v for name, v in vars(self.absolute()).items()}
        # Whoever can write a work folder must not make others run remote code: that is asked for anew.
        del values["trust_remote_code"]
        return {name: list(v) if isinstance(v, tuple) else v for name, v in values.items()}

    def absolute(self) -> ExtractRequest:
        """The same request with absolute paths."""
        paths = {name: value.resolve() for name, value in vars(self).items() if isinstance(value, Path)}
        return replace(self, **paths)  # type: ignore[arg-type]


def encoder_names(request: ExtractRequest) -> list[str]:
    """The encoders of a request, in its order.

    Raises
    ------
    ValueError
        For unknown or repeated names, unknown terms, and encoders whose published weights they exclude.
    """
    from mmmos.extract.encoders import ENCODERS
    from mmmos.extract.encoders.licences import require_permissive
    from mmmos.extract.encoders.own import is_own

    names = [name.strip() for name in request.encoders.split(",") if name.strip()]
    if not names or len(set(names)) != len(names):
        raise ValueError(f"--encoders takes different names separated by commas, not {request.encoders!r}")
    if request.licence not in ("", "permissive"):
        raise ValueError(f"--licence takes permissive, not {request.licence!r}")
    for name in names:
        published = None if is_own(name) else ENCODERS[choose("encoder", name, ENCODERS)].PUBLISHED
        if request.licence and published is not None:
            require_permissive(name, published.licence)  # before weights are fetched that may not be used
    return names


def load_encoders(
    request: ExtractRequest, compute: Compute, *, stored: Iterable[EncoderSpec] = (), specs_only: bool = False
) -> list[Encoder]:
    """The encoders of a request, in its order, on the device of `compute`.

    Parameters
    ----------
    stored : iterable of EncoderSpec
        Specs of the features that are there, see `encoders.load_encoder`.
    specs_only : bool
        Built on the CPU, with the specs that they have on the device of `compute`, which others use.

    Raises
    ------
    ValueError
        For unknown or repeated names; and see `encoders.load_encoder`.
    WeightsMissing
        For weights that are not on this machine and cannot be fetched, before any are fetched.
    """
    from mmmos.extract.audio import AUDIO_RECIPE
    from mmmos.extract.encoders import find_weights, load_encoder

    names = encoder_names(request)
    pretrained = request.random_weights is None
    weights = find_weights(names, request.weights) if pretrained else dict.fromkeys(names)
    return [
        load_encoder(
            name,
            audio_recipe=AUDIO_RECIPE,
            weights=weights[name],
            random_seed=request.random_weights,
            size=request.size,
            layer=request.layers,
            precision=request.precision,
            device=choose_device("cpu" if specs_only else compute.device),
            stock=compute.stock,
            forced=compute.force_precision,
            runs_on=device_type(compute.device) if specs_only else "",
            stored=stored,
            trust=request.trust_remote_code,
            permissive=request.licence == "permissive",
        )
        for name in names
    ]
