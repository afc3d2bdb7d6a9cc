"""What a killed writer left is told from what a living one holds."""

from __future__ import annotations

from pathlib import Path

from mmmos.store import files
from mmmos.store.leftovers import leftovers_in


def test_leftovers_know_who_holds_them(tmp_path: Path) -> None:
    writer = files.Temporary(tmp_path)
    (tmp_path / "tmp-dead").write_bytes(b"123")
    (tmp_path / "mine.txt").write_bytes(b"123")
    found = {one.path.name: (one.bytes, one.in_use) for one in leftovers_in(tmp_path)}
    assert found == {"tmp-dead": (3, False), writer.path.name: (0, True)}
    writer.discard()
    writer.discard()
    assert not writer.path.exists()
