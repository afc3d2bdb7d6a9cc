"""Published weights: what they are called, where their files are looked for, and how they are told apart.

A folder of weights is laid out as

    DIR/wavlm/pytorch_model.bin            or the files of one encoder directly in DIR,
    DIR/muq/model.safetensors, config.json or one file, given by its own path
    DIR/m2d/<the published folder>/*.pth
    DIR/aes/model.safetensors, config.json

Files are looked for in the folder that the user gives, in the project's own (`weights_home`, which
`mmmos weights` fills), and in the cache of the hub; what is nowhere is fetched from the hub.

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

import json
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi, constants, hf_hub_download, try_to_load_from_cache

from mmmos.extract.encoders.weights import WeightsMismatch, WeightsMissing, file_sha256, read_names
from mmmos.store import files
from mmmos.store.schema import TENSORS, EncoderSpec

HUB_TIMEOUT_S = 10.0
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
    """Published name -> sha256 of the file that was fetched first, for what has no published sha256."""
    try:
        content: Any = json.loads(files.read_bytes(weights_home() / FIRST_USE, 1 << 16))
    except (OSError, ValueError):
        return {}
    return {str(k): str(v) for k, v in content.items()} if isinstance(content, dict) else {}


def assign(wanted: Mapping[str, Published], weights: Path | None) -> dict[str, Path | None]:
    """Look for the files of several encoders before any is fetched.

    Parameters
    ----------
    wanted : mapping of str to Published
        By the encoders' names.
    weights : Path or None
        The user's folder or file.

    Returns
    -------
    dict of str to Path or None
        What to give to `find` for each encoder: a single file goes only to the encoders it fits.

    Raises
    ------
    WeightsMissing
        For a path that does not exist, and for files that are nowhere and cannot be fetched.
    WeightsMismatch
        For a single file that fits none of the encoders.
    """
    if weights is not None and not weights.exists():
        raise WeightsMissing(f"{weights} does not exist.\n{advice(*wanted.values())}")
    given: dict[str, Path | None] = dict.fromkeys(wanted, weights)
    if weights is not None and weights.is_file():
        given = {name: weights if fits(published, weights) else None for name, published in wanted.items()}
        if wanted and not any(given.values()):
            raise WeightsMismatch(f"{weights} does not hold the weights of {' or '.join(wanted)}")
    lost = [
        published
        for name, published in wanted.items()
        if find_present(published, given[name]) is None and not can_fetch(published)
    ]
    if lost:
        raise WeightsMissing("\n".join(_not_found(published, weights) for published in lost))
    return given


def can_fetch(published: Published) -> bool:
    """Whether `find` may ask the hub."""
    return bool(published.revision) and not constants.HF_HUB_OFFLINE


def find(published: Published, weights: Path | None) -> Path:
    """The weight file: of the user's folder, of the project's own, of the hub's cache, else from the hub.

    Raises
    ------
    WeightsMissing
        With what to put where.
    """
    given = assign({published.name: published}, weights)[published.name]
    found = find_present(published, given)
    if found is not None:
        return found
    try:
        return download(published)
    except WeightsMismatch:
        raise
    except Exception as error:  # the hub client's HTTP library, and so its errors, change with its version
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise WeightsMissing(
            _not_found(published, weights, f", nor to be had from the hub ({reason})")
        ) from error


def find_present(published: Published, weights: Path | None) -> Path | None:
    """The weight file where it is on this machine, None where it is not."""
    for place in (weights, weights_home()):
        if place is not None and (found := find_local(published, place)) is not None:
            return found
    for revision in filter(None, dict.fromkeys((published.revision, published.revision and "main"))):
        for name in published.files:
            cached = try_to_load_from_cache(published.name, name, revision=revision)
            if isinstance(cached, str):
                return Path(cached)
    return None


def find_local(published: Published, weights: Path) -> Path | None:
    """The first file in the documented places of a folder (or the file itself), if any."""
    if weights.is_file():
        return weights
    for folder in (weights / published.folder, weights):
        for pattern in published.files:
            found = sorted(path for path in folder.glob(pattern) if path.is_file())
            if folder == weights:  # several encoders use the same file names
                found = [path for path in found if fits(published, path)]
            if len(found) > 1:
                raise WeightsMissing(
                    f"{folder} holds several candidates for {published.name}: "
                    f"{', '.join(str(path.relative_to(folder)) for path in found)}. Name one by its path."
                )
            if found:
                return found[0]
    return None


def fits(published: Published, path: Path) -> bool:
    """Whether a weight file has names of this encoder; WeightsMismatch for a file that is no weights."""
    return not published.names or any(re.search(published.names, name) for name in read_names(path))


def download(published: Published, *, quiet: bool = True) -> Path:
    """Fetch the pinned files of a hub checkpoint into the hub's cache and return the one with the weights.

    A download that broke off is resumed.

    Raises
    ------
    WeightsMismatch
        Where what came has another sha256 than the published file; it is removed from the cache.
    Exception
        The hub client's own errors.
    """
    # Asked first: without a connection the client's own download retries for a minute.
    info = HfApi().model_info(published.name, revision=published.revision, timeout=HUB_TIMEOUT_S)
    offered = {file.rfilename for file in info.siblings or ()}
    names = [pin.name for pin in published.pinned] or [n for n in published.files if n in offered][:1]
    if not names or names[0] not in offered:
        raise ValueError(f"it offers none of {', '.join(published.files)}")
    paths = [
        Path(hf_hub_download(published.name, name, revision=published.revision))
        for name in names
        if name in offered
    ]
    for pin, path in zip(published.pinned, paths, strict=False):
        if path.stat().st_size != pin.size or file_sha256(path) != pin.sha256:
            size = path.stat().st_size
            path.resolve().unlink()
            path.unlink(missing_ok=True)
            raise WeightsMismatch(
                f"{published.name}: what came as {pin.name} is not the published file ({size} bytes; "
                f"published: {pin.size} bytes, sha256 {pin.sha256[:12]}...), and was removed"
            )
    return paths[0]


def advice(*published: Published) -> str:
    """Which file to put where."""
    lines = [
        f"Put {one.wanted} (from {one.source}) into DIR/{one.folder}/ and give --weights DIR."
        for one in published
    ]
    folders = ",".join(dict.fromkeys(one.folder for one in published))
    lines.append(
        f"Or fetch them with `mmmos weights --encoders {folders}`, or use untrained encoders, which need no "
        "file (--random-weights SEED)."
    )
    return "\n".join(lines)


def _not_found(published: Published, weights: Path | None, more: str = "") -> str:
    tried = f"not in {weights}" if weights else "no weights folder given"
    reason = more or (
        ", not in the hub's cache, and the hub may not be asked (HF_HUB_OFFLINE)"
        if published.revision
        else f", not in {weights_home()}, and it is not on the hub"
    )
    return f"{published.name}: {tried}{reason}.\n{advice(published)}"
