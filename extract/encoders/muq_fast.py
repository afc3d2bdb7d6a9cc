"""MuQ's forward pass rearranged: folded norms, fused layers, and on a CPU Winograd convolutions.

Differs from the package's own by about 1e-6 of the largest value; tests/bench/encoders.py times both.
"""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmmos.extract.encoders.mel import MUQ_BANDS, MUQ_HOP_SAMPLES
from mmmos.extract.encoders.packed import Arithmetic, PackedLinear
from mmmos.extract.encoders.winograd import WinogradConv


class FastMuQ(nn.Module):
    """Made from the weights of a stock model; waves [B, samples] to its hidden states [B, T, D]."""

    cos: Tensor
    sin: Tensor

    def __init__(self, model: Any, samples: int, arithmetic: Arithmetic) -> None:
        super().__init__()
        inner = model.model
        self.dtype = arithmetic.dtype
        self.log_mel = inner.preprocessor_melspec_2048
        self.mean, self.std = (inner.stat[f"melspec_2048_{name}"] for name in ("mean", "std"))
        spectra = samples // MUQ_HOP_SAMPLES
        self.subsampling: nn.Module
        if not arithmetic.on_cpu:
            self.subsampling = FoldedSubsampling(inner.conv, arithmetic)
        elif self.dtype == torch.float32:
            self.subsampling = Subsampling(inner.conv, MUQ_BANDS, spectra)
        else:
            self.subsampling = deepcopy(inner.conv).to(self.dtype, memory_format=torch.channels_last)
        # Every crop has the same frames.  The stock module makes these on the host and sends them up.
        cos, sin = inner.conformer.embed_positions(torch.zeros(1, -(-spectra // 4), 1)).squeeze(2)
        self.register_buffer("cos", cos, persistent=False)
        self.register_buffer("sin", sin, persistent=False)
        self.blocks = nn.ModuleList(Block(layer, arithmetic) for layer in inner.conformer.layers)
        self.norm = inner.conformer.layer_norm

    def forward(self, waves: Tensor) -> list[Tensor]:
        # The last spectrum is dropped, as the stock network does.
        images = (self.log_mel(waves)[..., :-1] - self.mean) / self.std
        x = self.subsampling(images.to(self.dtype)).float()
        states = [x]
        for block in self.blocks:
            x = block(x, self.cos, self.sin)
            states.append(x)
        states[-1] = self.norm(x)
        return states


class Subsampling(nn.Module):
    """Log-mel images [B, bands, spectra] to [B, spectra / 4, D]: two residual modules of 3 x 3 convolutions.

    Images are stored with channels last and computed one at a time, in buffers kept between calls.
    """

    def __init__(self, stock: Any, bands: int, spectra: int) -> None:
        super().__init__()
        (half_bands, half_spectra), (quarter_bands, quarter_spectra) = (
            (-(-bands // by), -(-spectra // by)) for by in (2, 4)
        )
        self.first = FirstResidual(stock.conv[0], half_bands, half_spectra)
        self.second = SecondResidual(stock.conv[1], quarter_bands, quarter_spectra)
        # The stock layer expects channels before bands; here bands come first.
        weight = stock.linear.weight.unflatten(1, (-1, quarter_bands)).transpose(1, 2).flatten(1)
        self.linear = PackedLinear(weight, stock.linear.bias)

    def forward(self, images: Tensor) -> Tensor:
        return torch.stack([self.one(image) for image in images])

    def one(self, image: Tensor) -> Tensor:
        """[bands, spectra] to [spectra / 4, D]."""
        x = self.second(self.first(image))
        return self.linear(x.transpose(0, 1).flatten(1))


class FoldedSubsampling(nn.Module):
    """The same for a card, [B, bands, spectra] at once: its own convolutions, channels last, norms folded."""

    def __init__(self, stock: Any, arithmetic: Arithmetic) -> None:
        super().__init__()
        self.dtype = arithmetic.dtype
        self.residuals = nn.ModuleList(FoldedResidual(module, self.dtype) for module in stock.conv)
        # The stock layer expects channels before bands; with channels last, bands come first.
        channels = stock.conv[-1].conv2.out_channels
        weight = stock.linear.weight.unflatten(1, (channels, -1)).transpose(1, 2).flatten(1)
        self.linear = PackedLinear(weight, stock.linear.bias, arithmetic=arithmetic)

    def forward(self, images: Tensor) -> Tensor:
        x = images[:, None].to(self.dtype, memory_format=torch.channels_last)
        for residual in self.residuals:
            x = residual(x)
        return self.linear(x.permute(0, 3, 2, 1).flatten(2))


class FoldedResidual(nn.Module):
    """[B, C, height, width] to [B, C', height / 2, width / 2]; both strided branches in one convolution."""

    strided: Tensor
    strided_bias: Tensor
    kernel: Tensor

    def __init__(self, stock: Any, dtype: torch.dtype) -> None:
        super().__init__()
        strided, strided_bias = fold(stock.conv1, stock.bn1)
        shortcut, shortcut_bias = fold(stock.conv3, stock.bn3)
        kernel, bias = fold(stock.conv2, stock.bn2)
        folded = {"strided": torch.cat([strided, shortcut]), "kernel": kernel}
        for name, weight in folded.items():
            weight = weight.to(dtype).contiguous(memory_format=torch.channels_last)
            self.register_buffer(name, weight, persistent=False)
        # The last bias joins the shortcut's, which is added to its result anyway.
        biases = torch.cat([strided_bias, shortcut_bias + bias])
        self.register_buffer("strided_bias", biases.to(dtype), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        both = F.conv2d(x, self.strided, self.strided_bias, stride=2, padding=1)
        strided, shortcut = both.chunk(2, dim=1)
        # A copy of one half, as it is not contiguous; a card's convolution would make it anyway.
        inner = F.relu(strided).contiguous(memory_format=torch.channels_last)
        return F.relu_(F.conv2d(inner, self.kernel, padding=1).add_(shortcut))


class FirstResidual(nn.Module):
    """An image [bands, spectra] of one channel to [bands / 2, spectra / 2, C].

    An output depends on nine inputs.  A tenth input is 1 inside the image and carries the bias;
    outside the image all ten are 0.  So one matrix product computes the convolved image together
    with the border of zeros that the next convolution needs.
    """

    def __init__(self, stock: Any, height: int, width: int) -> None:
        super().__init__()
        kernel, bias = fold(stock.conv2, stock.bn2)
        self.conv = WinogradConv(kernel, height, width)
        self.strided = with_bias(*fold(stock.conv1, stock.bn1))
        shortcut, shortcut_bias = fold(stock.conv3, stock.bn3)
        self.shortcut = with_bias(shortcut, shortcut_bias + bias)

    def forward(self, image: Tensor) -> Tensor:
        windows = F.pad(image, (1, 1, 1, 1)).unfold(0, 3, 2).unfold(1, 3, 2).flatten(2)
        windows = F.pad(windows, (0, 1), value=1.0)
        frame = self.conv.frame
        below, right = (frame.shape[i] - windows.shape[i] - 1 for i in range(2))
        framed = F.pad(windows, (0, 0, 1, right, 1, below))
        torch.mm(framed.flatten(0, 1), self.strided, out=frame.flatten(0, 1))
        frame.relu_()
        convolved = self.conv()
        convolved.flatten(0, 1).addmm_(windows.flatten(0, 1), self.shortcut)
        return convolved.relu_()


class SecondResidual(nn.Module):
    """An image [height, width, C] to [height / 2, width / 2, C]; both strided branches in one convolution."""

    def __init__(self, stock: Any, height: int, width: int) -> None:
        super().__init__()
        kernel, bias = fold(stock.conv2, stock.bn2)
        self.conv = WinogradConv(kernel, height, width)
        strided, strided_bias = fold(stock.conv1, stock.bn1)
        shortcut, shortcut_bias = fold(stock.conv3, stock.bn3)
        both = torch.cat([strided, shortcut]).float()
        self.both = both.contiguous(memory_format=torch.channels_last)
        self.bias = torch.cat([strided_bias, shortcut_bias + bias]).float()

    def forward(self, image: Tensor) -> Tensor:
        both = F.conv2d(image.permute(2, 0, 1)[None], self.both, self.bias, stride=2, padding=1)
        strided, shortcut = both[0].permute(1, 2, 0).chunk(2, dim=2)
        torch.clamp(strided, min=0.0, out=self.conv.framed())
        return self.conv().add_(shortcut).relu_()


def fold(conv: Any, norm: Any) -> tuple[Tensor, Tensor]:
    """Weight and bias of a convolution with the batch norm behind it, in float64."""
    scale = norm.weight.double() * torch.rsqrt(norm.running_var.double() + norm.eps)
    weight = conv.weight.double() * scale.view(-1, *[1] * (conv.weight.ndim - 1))
    bias = 0.0 if conv.bias is None else conv.bias.double()
    return weight.detach(), (norm.bias.double() + (bias - norm.running_mean.double()) * scale).detach()


def with_bias(weight: Tensor, bias: Tensor) -> Tensor:
    """A kernel [out, 1, 3, 3] and its bias as the right side of a product, [9 + 1, out] float32."""
    return torch.cat([weight.flatten(1), bias[:, None]], dim=1).T.float().contiguous()


class Block(nn.Module):
    """One conformer block over [B, T, width]."""

    depthwise: Tensor
    depthwise_bias: Tensor

    def __init__(self, layer: Any, arithmetic: Arithmetic) -> None:
        super().__init__()
        attention, convolution = layer.self_attn, layer.conv_module
        self.heads: int = attention.num_heads
        self.feed_forward1 = FeedForward(layer.ffn1_layer_norm, layer.ffn1, arithmetic)
        self.attention_norm = layer.self_attn_layer_norm
        self.query_key = PackedLinear.of(attention.linear_q, attention.linear_k, arithmetic=arithmetic)
        self.value = PackedLinear.of(attention.linear_v, arithmetic=arithmetic)
        self.out = PackedLinear.of(attention.linear_out, arithmetic=arithmetic)
        self.convolution_norm = convolution.layer_norm
        self.gated = PackedLinear.of(convolution.pointwise_conv1, arithmetic=arithmetic)
        weight, bias = fold(convolution.depthwise_conv, convolution.batch_norm)
        self.register_buffer("depthwise", weight.float(), persistent=False)
        self.register_buffer("depthwise_bias", bias.float(), persistent=False)
        self.pointwise = PackedLinear.of(convolution.pointwise_conv2, arithmetic=arithmetic)
        self.feed_forward2 = FeedForward(layer.ffn2_layer_norm, layer.ffn2, arithmetic)
        self.final_norm = layer.final_layer_norm

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        x = self.feed_forward1(x)
        x = self.attend(x, cos, sin)
        x = self.convolve(x)
        return self.final_norm(self.feed_forward2(x))

    def attend(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        """Self-attention; the rotary position is applied to the input of the projections to q and k."""
        normed = self.attention_norm(x)
        per_head = normed.unflatten(2, (self.heads, -1))
        begin, end = per_head.chunk(2, dim=3)
        rotated = per_head * cos + torch.cat([-end, begin], dim=3) * sin
        qk = self.query_key(rotated.flatten(2)).unflatten(2, (2, self.heads, -1))
        q, k = qk.permute(2, 0, 3, 1, 4)
        v = self.value(normed).unflatten(2, (self.heads, -1)).transpose(1, 2)
        mixed = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        return self.out(mixed, residual=x)

    def convolve(self, x: Tensor) -> Tensor:
        """Gated pointwise, depthwise over time (batch norm folded into it), and pointwise convolution."""
        gated = F.glu(self.gated(self.convolution_norm(x)), dim=2).float().transpose(1, 2)
        reach = self.depthwise.shape[2] // 2
        mixed = F.conv1d(gated, self.depthwise, self.depthwise_bias, padding=reach, groups=gated.shape[1])
        return self.pointwise(F.silu(mixed).transpose(1, 2), residual=x)


class FeedForward(nn.Module):
    """x + 0.5 * feed_forward(norm(x)); the weights of the last layer are halved instead."""

    def __init__(self, norm: nn.Module, stock: Any, arithmetic: Arithmetic) -> None:
        super().__init__()
        self.norm = norm
        self.up = PackedLinear.of(stock.intermediate_dense, activation="swish", arithmetic=arithmetic)
        down = stock.output_dense
        self.down = PackedLinear(0.5 * down.weight, 0.5 * down.bias, arithmetic=arithmetic)

    def forward(self, x: Tensor) -> Tensor:
        return self.down(self.up(self.norm(x)), residual=x)
