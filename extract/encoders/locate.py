"""Looking for weight files: in the user's folder, the project's own and the hub's cache, else on the hub.

A folder of weights is laid out as

    DIR/wavlm/pytorch_model.bin            or the files of one encoder directly in DIR,
    DIR/muq/model.safetensors, config.json or one file, given by its own path
    DIR/m2d/<the published folder>/*.pth
    DIR/aes/model.safetensors, config.json

The project's own folder is `published.weights_home`, which `mmmos weights` fills.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from huggingface_hub import HfApi, constants, hf_hub_download, try_to_load_from_cache

from mmmos.extract.encoders.published import Published, weights_home
from mmmos.extract.encoders.weights import WeightsMismatch, WeightsMissing, file_sha256, read_names

HUB_TIMEOUT_S = 10.0


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
        f"Or fetch them with `mmmos weights --encoders {folders}`. No file is needed by `--encoders logmel`, "
        "nor by untrained encoders (`extract --random-weights SEED`)."
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
