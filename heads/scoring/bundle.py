"""A trained ensemble as one folder that anybody can score with: safetensors and JSON, no code, no pickles.

    README.md                model card in the hub's format
    bundle.json              members, weights, encoders' full specs, scale, intervals, accuracy, golden scores
    heads/<run>.safetensors  the members, each with its target statistics and calibration
    reference.safetensors    where the training clips lie in feature space
    prior/                   the bundle that the heads started from, whose scores they read (see `prior`)

The encoders' weights are not part of it: the specs say which files they were, by sha256, and a bundle that
was made with others is refused with the name of the field that differs.  `loading.load_bundle` loads both.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import xxhash
from safetensors import SafetensorError
from safetensors.numpy import save as save_arrays

from mmmos.heads.config import BUNDLE
from mmmos.heads.mixing import Line, Mixture
from mmmos.heads.network.model import Head
from mmmos.heads.scoring.bundle_check import ABOUT as ABOUT  # with the other files' names, from here
from mmmos.heads.scoring.bundle_check import FORMAT, check_heads, check_rest, members_of
from mmmos.heads.scoring.bundle_files import head_path, read_bytes, read_reference
from mmmos.heads.scoring.bundle_folder import CARD as CARD
from mmmos.heads.scoring.bundle_folder import MAX_ABOUT_BYTES as MAX_ABOUT_BYTES
from mmmos.heads.scoring.bundle_folder import PLOTS, PRIOR, SHOWN, refuse_other
from mmmos.heads.scoring.bundle_folder import REFERENCE as REFERENCE
from mmmos.heads.scoring.intervals import Intervals
from mmmos.heads.scoring.json_values import text, texts
from mmmos.heads.scoring.reference import Reference
from mmmos.heads.scoring.scores_spec import spec_of_scores
from mmmos.store import files, folders, noted, sealed
from mmmos.store.names import differences, digest
from mmmos.store.schema import AES_AXES, Axes, EncoderSpec, Scale

MAX_SAID = 400
"""Letters of a reason that are shown: a reason may quote what a hostile file holds."""


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
    prior:   the bundle whose scores the heads read beside features, None for heads that began anew.
    """

    heads: dict[str, Head]
    weights: tuple[float, ...]
    intervals: Intervals
    reference: Reference
    caveats: tuple[str, ...]
    about: dict[str, Any]
    by_axis: tuple[tuple[float, ...], ...] = ()
    calibration: tuple[Line, ...] = ()
    prior: Bundle | None = None

    @property
    def id(self) -> str:
        """ "bundle-0123456789ab": changes with anything that a score or an interval depends on."""
        members: list[Any] = [
            [run, weight, fingerprint(head)]
            for (run, head), weight in zip(self.heads.items(), self.weights, strict=True)
        ]
        if self.by_axis or self.calibration:
            members.append([self.by_axis, self.calibration])
        if self.prior is not None:
            members.append(self.prior.id)
        intervals = {key: value for key, value in self.intervals.to_json().items() if key != "coverage"}
        reference = xxhash.xxh3_128_hexdigest(save_arrays(self.reference.arrays()))
        return f"bundle-{digest([FORMAT, members, intervals, self.reference.about(), reference])}"

    @cached_property
    def mixture(self) -> Mixture:
        """How the heads' scores become one."""
        return Mixture(self.weights, self.by_axis, self.calibration)

    @cached_property
    def axes(self) -> Axes:
        """What the heads predict; the paper's four axes have their titles without being told."""
        names = next(iter(self.heads.values())).axes
        return Axes(names, tuple(self.about.get("titles") or map(AES_AXES.title, names)))

    @cached_property
    def scale(self) -> Scale:
        return next(iter(self.heads.values())).scale

    @cached_property
    def bounded(self) -> bool:
        """Whether scores are held to the scale: those of published heads are what their own code gives."""
        return all(head.layout is None for head in self.heads.values())

    @cached_property
    def widens(self) -> bool:
        """Whether intervals grow with the distance from training: those of earlier versions' heads do not."""
        return all(head.limited for head in self.heads.values())

    @property
    def encoders(self) -> tuple[EncoderSpec, ...]:
        """Specs of what the members need, and of nothing else: an ensemble without MuQ never loads MuQ."""
        return encoders_of(self.heads.values(), self.prior)

    @property
    def spec(self) -> EncoderSpec:
        """Of this bundle's scores where other heads read them as features, one "frame" a crop."""
        return spec_of_scores(self.id, len(self.axes), self.encoders[0])


