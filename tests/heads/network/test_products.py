"""The product is that of F.linear, values and gradients, whichever library does it."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import linear as plain

from mmmos.heads.network import products


@pytest.mark.parametrize("shape", [(5, 7), (3, 4, 7), (1, 7)])
@pytest.mark.parametrize("has_bias", [True, False])
@pytest.mark.parametrize("there", [True, False], ids=["onednn", "without"])
def test_values_and_gradients_are_those_of_linear(
    monkeypatch: pytest.MonkeyPatch, shape: tuple[int, ...], has_bias: bool, there: bool
) -> None:
    if not there:
        monkeypatch.setattr(products, "_has_onednn", lambda: False)
    torch.manual_seed(0)
    given = [torch.randn(size) for size in (shape, (6, 7), (6,))][: 2 + has_bias]
    pull = torch.randn(*shape[:-1], 6)
    gradients = []
    for linear in (products.linear, plain):
        inputs = [tensor.clone().requires_grad_() for tensor in given]
        value = linear(*inputs)
        torch.testing.assert_close(value, plain(*given), atol=1e-5, rtol=0)
        gradients.append(torch.autograd.grad((value * pull).sum(), inputs))
    for ours, theirs in zip(*gradients, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=0)


def test_features_get_no_gradient_that_nobody_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    x, weight = torch.randn(5, 7), torch.randn(6, 7, requires_grad=True)
    made: list[tuple[int, ...]] = []
    times = products._times
    monkeypatch.setattr(products, "_times", lambda a, b: made.append(tuple(a.shape)) or times(a, b))
    products.linear(x, weight).sum().backward()
    assert len(made) == 2 * products._has_onednn()


def test_double_precision_stays_what_it_is() -> None:
    x, weight = torch.randn(5, 7).double(), torch.randn(6, 7).double()
    assert torch.equal(products.linear(x, weight), plain(x, weight))
