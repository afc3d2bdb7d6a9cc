"""How much memory features may take: what the machine, its container or a card can spare; what is kept."""

from __future__ import annotations

import ctypes
import re
import sys
from functools import cache
from pathlib import Path

import psutil
import torch

GROUPS = Path("/sys/fs/cgroup")
OWN_GROUP = Path("/proc/self/cgroup")


def spare_memory_bytes() -> int:
    """Memory that this process may still take: what the machine can free, within its container's limit.

    Pages that only cache files count as free: after an extraction they are most of a machine's memory.
    """
    return max(0, min([psutil.virtual_memory().available, *_left_in_groups()]))


TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3
"""Names of glibc's mallopt(3)."""
KEPT_BYTES, LARGEST_KEPT_BYTES = 1 << 30, 1 << 25


@cache
def keep_freed_memory() -> None:
    """Let this process keep up to a gigabyte that it has freed; nothing where the C library is not glibc.

    Every step takes what the step before has given back.  Pages that went back to the system have to be
    faulted in afresh: 5 % of a step of `blstm_t`.
    """
    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "mallopt"):
        libc.mallopt(TRIM_THRESHOLD, KEPT_BYTES)
        libc.mallopt(MMAP_THRESHOLD, LARGEST_KEPT_BYTES)


def spare_device_bytes(device: torch.device) -> int:
    """Memory of a card that nobody has taken."""
    free_bytes, _ = torch.cuda.mem_get_info(device)
    return free_bytes


def _left_in_groups() -> list[int]:
    """Bytes that the control groups (version 2) around this process may still take, where they have a limit.

    A group's file cache that nobody uses is taken back before its limit is enforced.
    """
    own = re.search(r"^0::/(.*)$", OWN_GROUP.read_text(), re.M) if OWN_GROUP.is_file() else None
    group = GROUPS / (own[1] if own else "")
    left = []
    for folder in (group, *group.parents):
        try:
            limit, taken = (int((folder / name).read_text()) for name in ("memory.max", "memory.current"))
            stat = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
            left.append(limit - taken + int(stat["inactive_file"]))
        except (OSError, ValueError, KeyError):  # no limit ("max"), or not a group
            continue
    return left
