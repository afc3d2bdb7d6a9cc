"""Made-up sounds: the same for the same seed, as loud as said, and worse the more severe their damage is."""

from __future__ import annotations

import numpy as np
import pytest

from mmmos.extract.demo_sounds import BANDWIDTH_HZ, CONTENTS, DEGRADATIONS, content, unit

RATE_HZ = 32000


def made(domain: str = "music", layers: int = 2, seed: int = 0) -> np.ndarray:
    return content(domain, layers, np.random.default_rng(seed), 2 * RATE_HZ, RATE_HZ)


@pytest.mark.parametrize("domain", CONTENTS)
def test_content_has_rms_one_repeats_with_its_seed_and_leaves_the_top_empty(domain: str) -> None:
    wave = made(domain)
    assert wave.shape == (2 * RATE_HZ,)
    assert np.sqrt(np.mean(wave**2)) == pytest.approx(1.0)
    assert np.array_equal(wave, made(domain))
    assert not np.allclose(wave, made(domain, seed=1))
    power = np.abs(np.fft.rfft(wave)) ** 2
    above = np.fft.rfftfreq(len(wave), 1 / RATE_HZ) > 1.2 * BANDWIDTH_HZ
    assert power[above].sum() < 1e-3 * power.sum()


@pytest.mark.parametrize("name", DEGRADATIONS)
def test_more_severe_damage_is_farther_from_the_original(name: str) -> None:
    wave = made()
    distances = []
    for severity in (0.1, 0.5, 1.0):
        damaged = DEGRADATIONS[name](wave, severity, np.random.default_rng(1), RATE_HZ)
        assert damaged.shape == wave.shape
        assert np.isfinite(damaged).all()
        distances.append(float(np.sqrt(np.mean((unit(damaged) - wave) ** 2))))
    assert distances == sorted(distances)
    assert distances[-1] > 2 * distances[0]
