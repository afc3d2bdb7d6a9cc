"""The file that says what a store's features depend on, and in which fields two stores differ."""

from __future__ import annotations

from dataclasses import MISSING, asdict, fields
from functools import cache
from pathlib import Path
from typing import Any

from mmmos.store import files, sealed, shards
from mmmos.store.console import say
from mmmos.store.names import differences
from mmmos.store.schema import EncoderSpec

SPEC_FILE = "spec.json"
MAX_ROW_BYTES = 1 << 30
"""A spec whose crops would be larger is not plausible."""


def write_spec(folder: Path, spec: EncoderSpec) -> None:
    """Say in the folder what its features depend on."""
    sealed.write_json(folder / SPEC_FILE, asdict(spec))


def read_spec(folder: Path) -> EncoderSpec:
    """The spec in a store's folder, checked: ValueError unless it is complete and names this folder."""
    path = Path(folder) / SPEC_FILE
    data = files.read_bytes(path, 1 << 16)
    values: Any = sealed.parse_json(data, path)
    if isinstance(values, dict):
        values.pop(sealed.KEY, None)
    spec = spec_of(values, path)
    if spec.id != Path(folder).resolve().name:
        raise ValueError(
            f"{path} spells out {spec.id}, but its folder is named {Path(folder).resolve().name}"
        )
    sealed.is_sealed(data, path)  # last, so that a wrong field is named; the facts have no other check
    return spec


def spec_of(values: Any, what: object) -> EncoderSpec:
    """The spec of JSON values; ValueError, beginning with `what`, for what cannot be one."""
    kinds: dict[str, Any] = {
        "str": str,
        "int": int,
        "float": (int, float),
        "float | None": (int, float),
        "bool": bool,
    }
    known = {field.name: kinds[str(field.type)] for field in fields(EncoderSpec)}
    needed = {field.name for field in fields(EncoderSpec) if field.default is MISSING}
    if not isinstance(values, dict) or not needed <= set(values) <= set(known):
        raise ValueError(f"{what}: not an encoder spec: its fields are not {', '.join(known)}")
    values = {name: value for name, value in values.items() if value is not None or name in needed}
    for name, kind in ((name, known[name]) for name in values):
        if not isinstance(values[name], kind) or isinstance(values[name], bool) != (kind is bool):
            raise ValueError(f"{what}: {name} is {values[name]!r:.60}")
        if kind is not str and not 0 <= values[name] <= 1e9:
            raise ValueError(f"{what}: {name} is {values[name]!r:.60}")
    spec = EncoderSpec(**values)
    if (
        shards.frame_bytes(spec) + shards.mean_bytes(spec) > MAX_ROW_BYTES
        or min(spec.frames, spec.dim, spec.layers) < 1
    ):
        raise ValueError(
            f"{what}: frames {spec.frames}, dim {spec.dim}, layers {spec.layers} are not plausible"
        )
    return spec


def store_folders(root: Path) -> list[Path]:
    """The folders of all stores below `root`, by name."""
    return sorted(path.parent for path in Path(root).glob(f"*/{SPEC_FILE}") if path.is_file())


def stored_specs(root: Path) -> list[EncoderSpec]:
    """The specs of all stores below `root`, by folder name; one that cannot be is left aside with a word."""
    specs = []
    for folder in store_folders(root):
        try:
            specs.append(read_spec(folder))
        except (OSError, ValueError) as reason:
            _say_skipped(folder, str(reason))
    return specs


@cache
def _say_skipped(folder: Path, reason: str) -> None:
    """Once a process: a copy beside a store, or one that is damaged, blocks nothing."""
    say(f"{folder} is left aside, its features are not used: {reason}")


def near_misses(root: Path, spec: EncoderSpec) -> list[str]:
    """Why stored features of this encoder cannot be reused: a line for each store and field that differs.

    Empty where `root` holds the spec itself, or nothing of this encoder.
    """
    others = [other for other in stored_specs(root) if other.name == spec.name]
    if spec in others:
        return []
    return [
        f"not {other.id}: {line}" for other in others for line in differences(spec.settings, other.settings)
    ]
