"""Ids derived from settings by hash, and name lookup with helpful errors."""

from __future__ import annotations

import difflib
import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

SIGNATURE_DIGITS = 12

ALL = "all"
"""Stands for everything where domains are listed: in rows, tables and stored figures."""


def canonical_json(value: Any) -> str:
    """One text per value: sorted keys, no spaces, no NaN; equal values give equal texts.

    >>> canonical_json({"layers": 13, "dim": 768})
    '{"dim":768,"layers":13}'
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def digest(value: Any) -> str:
    """First 12 hex digits of the sha256 of a value's canonical JSON."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()[:SIGNATURE_DIGITS]


def signature(name: str, settings: Mapping[str, Any]) -> str:
    """`name-0123456789ab`: changes whenever any setting does."""
    return f"{name}-{digest(settings)}"


def differences(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> list[str]:
    """One line per field that differs.

    >>> differences({"layer": "mean", "weights": "random:0"}, {"layer": "mean", "weights": "random:1"})
    ["weights: 'random:0' here, 'random:1' there"]
    """
    fields = sorted(set(ours) | set(theirs))
    return [
        f"{field}: {ours.get(field)!r} here, {theirs.get(field)!r} there"
        for field in fields
        if ours.get(field) != theirs.get(field)
    ]


def beside_all(name: str) -> str:
    """A domain's name as it stands in a list where ALL means the whole: "'all'" for a domain named so.

    Different names stay different: what looks like "all" in quotes gets quotes of its own.
    """
    return f"'{name}'" if re.fullmatch(f"'*{ALL}'*", name) else name


def choose(kind: str, name: str, known: Iterable[str]) -> str:
    """Return `name` if it is known; otherwise a ValueError that lists the known and the nearest.

    >>> choose("loss", "utt", ["con", "ut"])
    Traceback (most recent call last):
    ValueError: unknown loss 'utt'; known: con, ut. Did you mean 'ut'?
    """
    names = sorted(known)
    if name in names:
        return name
    nearest = difflib.get_close_matches(name, names, n=1)
    hint = f" Did you mean {nearest[0]!r}?" if nearest else ""
    raise ValueError(f"unknown {kind} {name!r}; known: {', '.join(names)}.{hint}")
