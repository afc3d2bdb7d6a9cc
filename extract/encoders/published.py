"""Published weights: what they are called, and how the published file is told from any other.

How weights are told apart
--------------------------
`EncoderSpec.weights`, a part of the id of stored features, is "tensors:" and the `network_sha256` of
the tensors that the features depend on, by their published names.  The same network as .bin, as
.safetensors, in the names of another release, or with other unused heads has the same id.  The
checkpoint's name is recorded beside it and is not a part of the id: it is the published name only
for the published file (by its sha256, see `Published.pinned`), else "custom:" and the first 12
digits of the hash.

Specs of earlier versions hold the sha256 of the weight file and the published name in its place.
They remain valid: `load_encoder(stored=...)` is given the specs of the features that are there, and
where one of them was made of this very file (by the file's sha256) with the same settings, the
encoder takes that spec.  So old stores are found and extended, and old bundles are scored with.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from mmmos.extract.encoders.weights import file_sha256
from mmmos.store import sealed
from mmmos.store.schema import TENSORS, EncoderSpec

FIRST_USE = "first-use.json"


@dataclass(frozen=True)
class Pinned:
    """A published file at the revision that this project was tested with."""

    name: str
    size: int
    sha256: str


@dataclass(frozen=True)
class Published:
    """A published checkpoint.

    name:     hub id, or the name of the published folder; recorded in the spec.
    folder:   folder of this encoder below a folder of weights.
    files:    file names in order of preference; patterns of pathlib.Path.glob.
    wanted:   the same in words, for a person who has to put them there.
    source:   where that person finds them.
    licence:  terms of the weights as their publisher states them, in words for a model card.
    revision: commit on the hub, "main" where none is known; "" for what is not on the hub.
    pinned:   files of that revision; the first one holds the weights.  () where no sha256 is published.
    release:  address of a zip file that holds the weights, for what is not on the hub.
    size:     of the download, in words.
    agree:    whether the licence has to be agreed to before anything is fetched.
    names:    pattern that some name in a weight file of this encoder matches, and no other encoder's.
    unused:   prefixes of names that the features do not depend on: may be absent, may be surplus.
    """

    name: str
    folder: str
    files: tuple[str, ...]
    wanted: str
    source: str
    licence: str
    revision: str = ""
    pinned: tuple[Pinned, ...] = ()
    release: str = ""
    size: str = ""
    agree: bool = False
    names: str = ""
    unused: tuple[str, ...] = ()


@dataclass(frozen=True)
class Origin:
    """Where a network's weights come from.

    checkpoint: published name, "custom:<sha12>", "random", or "none" for an encoder without weights.
    weights:    "tensors:<sha256>", "random:SEED" or "none", see `EncoderSpec.weights`.
    licence:    terms of these weights, in words.
    file:       the weight file.
    note:       what the user has to be told: that this is not the published file; "" where it is.
    """

    checkpoint: str
    weights: str
    licence: str
    file: Path | None = None
    note: str = ""


def untrained(published: Published, seed: int) -> Origin:
    """The origin of random weights."""
    return Origin("random", f"random:{seed}", published.licence)


def identify(published: Published, path: Path, sha256: str, *, full: bool) -> Origin:
    """The origin of the network that was read from a file.

    Parameters
    ----------
    sha256 : str
        The network's `network_sha256`.
    full : bool
        Whether it has the published size.
    """
    if full and is_published(published, path):
        return Origin(published.name, TENSORS + sha256, published.licence, path)
    checkpoint = f"custom:{sha256[:12]}"
    shape = "same shape, " if full else ""
    note = f"{path}: {shape}not the published file; recorded as {checkpoint}"
    licence = f"a custom file; the published one has: {published.licence}"
    return Origin(checkpoint, TENSORS + sha256, licence, path, note)


def is_published(published: Published, path: Path) -> bool:
    """Whether a weight file is the published one: by its sha256, where one is pinned or was recorded at
    the first use, else by the name of its folder."""
    if published.pinned:
        weights = published.pinned[0]
        return path.stat().st_size == weights.size and file_sha256(path) == weights.sha256
    recorded = first_use().get(published.name)
    if recorded is not None:
        return file_sha256(path) == recorded
    return bool(published.revision) or path.parent.name == published.name


def earlier_spec(
    spec: EncoderSpec, published: Published, origin: Origin, stored: Iterable[EncoderSpec]
) -> EncoderSpec:
    """The one of `stored` that an earlier version made of this very file, else `spec`."""
    alike = {
        other.weights: other
        for other in stored
        if not other.weights.startswith(TENSORS)
        and replace(spec, checkpoint=published.name, weights=other.weights).settings == other.settings
    }
    return alike.get(file_sha256(origin.file), spec) if alike and origin.file else spec


def weights_home() -> Path:
    """The project's own folder of weights: $MMMOS_WEIGHTS, else below the user's cache folder."""
    if given := os.environ.get("MMMOS_WEIGHTS"):
        return Path(given)
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "mmmos" / "weights"


def first_use() -> dict[str, str]:
    """Published name -> sha256 of the file that was fetched first, for what has no published sha256.

    Raises
    ------
    OSError, ValueError
        Where it cannot be read: without it, any other file would count as the first one.
    """
    try:
        content = sealed.read_object(weights_home() / FIRST_USE, 1 << 16)
    except FileNotFoundError:
        return {}
    return {name: str(sha256) for name, sha256 in content.items()}
