"""Reuse goes by the signature, and the message says which field is in its way."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from mmmos.store.features import FeatureStore, list_stores
from mmmos.store.specs import near_misses, read_spec, stored_specs
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


def test_cost_and_licence_travel_with_the_spec_but_change_neither_its_id_nor_what_it_equals(
    tmp_path: Path,
) -> None:
    spec = replace(SPEC, name="newcomer")
    told = replace(spec, gflop=12.5, licence="MIT")
    assert (told.id, told) == (spec.id, spec)
    fill(tmp_path, 1, spec=told)
    (read,) = stored_specs(tmp_path)
    assert (read.gflop, read.licence) == (12.5, "MIT")
    assert near_misses(tmp_path, replace(spec, gflop=13.0)) == []


def test_specs_stored_before_they_told_cost_and_licence_are_read_with_the_values_of_that_time(
    tmp_path: Path,
) -> None:
    spec = replace(SPEC, name="muq", gflop=None, licence="")
    fill(tmp_path, 1, spec=spec)
    path = tmp_path / spec.id / "spec.json"
    path.write_text(json.dumps(spec.settings))
    read = FeatureStore.open(path.parent).spec
    assert read == spec
    assert read.gflop == 426.0
    assert read.licence.startswith("CC BY-NC 4.0")


def test_a_cost_that_is_no_number_is_refused(tmp_path: Path) -> None:
    fill(tmp_path, 1)
    path = tmp_path / SPEC.id / "spec.json"
    path.write_text(json.dumps({**SPEC.settings, "gflop": "cheap"}))
    with pytest.raises(ValueError, match="gflop is 'cheap'"):
        read_spec(path.parent)
