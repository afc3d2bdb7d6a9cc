"""A composite is formed of axes that go together, and of no others."""

from __future__ import annotations

import numpy as np
import pytest

from mmmos.heads.together import has_composite
from mmmos.store.schema import AES_AXES


@pytest.fixture
def quality(rng: np.random.Generator) -> np.ndarray:
    return rng.uniform(1, 5, 100)


def test_axes_that_go_together_or_have_nothing_to_do_with_each_other_have_one(
    quality: np.ndarray, rng: np.random.Generator
) -> None:
    assert has_composite(np.stack([quality, quality + rng.normal(0, 0.5, 100)], 1), ("a", "b"))
    assert has_composite(np.stack([quality, rng.uniform(1, 5, 100)], 1), ("a", "b"))


def test_axes_that_oppose_each_other_or_are_in_different_units_have_none(
    quality: np.ndarray, rng: np.random.Generator
) -> None:
    opposed = np.stack([quality, 6 - quality + rng.normal(0, 0.5, 100)], 1)
    assert not has_composite(opposed, ("a", "b"))
    assert not has_composite(np.stack([quality, 20 * quality], 1), ("a", "b"))
    assert has_composite(np.tile(opposed, 2), AES_AXES.names)


def test_a_few_clips_are_not_enough_to_tell() -> None:
    truth = np.stack([[1.0, 2, 3, 4], [3.0, 1, 4, 2]], 1)
    assert has_composite(truth, ("a", "b"))


def test_one_axis_has_none(quality: np.ndarray) -> None:
    assert not has_composite(quality[:, None], ("a",))
