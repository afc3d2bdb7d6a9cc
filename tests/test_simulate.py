"""The simulations run, and their last line says what they measured."""

from __future__ import annotations

import json

import pytest

from mmmos.heads.metrics import METRICS
from tests.simulate import main


def test_quick_simulations_end_with_one_line_of_json(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--quick"])
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    for what, systems in (("coverage", {"10", "20", "36"}), ("size", {"8", "10", "20", "36"})):
        for level in ("system", "utterance"):
            assert set(found[what][level]) == set(METRICS)
            for shares in found[what][level].values():
                assert set(shares) == systems
                assert all(0 <= share <= 1 for share in shares.values())
    assert set(found["gain"]["systems"]) == {"10", "30", "100"}
