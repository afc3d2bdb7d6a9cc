"""Reuse goes by the signature, and the message says which field is in its way."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from mmmos.store.features import FeatureStore, list_stores
from mmmos.store.specs import near_misses, stored_specs
from tests.store.made import SPEC, crop, fill


def test_near_misses_name_the_fields(tmp_path: Path) -> None:
    other = replace(SPEC, weights="random:1", audio="another crop rule")
    fill(tmp_path, 1, spec=other)
    fill(tmp_path, 1, spec=replace(SPEC, name="muq"))
    assert near_misses(tmp_path, SPEC) == [
        f"not {other.id}: audio: 'made up' here, 'another crop rule' there",
        f"not {other.id}: weights: 'none' here, 'random:1' there",
    ]
    fill(tmp_path, 1)
    assert near_misses(tmp_path, SPEC) == []
    assert len(stored_specs(tmp_path)) == len(list_stores(tmp_path)) == 3
    assert near_misses(tmp_path / "absent", SPEC) == []


@pytest.mark.parametrize(
    "change",
    [
        {"audio": "another resampler"},
        {"weights": "0" * 64},
        {"recipe": 2},
        {"layer": "last"},
        {"precision": "bf16"},
    ],
)
def test_another_signature_reuses_nothing(tmp_path: Path, change: dict[str, object]) -> None:
    fill(tmp_path, 3)
    assert len(FeatureStore(tmp_path, replace(SPEC, **change)).missing([crop(0)])) == 1  # type: ignore[arg-type]


def test_other_clips_over_the_same_audio_reuse_all(tmp_path: Path) -> None:
    fill(tmp_path, 3)
    assert FeatureStore(tmp_path, SPEC).missing([crop(2), crop(0)]) == []
