"""ClipProgress tells clips, speed and the time left, in plain lines where there is no terminal."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from mmmos.extract import progress as room
from mmmos.extract.progress import ClipProgress


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [100.0]
    monkeypatch.setattr(room.time, "monotonic", lambda: now[0])
    return now


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    said: list[str] = []
    monkeypatch.setattr(room, "say", said.append)
    return said


def test_lines_come_now_and_then_and_at_the_end(
    clock: list[float], lines: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "err", Console(file=io.StringIO(), force_terminal=False))
    with ClipProgress("encode", "crops", {"a": 1, "b": 3}) as progress:
        clock[0] += 4
        progress.advance("a", 5.0)
        assert lines == []
        clock[0] += 16
        progress.advance("b", 10.0)
        assert lines == ["encode: 1/2 clips, 0.1 crops/s, 1x real time, 0:20 left"]
        for _ in range(2):
            clock[0] += 2
            progress.advance("b", 10.0)
        assert len(lines) == 1
    assert lines[1:] == ["encode: 2/2 clips, 0.2 crops/s, 1x real time, 0:24"]


def test_a_terminal_gets_a_bar_and_one_last_line(lines: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    screen = io.StringIO()
    monkeypatch.setattr(room, "err", Console(file=screen, force_terminal=True, width=120))
    with ClipProgress("encode", "crops", {"a": 2}) as progress:
        progress.advance("a", 10.0)
        progress.advance("a", 10.0)
    assert "1/1 clips" in screen.getvalue()
    assert len(lines) == 1


def test_quiet_says_nothing(clock: list[float], lines: list[str]) -> None:
    with ClipProgress("survey", "files", {"a": 1}, quiet=True) as progress:
        clock[0] += 60
        progress.advance("a", 1.0)
    assert lines == []
