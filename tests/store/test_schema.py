"""The values that both stages share check themselves and name themselves."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest

from mmmos.store.names import signature
from mmmos.store.schema import AES_AXES, CROP_SECONDS, Axes, Clip, Crop, EncoderSpec, Scale
from tests.store.made import SPEC


@pytest.mark.parametrize(("low", "high"), [(1.0, 1.0), (10.0, 1.0), (float("nan"), 5.0)])
def test_a_scale_runs_from_low_to_high(low: float, high: float) -> None:
    with pytest.raises(ValueError, match="from low to high"):
        Scale(low, high)


def test_the_papers_axes_stand_in_alphabetical_order() -> None:
    assert AES_AXES.names == ("CE", "CU", "PC", "PQ")
    assert AES_AXES.title("PQ") == "Production Quality"


def test_a_clip_has_a_place_for_every_axis() -> None:
    assert Clip("a", "a.wav").scores == (None,) * 4
    assert Clip("a", "a.wav", axes=("MOS",)).ratings == ((),)
    with pytest.raises(ValueError, match=r"clip 'a': 2 scores and 4 rows of ratings for 4 axes \(CE, CU"):
        Clip("a", "a.wav", scores=(1.0, 2.0))


def test_axes_are_different_and_none_takes_the_composites_name() -> None:
    with pytest.raises(ValueError, match="different names"):
        Axes(("MOS", "MOS"), ("a", "b"))
    with pytest.raises(ValueError, match="composite"):
        Axes(("composite",), ("a",))


def test_a_crop_is_named_by_its_audio_and_holds_up_to_ten_seconds() -> None:
    assert Crop("0a1b", 3, 30.0, 2.5).id == "0a1b-00003"
    for seconds in (0.0, -1.0, CROP_SECONDS + 0.1):
        with pytest.raises(ValueError, match="valid_s"):
            Crop("0a1b", 0, 0.0, seconds)


FACTS = ("gflop", "licence")


@pytest.mark.parametrize("name", [f.name for f in fields(EncoderSpec) if f.name not in FACTS])
def test_every_setting_of_a_spec_is_part_of_its_signature(name: str) -> None:
    value = getattr(SPEC, name)
    other = replace(SPEC, **{name: value + ("x" if isinstance(value, str) else 1)})
    assert other.id != SPEC.id == signature(SPEC.name, SPEC.settings)


@pytest.mark.parametrize(("name", "value"), [("gflop", 1e6), ("licence", "other terms")])
def test_facts_about_an_encoder_change_neither_its_signature_nor_what_it_equals(
    name: str, value: object
) -> None:
    other = replace(SPEC, **{name: value})
    assert (other.id, other) == (SPEC.id, SPEC)


def test_beside_a_hash_of_tensors_the_published_name_is_a_fact() -> None:
    one = replace(SPEC, weights="tensors:0a", checkpoint="somebody/wavlm")
    assert one.id == replace(one, checkpoint="custom:0123456789ab").id != SPEC.id


def test_only_untrained_weights_are_random() -> None:
    assert replace(SPEC, weights="random:0").is_random
    assert not SPEC.is_random
    assert not replace(SPEC, weights="0a1b").is_random


def test_all_layers_side_by_side_are_as_wide_as_their_sum() -> None:
    assert SPEC.frame_dim == SPEC.dim
    assert replace(SPEC, layer="all").frame_dim == SPEC.dim * SPEC.layers


@pytest.mark.parametrize(("valid_s", "frames"), [(0.01, 1), (0.999, 49), (1.0, 50), (9.99, 499), (10.0, 499)])
def test_valid_frames_lie_wholly_inside_the_audio_and_are_at_least_one(valid_s: float, frames: int) -> None:
    assert replace(SPEC, frame_rate_hz=50.0, frames=499).valid_frames(valid_s) == frames
