"""How much memory features may take: what the machine, and the container around this process, can spare."""

from __future__ import annotations

import os
import re
from pathlib import Path

MEMINFO = Path("/proc/meminfo")
GROUPS = Path("/sys/fs/cgroup")


def spare_memory_bytes() -> int:
    """Memory that this process may still take: what the machine can free, within its container's limit.

    Pages that only cache files count as free: after an extraction they are most of a machine's memory.
    """
    try:
        available = 1024 * int(_field(MEMINFO, r"MemAvailable:\s+(\d+) kB"))
    except (OSError, ValueError):  # not Linux; macOS only tells how much there is in all
        pages = "SC_AVPHYS_PAGES" if "SC_AVPHYS_PAGES" in os.sysconf_names else "SC_PHYS_PAGES"
        available = os.sysconf(pages) * os.sysconf("SC_PAGE_SIZE")
    return max(0, min([available, *_left_in_groups(_own_group())]))


def _own_group() -> Path:
    """The control group (version 2) of this process; the root's folder where there are none."""
    try:
        return GROUPS / _field(Path("/proc/self/cgroup"), r"0::/(.*)").strip()
    except (OSError, ValueError):
        return GROUPS


def _left_in_groups(group: Path) -> list[int]:
    """Bytes that a control group and those around it may still take, where they have a limit.

    A group's file cache that nobody uses is taken back before its limit is enforced.
    """
    left = []
    for folder in (group, *group.parents):
        try:
            limit = int((folder / "memory.max").read_text())
            cached = int(_field(folder / "memory.stat", r"inactive_file (\d+)"))
            left.append(limit - int((folder / "memory.current").read_text()) + cached)
        except (OSError, ValueError):  # no limit ("max"), or not a group
            continue
    return left


def _field(path: Path, pattern: str) -> str:
    """What the pattern's group matches at the start of some line; ValueError where none does."""
    found = re.search(f"^{pattern}", path.read_text(), re.M)
    if found is None:
        raise ValueError(f"{path} has no line like {pattern}")
    return found.group(1)
