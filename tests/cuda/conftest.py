"""One fake card a test."""

from __future__ import annotations

import pytest

from tests.cuda.fake import Card


@pytest.fixture
def card(monkeypatch: pytest.MonkeyPatch) -> Card:
    return Card(monkeypatch)