def encoders_of(heads: Iterable[Head], prior: Bundle | None) -> tuple[EncoderSpec, ...]:
    """Specs of what heads and the bundle that they started from need, each once."""
    own = [spec for head in heads for spec in head.specs if spec.name != BUNDLE]
    return tuple({spec.id: spec for spec in (*own, *(prior.encoders if prior else ()))}.values())


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
    if bundle.prior is not None:
        fill(bundle.prior, folder / PRIOR, f"# {bundle.prior.id}\n\nThe heads in ../heads read its scores.\n")
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
        **({} if bundle.prior is None else {PRIOR: bundle.prior.id}),
        **bundle.about,
        SHOWN: {name: noted.sha256(folder / name) for name in (CARD, *PLOTS) if (folder / name).is_file()},
    }
    sealed.write_json(folder / ABOUT, about)


OF_MIXTURE = ("by_axis", "calibration")
"""What a bundle says of its mixture beside the members' weights, where there is anything to say."""

KEPT_ELSEWHERE = (
    *("format", "id", "axes", "scale", "members", "encoders", "intervals", "reference", "caveats"),
    *(*OF_MIXTURE, PRIOR, SHOWN),
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
        about = sealed.parse_json(read_bytes(folder / ABOUT, MAX_ABOUT_BYTES), ABOUT)
        weights = members_of(about)
        about.pop(sealed.KEY, None)
        heads = {run: Head.load(head_path(folder, run)) for run in weights}
        check_heads(heads, about)
        prior = _prior(folder, about, heads)
        bundle = Bundle(
            heads,
            tuple(weights.values()),
            Intervals.from_json(about["intervals"]),
            read_reference(folder, about, encoders_of(heads.values(), prior)),
            texts(about["caveats"], "caveats"),
            {key: value for key, value in about.items() if key not in KEPT_ELSEWHERE},
            tuple(tuple(map(float, row)) for row in about.get("by_axis", ())),
            tuple((float(slope), float(offset)) for slope, offset in about.get("calibration", ())),
            prior,
        )
        bundle.mixture.check(len(bundle.axes.names))
        if (axes := bundle.axes.names) != bundle.intervals.axes:
            raise ValueError(f"its intervals are for {bundle.intervals.axes}, its heads for {axes}")
        check_rest(bundle.about, bundle.axes.names)
        stated, found = text(about["id"], "id"), bundle.id
    except (FileNotFoundError, NotADirectoryError) as missing:
        lack = str(missing)
        if not folder.is_dir():
            lack = "there is no such folder"
        elif isinstance(missing, FileNotFoundError):
            lack = f"{Path(missing.filename).name} is missing"
        raise BundleError(f"{folder} is not a bundle: {lack}") from None
    except DAMAGED as reason:
        said = f"{ABOUT}: field {reason} is missing" if isinstance(reason, KeyError) else str(reason)
        raise BundleError(f"{folder} is not a whole bundle: {said:.{MAX_SAID}}") from None
    if stated != found:
        raise BundleError(f"{folder} says {stated:.60} but holds {found}: damaged, or changed by hand")
    return bundle


def _prior(folder: Path, about: Mapping[str, Any], heads: Mapping[str, Head]) -> Bundle | None:
    """The bundle that the heads started from; ValueError unless it is the one whose scores they read."""
    read = {spec.id for head in heads.values() for spec in head.specs if spec.name == BUNDLE}
    prior = read_bundle(folder / PRIOR) if PRIOR in about else None
    if read - ({prior.spec.id} if prior else set()):
        raise ValueError("its heads read the scores of another bundle, which it does not hold")
    if prior is not None and (prior.id != about[PRIOR] or prior.prior is not None):
        raise ValueError(f"it holds {prior.id} and says {about[PRIOR]!r:.60}")
    return prior


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
