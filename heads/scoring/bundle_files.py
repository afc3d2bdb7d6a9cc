"""The files of a bundle that somebody else may have made, read within limits."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.numpy import load as load_arrays

from mmmos.heads.scoring.bundle_folder import REFERENCE
from mmmos.heads.scoring.json_values import texts
from mmmos.heads.scoring.reference import Reference
from mmmos.store import files, sealed
from mmmos.store.schema import EncoderSpec

MAX_HEADER_BYTES, MAX_DOMAINS = 1 << 20, 10_000
RUN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]{0,120}")
"""Run ids become file names: one plain component, never a path."""


def read_reference(folder: Path, about: Mapping[str, Any], specs: Iterable[EncoderSpec]) -> Reference:
    """The reference in a bundle's folder, as its JSON says and for its encoders; ValueError for another."""
    dims = {spec.id: spec.frame_dim for spec in specs}
    domains = len(texts(about["reference"]["domains"], "domains"))
    if domains > MAX_DOMAINS:
        raise ValueError(f"{domains} domains; {MAX_DOMAINS} at most are read")
    most = 4 * (domains + 1) * sum(dims.values()) + MAX_HEADER_BYTES
    data = read_bytes(folder / REFERENCE, most)
    try:
        arrays = load_arrays(data)
    except SafetensorError as reason:
        raise ValueError(f"{REFERENCE}: {reason}") from None
    return Reference.from_parts(about["reference"], arrays, dims)


def head_path(folder: Path, run: str) -> Path:
    """The file of a member; ValueError for what is no run id."""
    if not RUN_ID.fullmatch(run):
        raise ValueError(f"{run!r} is not a run id")
    return _real(folder / "heads" / f"{run}.safetensors")


def read_bytes(path: Path, limit_bytes: int) -> bytes:
    """The contents of a file of a bundle; ValueError for more bytes than that, or damage."""
    data = files.read_bytes(_real(path), limit_bytes)
    sealed.is_sealed(data, path)
    return data


def _real(path: Path) -> Path:
    # WHY links are followed: the hub's cache is made of them.  What is read is data either way.
    # os.path says OSError of links in a circle, where Path.resolve says RuntimeError.
    return Path(os.path.realpath(path, strict=True))
