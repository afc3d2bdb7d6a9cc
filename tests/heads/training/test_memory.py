"""What a process may still take, read from the files in which Linux tells it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mmmos.heads.training import memory

GIB = 1 << 30


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine that can free 8 GiB, whose control groups lie in a folder and have no limit yet."""
    meminfo, groups = tmp_path / "meminfo", tmp_path / "groups"
    meminfo.write_text("MemTotal:  16777216 kB\nMemFree:  1024 kB\nMemAvailable:  8388608 kB\n")
    (groups / "job" / "step").mkdir(parents=True)
    monkeypatch.setattr(memory, "MEMINFO", meminfo)
    monkeypatch.setattr(memory, "GROUPS", groups)
    return groups


def limit(group: Path, limit: str, current: int, cached: int) -> None:
    (group / "memory.max").write_text(f"{limit}\n")
    (group / "memory.current").write_text(f"{current}\n")
    (group / "memory.stat").write_text(f"anon 5\ninactive_file {cached}\nactive_file 7\n")


def test_file_cache_counts_as_spare(machine: Path) -> None:
    assert memory.spare_memory_bytes() == 8 * GIB


def test_the_tightest_limit_around_counts(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_own_group", lambda: machine / "job" / "step")
    limit(machine / "job" / "step", "max", GIB, GIB)
    assert memory.spare_memory_bytes() == 8 * GIB
    limit(machine / "job", str(4 * GIB), 3 * GIB, GIB)
    assert memory.spare_memory_bytes() == 2 * GIB
    limit(machine, str(GIB), 2 * GIB, 0)
    assert memory.spare_memory_bytes() == 0


def test_without_such_files_the_system_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "MEMINFO", tmp_path / "missing")
    monkeypatch.setattr(memory, "GROUPS", tmp_path)
    assert 0 < memory.spare_memory_bytes() < os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def test_this_very_machine_has_some() -> None:
    assert memory.spare_memory_bytes() > 0
