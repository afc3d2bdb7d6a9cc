"""A trained ensemble as one folder that anybody can score with: safetensors and JSON, no code, no pickles.

    README.md                model card in the hub's format
    bundle.json              members, weights, encoders' full specs, scale, intervals, accuracy, golden scores
    heads/<run>.safetensors  the members, each with its target statistics and calibration
    reference.safetensors    where the training clips lie in feature space

The encoders' weights are not part of it: the specs say which files they were, by sha256, and a bundle that
was made with others is refused with the name of the field that differs.  `loading.load_bundle` loads both.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xxhash
from safetensors import SafetensorError
from safetensors.numpy import load as load_arrays
from safetensors.numpy import save as save_arrays

from mmmos.heads.mixing import Line, Mixture
from mmmos.heads.network.model import Head
from mmmos.heads.scoring.bundle_check import ABOUT as ABOUT  # with the other files' names, from here
from mmmos.heads.scoring.bundle_check import FORMAT, check_heads, check_rest, members_of
from mmmos.heads.scoring.bundle_folder import CARD as CARD
from mmmos.heads.scoring.bundle_folder import MAX_ABOUT_BYTES as MAX_ABOUT_BYTES
from mmmos.heads.scoring.bundle_folder import PLOTS, SHOWN, refuse_other
from mmmos.heads.scoring.bundle_folder import REFERENCE as REFERENCE
from mmmos.heads.scoring.intervals import Intervals
from mmmos.heads.scoring.json_values import text, texts
from mmmos.heads.scoring.reference import Reference
from mmmos.store import files, folders, noted, sealed
from mmmos.store.names import differences, digest
from mmmos.store.schema import AES_AXES, Axes, EncoderSpec, Scale

MAX_HEADER_BYTES, MAX_DOMAINS = 1 << 20, 10_000
MAX_SAID = 400
"""Letters of a reason that are shown: a reason may quote what a hostile file holds."""
RUN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]{0,120}")
"""Run ids become file names: one plain component, never a path."""


class BundleError(ValueError):
    """A folder that is not a whole bundle, or one that does not fit what is at hand; the message says why."""


class SignatureMismatch(BundleError):  # noqa: N818
    """The encoders at hand are not those the heads were trained on; the message names each field."""


@dataclass(frozen=True, eq=False)
class Bundle:
    """What a bundle's folder holds.

    heads:   member run id -> head, in the order of `weights`.
    caveats: what must be said beside every score, such as "synthetic audio".
    about:   the rest of bundle.json: rule, data, training, accuracy, golden, versions; and "titles", the axes
             in words, where they are not the paper's.
    by_axis, calibration: see `mixing.Mixture`.
    """

    heads: dict[str, Head]
    weights: tuple[float, ...]
    intervals: Intervals
    reference: Reference
    caveats: tuple[str, ...]
    about: dict[str, Any]
    by_axis: tuple[tuple[float, ...], ...] = ()
    calibration: tuple[Line, ...] = ()

    @property
    def id(self) -> str:
        """ "bundle-0123456789ab": changes with anything that a score or an interval depends on."""
        members: list[Any] = [
            [run, weight, fingerprint(head)]
            for (run, head), weight in zip(self.heads.items(), self.weights, strict=True)
        ]
        if self.by_axis or self.calibration:
            members.append([self.by_axis, self.calibration])
        intervals = {key: value for key, value in self.intervals.to_json().items() if key != "coverage"}
        reference = xxhash.xxh3_128_hexdigest(save_arrays(self.reference.arrays()))
        return f"bundle-{digest([FORMAT, members, intervals, self.reference.about(), reference])}"

    @property
    def mixture(self) -> Mixture:
        """How the heads' scores become one."""
        return Mixture(self.weights, self.by_axis, self.calibration)

    @property
    def axes(self) -> Axes:
        """What the heads predict; the paper's four axes have their titles without being told."""
        names = next(iter(self.heads.values())).axes
        return Axes(names, tuple(self.about.get("titles") or map(AES_AXES.title, names)))

    @property
    def scale(self) -> Scale:
        return next(iter(self.heads.values())).scale

    @property
    def bounded(self) -> bool:
        """Whether scores are held to the scale: those of published heads are what their own code gives."""
        return all(head.layout is None for head in self.heads.values())

    @property
    def widens(self) -> bool:
        """Whether intervals grow with the distance from training: those of earlier versions' heads do not."""
        return all(head.limited for head in self.heads.values())

    @property
    def encoders(self) -> tuple[EncoderSpec, ...]:
        """Specs of what the members need, and of nothing else: an ensemble without MuQ never loads MuQ."""
        return tuple({spec.id: spec for head in self.heads.values() for spec in head.specs}.values())


def fingerprint(head: Head) -> str:
    """xxh3-128 over a head's tensors and config: equal heads, equal numbers."""
    about = head.config.settings | ({} if head.layout is None else {"layout": asdict(head.layout)})
    state = xxhash.xxh3_128(json.dumps(about, sort_keys=True).encode())
    for name, value in sorted(head.state_dict().items()):
        state.update(name.encode())
        state.update(np.ascontiguousarray(value.cpu().numpy()).tobytes())
    return state.hexdigest()


def save_bundle(bundle: Bundle, folder: Path, card: str) -> Path:
    """Write a bundle with its model card as `folder`, in one step: a bundle that is there is replaced.

    Raises
    ------
    ValueError
        Where the folder holds something that is not a bundle; nothing is changed then.
    """
    folder = Path(folder)
    refuse_other(folder)
    with folders.replacing(folder) as aside:
        fill(bundle, aside, card)
    return folder


