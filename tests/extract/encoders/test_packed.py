from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from mmmos.extract.encoders import packed
from mmmos.extract.encoders.packed import ACTIVATIONS, Arithmetic, PackedLinear, gelu_


@pytest.fixture(params=["private operators", "plain fallback"])
def operators(request, monkeypatch):
    if request.param == "plain fallback":
        monkeypatch.setattr(packed, "can_pack", lambda: False)
    elif not packed.can_pack():
        pytest.skip("this torch build has no oneDNN linear operators")


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("with_residual", [False, True])
@pytest.mark.parametrize("shape", [(3, 7), (2, 5, 7)])
def test_equals_a_plain_layer(operators, activation, with_residual, shape, rng):
    x, weight, bias = (torch.from_numpy(rng.standard_normal(s)).float() for s in (shape, (11, 7), (11,)))
    residual = torch.ones(*shape[:-1], 11) if with_residual else None
    y = PackedLinear(weight, bias, activation)(x, residual)
    expected = ACTIVATIONS[activation](F.linear(x.double(), weight.double(), bias.double()))
    assert (y - (expected + 1.0 if with_residual else expected)).abs().max() < 1e-5


def test_layers_side_by_side(operators):
    layers = [torch.nn.Linear(6, n) for n in (2, 3)]
    x = torch.randn(4, 6)
    together = PackedLinear.of(*layers, arithmetic=Arithmetic())(x)
    assert torch.allclose(together, torch.cat([layer(x) for layer in layers], dim=1), atol=1e-6)


def test_bfloat16_keeps_the_residual_whole(operators):
    layer = PackedLinear(torch.eye(4), None, arithmetic=Arithmetic(torch.bfloat16))
    x, residual = torch.zeros(1, 4), torch.full((1, 4), 1.0 + 2**-20)
    assert layer(x).dtype == torch.bfloat16
    assert torch.equal(layer(x, residual), residual)


def test_elsewhere_than_on_a_cpu_weights_can_move():
    layer = PackedLinear(torch.eye(2), torch.zeros(2), arithmetic=Arithmetic(on_cpu=False))
    assert {name for name, _ in layer.named_buffers()} == {"weight", "bias"}


def test_gelu_in_place():
    x = torch.linspace(-3, 3, 7)
    expected = F.gelu(x)
    assert gelu_(x) is x
    assert torch.equal(x, expected)
