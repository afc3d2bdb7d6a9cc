"""What a process may still take, on a machine and in the control groups around it."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from mmmos.heads.training import memory

GIB = 1 << 30


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine that can free 8 GiB; the process is in the group job/step, without a limit yet."""
    groups, own = tmp_path / "groups", tmp_path / "cgroup"
    (groups / "job" / "step").mkdir(parents=True)
    own.write_text("12:cpu:/elsewhere\n0::/job/step\n")
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=8 * GIB))
    monkeypatch.setattr(memory, "GROUPS", groups)
    monkeypatch.setattr(memory, "OWN_GROUP", own)
    return groups


def limit(group: Path, limit: str, current: int, cached: int) -> None:
    (group / "memory.max").write_text(f"{limit}\n")
    (group / "memory.current").write_text(f"{current}\n")
    (group / "memory.stat").write_text(f"anon 5\ninactive_file {cached}\nactive_file 7\n")


def test_without_limits_it_is_what_the_machine_can_free(machine: Path) -> None:
    assert memory.spare_memory_bytes() == 8 * GIB


def test_the_tightest_limit_around_counts_and_unused_file_cache_is_spare(machine: Path) -> None:
    limit(machine / "job" / "step", "max", GIB, GIB)
    assert memory.spare_memory_bytes() == 8 * GIB
    limit(machine / "job", str(4 * GIB), 3 * GIB, GIB)
    assert memory.spare_memory_bytes() == 2 * GIB
    limit(machine, str(GIB), 2 * GIB, 0)
    assert memory.spare_memory_bytes() == 0


def test_without_control_groups_the_machine_alone_counts(
    machine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit(machine / "job", str(GIB), 0, 0)
    monkeypatch.setattr(memory, "OWN_GROUP", tmp_path / "missing")
    assert memory.spare_memory_bytes() == 8 * GIB


def test_this_very_machine_has_some() -> None:
    assert 0 < memory.spare_memory_bytes() < psutil.virtual_memory().total
