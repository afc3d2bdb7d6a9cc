"""From a vector to scores; `Towers` is tested with the heads in test_model."""

from __future__ import annotations

import torch

from mmmos.heads.network.towers import BoundedLinear, LinearTowers


def test_a_linear_tower_is_a_linear_layer_per_axis() -> None:
    torch.manual_seed(0)
    towers = LinearTowers(4, 2, 3, 0.0)
    x = torch.randn(5, 4)
    for axis in range(2):
        expected = torch.nn.functional.linear(x, towers.weight[axis], towers.bias[axis])
        torch.testing.assert_close(towers(x)[:, axis], expected)
    torch.testing.assert_close(towers(x[:, None].expand(-1, 2, -1)), towers(x))


def test_a_bounded_one_stays_within_the_scores_of_training() -> None:
    towers = BoundedLinear(1, 1)
    with torch.no_grad():
        towers.weight.fill_(1.0)
        towers.low.fill_(-2.0)
        towers.high.fill_(1.5)
    assert towers(torch.tensor([[-9.0], [0.5], [9.0]])).flatten().tolist() == [-2.0, 0.5, 1.5]
