"""The encoders' side of scoring: what a head sees here is what it saw in the feature store."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from mmmos.extract.audio import AUDIO_RECIPE
from mmmos.extract.compute import Compute
from mmmos.extract.encoders import Encoder, load_encoder
from mmmos.extract.front import Front, Window, open_wave, rebuild

CPU = Compute(device="cpu")


@pytest.fixture(scope="module")
def encoders() -> list[Encoder]:
    made = [("wavlm", {"random_seed": 0, "size": "tiny"}), ("logmel", {})]
    return [load_encoder(name, audio_recipe=AUDIO_RECIPE, **options) for name, options in made]


def windows_of(front: Front, seconds: float) -> list[Window]:
    wave = np.random.default_rng(0).normal(0, 0.1, int(seconds * 16000)).astype(np.float32)
    events = front.listen([lambda: open_wave(wave, 16000)])
    return [event for _, event in events if isinstance(event, Window)]


def test_every_window_comes_once_at_the_rates_of_all_encoders(encoders: list[Encoder]) -> None:
    windows = windows_of(Front(encoders, CPU), 23.0)
    assert [window.valid_s for window in windows] == pytest.approx([10.0, 10.0, 3.0])
    for window in windows:
        assert {rate: len(wave) for rate, wave in window.waves.items()} == {16000: 160000, 24000: 240000}


def test_frames_are_rounded_as_the_store_rounds_them(encoders: list[Encoder]) -> None:
    front = Front(encoders, CPU)
    window = windows_of(front, 5.0)[0]
    encoded = front.encode([window])
    for encoder in encoders:
        waves = [window.waves[encoder.spec.sample_rate_hz]]
        frames, means = encoder.encode(waves, [window.valid_s])
        found_frames, found_means = encoded[encoder.spec.id]
        assert found_frames.dtype == torch.float16
        assert torch.equal(found_frames, frames)
        assert torch.equal(found_means, means)


@pytest.mark.parametrize("batch", [1, 2, 5])
def test_the_size_of_a_batch_changes_nothing(encoders: list[Encoder], batch: int) -> None:
    front = Front(encoders, replace(CPU, batch=batch))
    windows = windows_of(front, 45.0)
    together = front.encode(windows)
    for name, (frames, means) in together.items():
        assert len(frames) == len(means) == len(windows) == 5
        alone = front.encode(windows[3:4])[name]
        torch.testing.assert_close(frames[3:4], alone[0], atol=2e-3, rtol=0)
        torch.testing.assert_close(means[3:4], alone[1], atol=1e-4, rtol=0)


def test_encoders_are_built_again_from_their_specs_in_order(encoders: list[Encoder]) -> None:
    specs = [encoder.spec for encoder in encoders]
    assert [encoder.spec for encoder in rebuild(specs, compute=CPU)] == specs
