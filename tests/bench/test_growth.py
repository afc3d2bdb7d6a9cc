"""What the bench says of memory."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytest

from tests.bench.growth import count_anew, memory_bytes

MB = 1_000_000


def held_after_more_was() -> int:
    """Bytes that are counted for 51 MB, in a process that held 205 MB before."""
    earlier = bytes(range(256)) * 800_000
    del earlier
    before = count_anew()
    held = bytes(range(256)) * 200_000
    del held
    return memory_bytes("VmHWM") - before


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="memory is counted on Linux alone")
def test_what_was_held_earlier_hides_nothing() -> None:
    """As in the bench the process is a new one: in an old one freed memory is used again."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        assert 50 * MB < pool.submit(held_after_more_was).result() < 70 * MB
