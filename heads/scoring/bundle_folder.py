"""The files of a bundle's folder, and whether all that lies in one is ours to replace."""

from __future__ import annotations

from collections.abc import Mapping
from glob import escape
from pathlib import Path
from typing import Any

from mmmos.heads.scoring.bundle_check import ABOUT, FORMAT
from mmmos.store import folders, noted, sealed

CARD, REFERENCE = "README.md", "reference.safetensors"
PLOTS = ("sensitivity.svg",)
HEADS = "heads/*.safetensors"
PRIOR = "prior"
OWN = (ABOUT, CARD, REFERENCE, HEADS, *PLOTS)
FILES = (*OWN, *(f"{PRIOR}/{name}" for name in OWN))
"""What a bundle's folder may hold, and what goes to the hub."""
SHOWN = "shown"
"""Where bundle.json keeps the sha256 of what people look at; on the hub's web pages they may change these."""
MAX_ABOUT_BYTES = 1 << 23


def refuse_other(folder: Path) -> None:
    """ValueError, naming what is there, for a folder that is neither empty nor a bundle of ours.

    Heads that its bundle.json does not name are somebody's, and so is a card that was changed by hand.
    """
    try:
        about = sealed.read_object(Path(folder) / ABOUT, MAX_ABOUT_BYTES)
        heads = [f"heads/{escape(str(member['run']))}.safetensors" for member in about["members"]]
    except (OSError, EOFError, ValueError, LookupError, TypeError):
        about, heads = {}, [HEADS]
    known = [name for name in FILES if name != HEADS]
    folders.refuse_foreign(folder, lambda _: about.get("format") == FORMAT, (*known, *heads), "bundle")
    if changed := changed_by_hand(Path(folder), about):
        raise ValueError(
            f"{changed[0]} was changed by hand since it was written: it is not written over; name a new "
            "folder, or move it away"
        )


def changed_by_hand(folder: Path, about: Mapping[str, Any]) -> list[Path]:
    """The card and plots of a bundle that are not as they were written."""
    written = about.get(SHOWN)
    known = written if isinstance(written, dict) else {}
    there = [folder / name for name in (CARD, *PLOTS) if name in known and (folder / name).is_file()]
    return [path for path in there if noted.sha256(path) != known[path.name]]
