"""SECURITY.md names tests that are there."""

from __future__ import annotations

import re

import pytest

from tests.conftest import ROOT

NAMED = re.findall(r"(tests/[\w/]+\.py)::(\w+)", (ROOT / "SECURITY.md").read_text(encoding="utf-8"))


@pytest.mark.parametrize(("file", "test"), NAMED)
def test_every_threat_has_a_test_that_exists(file: str, test: str) -> None:
    assert f"def {test}(" in (ROOT / file).read_text(encoding="utf-8")


def test_every_line_of_the_table_names_one() -> None:
    table = (ROOT / "SECURITY.md").read_text(encoding="utf-8").partition("## Threats")[2]
    lines = [line for line in table.splitlines() if line.startswith("| ")][2:]
    assert len(lines) == len(NAMED)
    assert len(lines) > 10
