"""The towers of published heads, which no training makes."""

from __future__ import annotations

import pytest
import torch

from mmmos.heads.config import HeadConfig
from mmmos.heads.network.model import Head
from mmmos.heads.network.projections import Layout, Projections
from tests.heads.small import WAVLM


def test_each_axis_has_linear_layers_of_its_own():
    towers = Projections(6, 2, Layout(3, layer_norm=True, unit_length=False))
    x = torch.randn(5, 2, 6)
    first = towers.axes[0](x[:, 0])
    assert torch.equal(towers(x)[:, 0], first)
    kinds = [type(layer).__name__ for layer in towers.axes[1]]
    assert kinds == ["Linear", "LayerNorm", "GELU"] * 2 + ["Linear"]


def test_at_unit_length_only_the_direction_counts():
    towers = Projections(6, 2, Layout(2, layer_norm=False, unit_length=True))
    x = torch.randn(5, 2, 6)
    torch.testing.assert_close(towers(x), towers(7 * x))


def test_a_row_has_the_bits_that_it_has_beside_any_others():
    towers, x = (
        Projections(37, 2, Layout(3, layer_norm=True, unit_length=True)).eval(),
        torch.randn(40, 2, 37),
    )
    with torch.inference_mode():
        whole = towers(x)
        for count in range(1, 40):
            assert torch.equal(towers(x[-count:]), whole[-count:]), count


@pytest.mark.parametrize("projections", [0, 65])
def test_a_header_cannot_ask_for_any_number_of_layers(projections):
    with pytest.raises(ValueError, match="1 to 64"):
        Layout(projections, layer_norm=False, unit_length=False)


def test_a_head_is_read_back_with_its_layout(tmp_path):
    layout = Layout(2, layer_norm=True, unit_length=True)
    config = HeadConfig("data-0", (WAVLM.id,), "layermix", "mse")
    head = Head(config, [WAVLM], ("PQ",), layout=layout)
    head.save(tmp_path / "head.safetensors")
    read = Head.load(tmp_path / "head.safetensors")
    assert read.layout == layout
    assert all(torch.equal(a, b) for a, b in zip(read.parameters(), head.parameters(), strict=True))
