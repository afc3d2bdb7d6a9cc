"""HeadConfig is a run's identity."""

from __future__ import annotations

from dataclasses import asdict, fields, replace

import pytest

from mmmos.heads.config import HeadConfig
from mmmos.heads.grids import configure


@pytest.mark.parametrize("field", [field.name for field in fields(HeadConfig)])
def test_every_field_is_part_of_the_id(field: str) -> None:
    base = configure("data-0", ["wavlm-1"], "blstm_t", "ut")
    other = {
        "data": "data-1",
        "encoders": ("wavlm-2",),
        "aggregator": "mlp",
        "loss": "con",
        "frame_rate_hz": 25.0,
        "learning_rate": 2e-4,
        "weight_decay": 1e-3,
        "dropout": 0.5,
        "precision": "bf16",
        "layer": "last",
        "reads": "profile",
        "stop_on": "dev+pam",
        "tau": 0.25,
    }
    changed = replace(base, **{field: other.get(field, 99)})
    assert changed.id != base.id


def test_the_id_does_not_drift() -> None:
    """A golden id: changing it silently would train everything again."""
    assert HeadConfig("data-0", ("wavlm-1",)).id == "mlp-ut-625abcc26462"


def test_fields_that_came_later_are_silent_at_their_default_alone() -> None:
    """So runs and bundles of earlier versions keep their ids, and a tau of 0 is not taken for none."""
    plain = HeadConfig("data-0", ("wavlm-1",))
    assert not {"layer", "reads", "stop_on", "tau"} & set(plain.settings)
    for change in ({"tau": 0.0}, {"stop_on": "dev+pam"}):
        changed = replace(plain, **change)
        assert changed.settings == plain.settings | change
        assert HeadConfig.from_json(changed.settings) == changed
        assert changed.title != plain.title


@pytest.mark.parametrize("wrong", [{"tau": -0.1}, {"tau": float("nan")}, {"stop_on": "test"}])
def test_what_no_head_can_be_trained_with_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"tau|split to stop on"):
        HeadConfig("data-0", ("wavlm-1",), **wrong)  # type: ignore[arg-type]


def test_json_round_trip_and_foreign_fields() -> None:
    config = configure("data-0", ["wavlm-1", "m2d-2"], "blstm_h", "ccc")
    assert HeadConfig.from_json({**asdict(config), "encoders": list(config.encoders)}) == config
    with pytest.raises(ValueError, match="colour"):
        HeadConfig.from_json({**asdict(config), "colour": "red"})
