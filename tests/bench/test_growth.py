"""What the bench says of memory."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.bench.growth import count_anew, memory_bytes

MB = 1_000_000


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="memory is counted on Linux alone")
def test_what_was_held_earlier_hides_nothing() -> None:
    earlier = bytes(range(256)) * 800_000
    del earlier
    before = count_anew()
    held = bytes(range(256)) * 200_000
    del held
    assert 50 * MB < memory_bytes("VmHWM") - before < 70 * MB
