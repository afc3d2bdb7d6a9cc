"""The grids are the paper's tables."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from mmmos.heads.config import HeadConfig
from mmmos.heads.grids import GRIDS, grid
from mmmos.heads.network.aggregators import AGGREGATORS
from mmmos.heads.network.losses import LOSSES
from tests.heads.small import M2D, MUQ, WAVLM, spec

PAPER = (WAVLM, MUQ, M2D)
LOGMEL = spec("logmel", 25.0, 4, 1)


def names(config: HeadConfig) -> str:
    return "+".join(e.rpartition("-")[0] for e in config.encoders)


def test_the_sixteen_of_table_three() -> None:
    found = grid("paper", PAPER, "data-0")
    assert len(found) == len({config.id for config in found}) == 16
    assert Counter((names(c), c.aggregator) for c in found) == {
        ("wavlm+m2d", "mlp"): 4,
        ("wavlm+muq+m2d", "mlp"): 4,
        ("wavlm+muq+m2d", "blstm_h"): 4,
        ("wavlm+muq+m2d", "blstm_t"): 4,
    }
    assert {c.loss for c in found} == {"ccc", "con", "dcq", "ut"}
    assert {(c.aggregator, c.batch, c.learning_rate, c.epochs) for c in found} == {
        ("mlp", 32, 1e-4, 10),
        ("blstm_h", 16, 1e-4, 10),
        ("blstm_t", 16, 1e-4, 10),
    }


def test_further_encoders_join_both_sets_and_absent_ones_are_left_out() -> None:
    assert {names(c) for c in grid("paper", (LOGMEL, *PAPER), "d")} == {
        "wavlm+m2d+logmel",
        "wavlm+muq+m2d+logmel",
    }
    assert len(grid("paper", (LOGMEL,), "d")) == 12  # the two sets are one, and its mlp is kept once
    assert {names(c) for c in grid("paper", (MUQ,), "d")} == {"muq"}


def test_table_two_and_the_full_grid() -> None:
    table_two = grid("encoders", PAPER, "d")
    assert {names(c) for c in table_two} == {
        "wavlm",
        "muq",
        "m2d",
        "wavlm+muq",
        "wavlm+m2d",
        "muq+m2d",
        "wavlm+muq+m2d",
    }
    assert {(c.aggregator, c.loss) for c in table_two} == {("mlp", "ut")}
    full = grid("full", PAPER, "d")
    assert len(full) == 7 * 3 * 4
    assert set(table_two) <= set(full)
    assert set(grid("paper", PAPER, "d")) <= set(full)
    assert len(grid("beyond", PAPER, "d")) == (len(AGGREGATORS) - 3) * len(LOSSES) + 3  # closed forms: mse
    assert "logmel" in {names(c) for c in grid("encoders", (*PAPER, LOGMEL), "d")}


def test_filters_seeds_and_overrides() -> None:
    found = grid("paper", PAPER, "d", aggregators=["mlp"], losses=["ut", "con"], seeds=5)
    assert len(found) == 2 * 2 * 5
    assert {c.seed for c in found} == set(range(5))
    only = grid("paper", PAPER, "d", encoders=["wavlm"], learning_rate=1e-3, epochs=None, seed=7)
    assert {(names(c), c.learning_rate, c.epochs, c.seed) for c in only} == {("wavlm", 1e-3, 10, 7)}


def test_encoders_joined_by_a_plus_are_one_set() -> None:
    def kept(*encoders: str, name: str = "encoders") -> list[str]:
        return [names(c) for c in grid(name, PAPER, "d", encoders=encoders)]

    assert kept("wavlm", "m2d") == ["wavlm", "m2d", "wavlm+m2d"]
    assert kept("m2d+wavlm") == ["wavlm+m2d"]
    assert kept("wavlm+m2d", "muq") == ["muq", "wavlm+m2d"]
    assert kept(f"{WAVLM.id}+m2d") == ["wavlm+m2d"]
    assert set(kept("wavlm+m2d", name="paper")) == {"wavlm+m2d"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "papers"}, "Did you mean 'paper'"),
        ({"encoders": ["wavlm+m2"]}, "Did you mean 'm2d'"),
        ({"encoders": ["wavlm+m2d", "muq"]}, "'paper' has no set 'muq', only wavlm.m2d, wavlm.muq.m2d"),
        ({"encoders": ["wavelm"]}, "Did you mean 'wavlm'"),
        ({"aggregators": ["mlp", "attention"]}, "grid 'beyond' has every"),
        ({"aggregators": ["mlp", "blstmt"]}, "unknown aggregator 'blstmt'.*Did you mean 'blstm_t'"),
        ({"losses": ["ut", "mse"]}, "has no loss 'mse', only ccc, con, dcq, ut"),
        ({"losses": ["cc"]}, "Did you mean 'ccc'"),
        ({"specs": ()}, "no encoder's features are stored"),
        ({"learning_rat": 1.0}, "Did you mean 'learning_rate'"),
        ({"frame_rate_hz": 7.0}, "6.25"),
        ({"epochs": 0}, "at least 1"),
        ({"learning_rate": float("nan")}, "finite"),
        ({"precision": "fp16"}, "known: bf16, fp32"),
        ({"layer": "wavlm:last,muq:mean"}, "ENCODER=RULE,.*wavlm=layermix,muq=last"),
        ({"layer": "mean,muq=last"}, "ENCODER=RULE"),
        ({"layer": "wavlm=last,mqu=last"}, "unknown encoder in the layer rule 'mqu'.*'muq'"),
    ],
)
def test_what_cannot_be_is_refused_with_what_can(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        grid(**{"name": "paper", "specs": PAPER, "data": "d", **arguments})


def test_two_features_of_one_encoder_must_be_told_apart() -> None:
    last = replace(WAVLM, layer="last")
    with pytest.raises(ValueError, match="by its full name"):
        grid("paper", (WAVLM, last), "d")
    assert {c.encoders for c in grid("paper", (WAVLM, last), "d", encoders=[last.id])} == {(last.id,)}


@pytest.mark.parametrize("name", GRIDS)
def test_every_grid_builds_from_any_encoder(name: str) -> None:
    for one in (*PAPER, LOGMEL):
        assert grid(name, (one,), "d")


def test_the_release_trains_linear_heads_on_a_mix_of_wavlm_and_last_layers() -> None:
    (found,) = grid("release", PAPER, "data-0")
    assert (found.aggregator, found.loss, found.tau) == ("linear", "ut", 0.5)
    assert found.layer == "wavlm=layermix,muq=last,m2d=last"
    assert grid("release", PAPER, "data-0", tau=0.25, layer=None)[0].tau == 0.25


def test_a_tau_and_a_split_to_stop_on_are_dropped_where_they_change_nothing() -> None:
    """Equal heads have equal ids."""
    plain = grid("paper", PAPER, "data-0")
    changed = grid("paper", PAPER, "data-0", tau=0.25)
    assert [a != b for a, b in zip(plain, changed, strict=True)] == [c.loss == "ut" for c in plain]
    solved = {"encoders": ("muq",), "aggregators": ("ridge",)}
    given = grid("beyond", PAPER, "data-0", **solved, tau=0.25, stop_on="dev+pam")
    assert given == grid("beyond", PAPER, "data-0", **solved)
