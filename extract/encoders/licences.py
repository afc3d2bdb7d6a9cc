"""Which terms of weights allow commercial use, told from their words."""

from __future__ import annotations

import re

FORBIDS = re.compile(r"\bnc\b|non-?commercial|not for commercial|research only|academic", re.IGNORECASE)
ALLOWS = re.compile(
    r"\b(mit|apache|bsd|cc0|isc|mpl|public domain|unlicense|no weights|cc[ -]by([ -]sa)?[ -][0-9.]+)\b",
    re.IGNORECASE,
)


def require_permissive(name: str, licence: str) -> None:
    """ValueError for terms that forbid commercial use, or are not known to allow it."""
    if FORBIDS.search(licence):
        raise ValueError(f"--licence permissive: the terms of {name} forbid commercial use ({licence})")
    if not ALLOWS.search(licence):
        raise ValueError(
            f"--licence permissive: the terms of {name} are not known to allow commercial use ({licence}). "
            "Read them, and leave the option out if they do; logmel and fullband need no weights"
        )
