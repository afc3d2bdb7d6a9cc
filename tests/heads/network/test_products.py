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


@pytest.mark.parametrize("shared", [True, False], ids=["for all axes", "for each axis"])
def test_each_axis_has_its_own_weight(shared: bool) -> None:
    x, weight = torch.randn(5, *[3] * (not shared), 7), torch.randn(3, 2, 7)
    trained = products.by_axis(x, weight)
    with torch.no_grad():
        scored = products.by_axis(x, weight)
    for axis in range(3):
        expected = plain(x if shared else x[:, axis], weight[axis])
        torch.testing.assert_close(trained[:, axis], expected, atol=1e-5, rtol=0)
        torch.testing.assert_close(scored[:, axis], expected, atol=1e-5, rtol=0)


@pytest.mark.skipif(not products._has_onednn(), reason="torch's own product makes no such promise")
@pytest.mark.parametrize("outputs", [1, 2, 10, 30])
@pytest.mark.parametrize("width", [1, 7, 30, 100, 768])
def test_a_row_has_the_bits_that_it_has_beside_any_others(width: int, outputs: int) -> None:
    x, weights = torch.randn(50, 2, width), torch.randn(2, outputs, width)
    with torch.no_grad():
        whole = products.by_axis(x, weights)
        for count in (*range(1, 18), 31, 33, 48):
            assert torch.equal(products.by_axis(x[-count:], weights), whole[-count:]), count
