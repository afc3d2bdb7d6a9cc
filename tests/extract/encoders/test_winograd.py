from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from mmmos.extract.encoders.winograd import WinogradConv


@pytest.mark.parametrize(("height", "width"), [(4, 4), (8, 12), (7, 13), (1, 1), (6, 2), (32, 167)])
def test_equals_direct_convolution(height, width):
    generator = torch.Generator().manual_seed(height * width)
    kernel = torch.randn(5, 5, 3, 3, generator=generator)
    conv = WinogradConv(kernel, height, width)
    for _ in range(2):  # the memory is used again
        image = torch.randn(5, height, width, generator=generator)
        conv.framed().copy_(image.permute(1, 2, 0))
        expected = F.conv2d(image[None].double(), kernel.double(), padding=1)[0].permute(1, 2, 0)
        assert (conv() - expected).abs().max() <= 1e-5 * expected.abs().max()


def test_needs_as_many_channels_out_as_in():
    with pytest.raises(ValueError, match=r"\[C, C, 3, 3\]"):
        WinogradConv(torch.zeros(4, 2, 3, 3), 8, 8)
