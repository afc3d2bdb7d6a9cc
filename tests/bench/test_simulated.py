"""The measure of the pipeline's bench falls where a card waits."""

from __future__ import annotations

import pytest

from tests.bench import simulated


def test_a_card_that_waits_is_less_busy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Start-up and what comes after its last work are not counted; every gap in between is."""
    now_s = 100.0
    monkeypatch.setattr(simulated.time, "monotonic", lambda: now_s)
    monkeypatch.delenv(simulated.LOG, raising=False)
    card = simulated.Card()
    for at_s in (107.0, 108.0, 109.0):  # each second's work is there before the last ends
        now_s = at_s
        card.queue(1.0)
    assert card.busy == 1.0
    now_s = 112.0  # two seconds late
    card.queue(1.0)
    now_s = 150.0
    assert card.busy == pytest.approx(4 / 6)
