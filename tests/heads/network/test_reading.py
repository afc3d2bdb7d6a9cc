"""What a head reads: layer rules, and crops averaged to clips."""

from __future__ import annotations

import numpy as np
import torch

from mmmos.heads.network.reading import layer_rule, weighted_mean
from tests.heads.small import spec


def test_layer_rules() -> None:
    means = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    for rule, expected in (
        ("mean", means.mean(1)),
        ("last", means[:, 2]),
        ("1", means[:, 1]),
        ("all", means.reshape(2, 12)),
    ):
        found = layer_rule(torch.from_numpy(means), spec("x", dim=4, layer=rule))
        assert np.array_equal(found.numpy(), expected)


def test_the_mean_of_layers_has_the_bits_that_numpy_gave_it(rng: np.random.Generator) -> None:
    means = rng.standard_normal((5, 13, 301)).astype(np.float32)
    found = layer_rule(torch.from_numpy(means), spec("x", dim=301, layer="mean"))
    assert np.array_equal(found.numpy(), means.mean(axis=1, dtype=np.float64).astype(np.float32))


def test_crops_count_by_their_seconds() -> None:
    values = torch.tensor([[1.0, 10.0], [4.0, 40.0], [7.0, 70.0]])
    owner, seconds = torch.tensor([0, 0, 1]), torch.tensor([10.0, 5.0, 0.5])
    assert weighted_mean(values, owner, seconds, 2).tolist() == [[2.0, 20.0], [7.0, 70.0]]
    deep = weighted_mean(values[..., None].expand(-1, -1, 4), owner, seconds, 2)
    assert deep.shape == (2, 2, 4)
    assert deep.dtype == torch.float64
    assert deep[0, 1].tolist() == [20.0] * 4
    assert weighted_mean(values[:0], owner[:0], seconds[:0], 0).shape == (0, 2)