def fill(bundle: Bundle, folder: Path, card: str) -> None:
    """Write the files of a bundle into a folder that nobody reads yet."""
    for run, head in bundle.heads.items():
        head.save(folder / "heads" / f"{run}.safetensors")
    reference = save_arrays(bundle.reference.arrays(), metadata={sealed.KEY: sealed.BLANK})
    files.write_atomic(folder / REFERENCE, sealed.seal(reference))
    files.write_text(folder / CARD, card)
    about = {
        "format": FORMAT,
        "id": bundle.id,
        "axes": bundle.axes.names,
        "scale": bundle.scale.to_json(),
        "members": [
            {"run": run, "title": head.config.title, "weight": weight}
            for (run, head), weight in zip(bundle.heads.items(), bundle.weights, strict=True)
        ],
        "encoders": [{"id": spec.id, **asdict(spec)} for spec in bundle.encoders],
        "intervals": bundle.intervals.to_json(),
        "reference": bundle.reference.about(),
        "caveats": bundle.caveats,
        **{name: value for name in OF_MIXTURE if (value := getattr(bundle, name))},
        **bundle.about,
        SHOWN: {name: noted.sha256(folder / name) for name in (CARD, *PLOTS) if (folder / name).is_file()},
    }
    sealed.write_json(folder / ABOUT, about)


OF_MIXTURE = ("by_axis", "calibration")
"""What a bundle says of its mixture beside the members' weights, where there is anything to say."""

KEPT_ELSEWHERE = (
    *("format", "id", "axes", "scale", "members", "encoders", "intervals", "reference", "caveats"),
    *OF_MIXTURE,
    SHOWN,
)


DAMAGED = (
    OSError, EOFError, ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RuntimeError,
    SafetensorError,
)  # fmt: skip
"""What reading the files of a stranger may raise."""


def read_bundle(folder: Path) -> Bundle:
    """Read and check a bundle's folder.

    Raises
    ------
    BundleError
        With the reason, where it is damaged or no bundle.
    """
    folder = Path(folder)
    try:
        about = sealed.parse_json(_bytes(folder / ABOUT, MAX_ABOUT_BYTES), ABOUT)
        weights = members_of(about)
        about.pop(sealed.KEY, None)
        heads = {run: Head.load(_head_path(folder, run)) for run in weights}
        check_heads(heads, about)
        bundle = Bundle(
            heads,
            tuple(weights.values()),
            Intervals.from_json(about["intervals"]),
            _reference(folder, about, heads),
            texts(about["caveats"], "caveats"),
            {key: value for key, value in about.items() if key not in KEPT_ELSEWHERE},
            tuple(tuple(map(float, row)) for row in about.get("by_axis", ())),
            tuple((float(slope), float(offset)) for slope, offset in about.get("calibration", ())),
        )
        bundle.mixture.check(len(bundle.axes.names))
        if (axes := bundle.axes.names) != bundle.intervals.axes:
            raise ValueError(f"its intervals are for {bundle.intervals.axes}, its heads for {axes}")
        check_rest(bundle.about, bundle.axes.names)
        stated, found = text(about["id"], "id"), bundle.id
    except FileNotFoundError as missing:
        raise BundleError(f"{folder} is not a bundle: {Path(missing.filename).name} is missing") from None
    except DAMAGED as reason:
        said = f"field {reason} is missing" if isinstance(reason, KeyError) else str(reason)
        raise BundleError(f"{folder} is not a whole bundle: {said:.{MAX_SAID}}") from None
    if stated != found:
        raise BundleError(f"{folder} says {stated:.60} but holds {found}: damaged, or changed by hand")
    return bundle


def require_same(at_hand: Sequence[EncoderSpec], trained_on: Sequence[EncoderSpec]) -> None:
    """Check that the encoders are those that the heads were trained on.

    Raises
    ------
    SignatureMismatch
        Naming every field that differs.
    """
    for ours, theirs in zip(at_hand, trained_on, strict=True):
        if lines := differences(ours.settings, theirs.settings):
            raise SignatureMismatch(
                f"the bundle was trained on other features of {theirs.name} ({theirs.id}) than the encoder "
                "at hand makes; here = this installation, there = the bundle:\n  " + "\n  ".join(lines)
            )


def _reference(folder: Path, about: Mapping[str, Any], heads: Mapping[str, Head]) -> Reference:
    dims = {spec.id: spec.frame_dim for head in heads.values() for spec in head.specs}
    domains = len(texts(about["reference"]["domains"], "domains"))
    if domains > MAX_DOMAINS:
        raise ValueError(f"{domains} domains; {MAX_DOMAINS} at most are read")
    most = 4 * (domains + 1) * sum(dims.values()) + MAX_HEADER_BYTES
    return Reference.from_parts(about["reference"], load_arrays(_bytes(folder / REFERENCE, most)), dims)


def _head_path(folder: Path, run: str) -> Path:
    if not RUN_ID.fullmatch(run):
        raise ValueError(f"{run!r} is not a run id")
    return _real(folder / "heads" / f"{run}.safetensors")


def _real(path: Path) -> Path:
    # WHY links are followed: the hub's cache is made of them.  What is read is data either way.
    # os.path says OSError of links in a circle, where Path.resolve says RuntimeError.
    return Path(os.path.realpath(path, strict=True))


def _bytes(path: Path, limit_bytes: int) -> bytes:
    data = files.read_bytes(_real(path), limit_bytes)
    sealed.is_sealed(data, path)
    return data
