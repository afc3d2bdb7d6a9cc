"""The search space: pure, and it holds the paper's values."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

import pytest

from mmmos.heads.config import AGGREGATOR_FIELDS
from mmmos.heads.grids import configure
from mmmos.heads.tuning.space import SPACE, paper_params, suggest, suggest_cell


class Scripted:
    """A trial that answers with given values and remembers what was asked."""

    def __init__(self, answers: dict[str, Any]) -> None:
        self.answers, self.asked = answers, {}

    def suggest_categorical(self, name: str, choices: list[Any]) -> Any:
        self.asked[name] = choices
        assert self.answers[name] in choices
        return self.answers[name]

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float:
        self.asked[name] = (low, high)
        assert low <= self.answers[name] <= high
        return float(self.answers[name])


@pytest.mark.parametrize("aggregator", AGGREGATOR_FIELDS)
def test_the_papers_values_give_the_base_back(aggregator: str) -> None:
    bases = [configure("d", ["wavlm-1"], aggregator, loss) for loss in ("ut", "con")]
    assert suggest(Scripted(paper_params(bases[:1])), bases[0]) == bases[0]
    assert suggest_cell(Scripted(paper_params(bases)), bases) == bases[0]
    odd = replace(bases[0], hidden=48, learning_rate=0.5, dropout=0.9)
    assert suggest(Scripted(paper_params([odd])), odd) == odd


def test_suggest_is_pure_and_changes_only_the_space() -> None:
    base = configure("d", ["wavlm-1"], "blstm_t", "ut", seed=4)
    answers = {
        "learning_rate": 1e-3,
        "batch": 8,
        "hidden": 128,
        "width": 256,
        "dropout": 0.25,
        "weight_decay": 0.01,
    }
    assert set(answers) == set(SPACE)
    first, second = suggest(Scripted(answers), base), suggest(Scripted(answers), base)
    assert first == second
    assert {k: v for k, v in asdict(first).items() if k not in SPACE} == {
        k: v for k, v in asdict(base).items() if k not in SPACE
    }
    assert {k: getattr(first, k) for k in SPACE} == answers


def test_width_is_asked_only_where_there_is_a_blstm() -> None:
    for aggregator, fields in AGGREGATOR_FIELDS.items():
        trial = Scripted(paper_params([configure("d", ["a-1"], aggregator)]))
        suggest(trial, configure("d", ["a-1"], aggregator))
        assert ("width" in trial.asked) == ("width" in fields)


def test_a_grid_draws_its_cell() -> None:
    bases = [configure("d", ["wavlm-1"], "mlp", "ut"), configure("d", ["wavlm-1"], "blstm_h", "ut")]
    found = suggest_cell(Scripted({**paper_params(bases[1:]), "cell": bases[1].title}), bases)
    assert found == bases[1]
