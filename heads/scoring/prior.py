"""Starting from a bundle: what it says of a work folder's clips, kept as features for new heads to read.

Its scores on its own axes are one more narrow encoder, called "bundle": A numbers for each crop, before they
are held to its scale.  Heads that read them alone are a line or a curve through them for each of the new
axes; heads that read other features as well mend what the bundle does not hear.  They are chosen and
measured like all others.  The bundle stays beside the new heads, in the work folder and in what is
exported, so that new audio can be scored.

    WORK/prior                          the bundle, its heads on the features that the work folder holds
    WORK/features/bundle-0123456789ab   its scores
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from mmmos.extract.front import Compute, source_of
from mmmos.heads.config import BUNDLE
from mmmos.heads.network.model import Head
from mmmos.heads.scoring.audiobox import ready_bundle
from mmmos.heads.scoring.bundle import Bundle, SignatureMismatch, read_bundle, save_bundle
from mmmos.heads.scoring.bundle_folder import refuse_other
from mmmos.heads.scoring.hub import download
from mmmos.heads.scoring.loading import is_ready
from mmmos.heads.scoring.model_card import model_card
from mmmos.heads.training.data import CHUNK, Features, Indices
from mmmos.heads.training.outputs import one_thread
from mmmos.store import folders
from mmmos.store.features import FeatureStore
from mmmos.store.names import differences
from mmmos.store.schema import EncoderSpec
from mmmos.store.specs import store_folders

FOLDER = "prior"


def open_source(name: str, weights: Path | None = None) -> Bundle:
    """The bundle to start from: a folder, owner/name on the hub, or "audiobox".

    Raises
    ------
    ValueError
        Where there is no such bundle, or one that `train` cannot make features for.
    WeightsMissing
        Where audiobox' file is not found.
    """
    if is_ready(name):
        return ready_bundle(weights, Compute("cpu"))[0]
    hub = not Path(name).exists() and name.count("/") == 1
    bundle = read_bundle(download(name) if hub else Path(name))
    if bundle.prior is not None:
        raise ValueError(f"{name} itself started from {bundle.prior.id}: start from that one, or from none")
    for spec in bundle.encoders:
        if spec.is_random:
            raise ValueError(f"{name} is of untrained networks ({spec.name}): there is nothing to start from")
    return bundle


def encoders_with(names: str, bundle: Bundle) -> str:
    """Comma-separated names of encoders, those of a bundle added to `names`."""
    given = [name.strip() for name in names.split(",") if name.strip()]
    return ",".join(dict.fromkeys([*given, *map(source_of, bundle.encoders)]))


def forget(work: Path, but: str = "") -> None:
    """Remove adopted bundles and their scores from a work folder; all but those of one spec.

    ValueError, naming what is there, where somebody else's folder has the name of ours.
    """
    refuse_other(work / FOLDER)
    for folder in store_folders(work / "features"):
        if folder.name.startswith(f"{BUNDLE}-") and folder.name != but:
            folders.remove_tree(folder)
    if not but:
        folders.remove_tree(work / FOLDER)


def adopt(work: Path, bundle: Bundle) -> EncoderSpec:
    """Store what a bundle says of every crop of a work folder's clips; the spec of these features.

    Another bundle that was adopted before is forgotten; scores that are stored stay.

    Raises
    ------
    SignatureMismatch
        Where the features that it reads are not stored, or were made in another way.
    """
    features = Features.open(work)
    prior = on_features(bundle, features.specs)
    spec = prior.spec
    forget(work, but=spec.id)
    save_bundle(prior, work / FOLDER, model_card(prior))
    store = FeatureStore(work / "features", spec)
    row_of = {crop.id: row for row, crop in enumerate(features.crops)}
    missing = store.missing(features.crops)
    for at in range(0, len(missing), CHUNK):
        crops = missing[at : at + CHUNK]
        scores = scores_of(prior, features, np.array([row_of[crop.id] for crop in crops]))
        store.append(crops, scores[:, None], scores[:, None])
    return spec


def adopted(work: Path) -> Bundle:
    """The bundle that a work folder's heads started from."""
    return read_bundle(work / FOLDER)


@torch.no_grad()
def scores_of(bundle: Bundle, features: Features, rows: Indices) -> np.ndarray:
    """[R, A] float32 a bundle's scores of crops from stored features."""
    with one_thread():
        made = [
            head.eval().scores(features.batch(head.specs, head.reading, rows)).numpy()
            for head in bundle.heads.values()
        ]
    mean, _ = bundle.mixture.mean_and_spread(np.stack(made))
    return mean.astype(np.float32)


def on_features(bundle: Bundle, specs: Sequence[EncoderSpec]) -> Bundle:
    """The bundle with its heads on stored features: those of audiobox hear other windows of the audio.

    Raises
    ------
    SignatureMismatch
        Naming what differs from the features of that encoder, or saying that there are none.
    """
    heads = [_on(head, [_stored(spec, specs, head) for spec in head.specs]) for head in bundle.heads.values()]
    return replace(bundle, heads={head.config.id: head for head in heads})


def _on(head: Head, specs: Sequence[EncoderSpec]) -> Head:
    """The same head on other specs of the same networks."""
    if tuple(specs) == head.specs:
        return head
    config = replace(head.config, encoders=tuple(spec.id for spec in specs))
    support = 0 if "towers.support" not in head.state_dict() else len(head.state_dict()["towers.support"])
    made = Head(config, specs, head.axes, head.scale, head.layout, support, head.limited)
    made.load_state_dict(head.state_dict())
    return made.eval()


def _stored(wanted: EncoderSpec, specs: Iterable[EncoderSpec], head: Head) -> EncoderSpec:
    """The stored features that a head can read in place of `wanted`.

    Means of all layers do not depend on the rule for frames, and the windows are told apart by nothing but
    short last pieces and silence at the end.
    """
    free = ("audio", "layer") if head.reading.kind == "layers" else ()

    def settings(spec: EncoderSpec) -> dict[str, object]:
        return {name: value for name, value in spec.settings.items() if name not in free}

    same = [spec for spec in specs if spec.name == wanted.name]
    for spec in same:
        if settings(spec) == settings(wanted):
            return spec
    lines = [line for spec in same for line in differences(settings(spec), settings(wanted))]
    if not same:
        raise SignatureMismatch(f"the bundle reads {wanted.name}, which is not extracted here: --encoders")
    raise SignatureMismatch(
        f"the bundle reads other features of {wanted.name} ({wanted.id}) than those extracted here; "
        f"there = the bundle: {'; '.join(lines)}"
    )
