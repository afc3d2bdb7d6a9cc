"""What the timings of a sweep stand on: every trial is timed, and some heads are trained again beside it."""

from __future__ import annotations

import math

from mmmos.heads.training.outputs import one_thread
from tests.bench.trials import many_trials


def test_a_small_sweep_is_timed_whole() -> None:
    with one_thread():
        found = many_trials(3, train=48, scored=24)
    assert found["trials"] == 3
    assert 3 <= found["epochs"] <= 30
    assert all(math.isfinite(value) for value in found.values())
    assert 0 < found["between_s"] < found["trial_s"]
