"""WavLM's forward pass, rearranged into fewer and larger matrix products with the same result.

Differs from `transformers` by about 2e-6 of the largest value; tests/bench/encoders.py times both.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmmos.extract.encoders.packed import Arithmetic, PackedLinear, gelu_

MASK_ALIGNMENT = 16
"""Rows of a mask for CUDA's attention begin at multiples of so many elements; others are copied."""


class FastWavLM(nn.Module):
    """Made from the weights of a stock model; waves [B, 160000] to 13 states [B, 499, 768]."""

    bias: Tensor

    def __init__(self, model: Any, frames: int, arithmetic: Arithmetic) -> None:
        super().__init__()
        encoder = model.encoder
        self.waveform = (
            ConvStack(model.feature_extractor.conv_layers, arithmetic.dtype)
            if arithmetic.on_cpu
            else StockConvStack(model.feature_extractor, arithmetic.dtype)
        )
        self.projection_norm = model.feature_projection.layer_norm
        self.projection = PackedLinear.of(model.feature_projection.projection, arithmetic=arithmetic)
        self.position = Position(encoder.pos_conv_embed)
        self.norm = encoder.layer_norm
        self.blocks = nn.ModuleList(Block(layer, arithmetic) for layer in encoder.layers)
        # Every crop has the same number of frames, and only the first block has a table of distances.
        bias = encoder.layers[0].attention.compute_bias(frames, frames).detach().to(arithmetic.dtype)
        if not arithmetic.on_cpu:
            bias = F.pad(bias, (0, -frames % MASK_ALIGNMENT))
        self.register_buffer("bias", bias.contiguous(), persistent=False)

    def forward(self, waves: Tensor, valid_frames: Tensor | None = None) -> list[Tensor]:
        """`valid_frames` [B]: later frames are hidden from the positional convolution and the attention."""
        x = self.projection(self.projection_norm(self.waveform(waves).float())).float()
        padding = None
        if valid_frames is not None:
            padding = torch.arange(x.shape[1], device=x.device) >= valid_frames[:, None]
            x = x.masked_fill(padding[:, :, None], 0.0)
            padding = padding[:, None, None]  # as a mask of keys: [B, heads, queries, keys]
        x = self.norm(x + self.position(x))
        states = [x]
        for block in self.blocks:
            x = block(x, self.bias, padding)
            states.append(x)
        return states


class Position(nn.Module):
    """The positional convolution over [B, T, width], with its weight norm computed once.

    It could be faster by FFT, but it is only 3 % of the forward pass.
    """

    weight: Tensor
    bias: Tensor

    def __init__(self, stock: nn.Module) -> None:
        super().__init__()
        conv = next(module for module in stock.modules() if isinstance(module, nn.Conv1d))
        self.groups = conv.groups
        self.register_buffer("weight", conv.weight.detach().clone(), persistent=False)
        self.register_buffer("bias", conv.bias.detach().clone(), persistent=False)  # type: ignore[union-attr]

    def forward(self, x: Tensor) -> Tensor:
        reach = self.weight.shape[2] // 2
        y = F.conv1d(x.transpose(1, 2), self.weight, self.bias, padding=reach, groups=self.groups)
        # An even kernel padded by half its length gives one frame too many.
        return F.gelu(y[:, :, : x.shape[1]]).transpose(1, 2)


class ConvStack(nn.Module):
    """Waves [B, samples] to features [B, T, 512]: seven strided convolutions as matrix products.

    Frames are rows, so a window of `stride` frames is contiguous in memory and can be read as one
    longer row.  Each convolution is one product for the first `stride` taps of the kernel and a
    second one for the taps beyond them.  Two large buffers are kept between calls, because
    allocating them costs as much time as the activations; so only one forward pass may run at a time.
    """

    def __init__(self, layers: Any, dtype: torch.dtype) -> None:
        super().__init__()
        first = layers[0]
        self.norm = first.layer_norm
        self.first = first.conv.weight.detach().squeeze(1).double()
        self.first_kernel, self.first_stride = first.conv.kernel_size[0], first.conv.stride[0]
        self.strides = [layer.conv.stride[0] for layer in layers[1:]]
        kernels = [layer.conv.weight.detach().to(dtype) for layer in layers[1:]]
        self.within = [
            flat(kernel[:, :, :stride]) for kernel, stride in zip(kernels, self.strides, strict=True)
        ]
        self.beyond = [
            flat(kernel[:, :, stride:]) for kernel, stride in zip(kernels, self.strides, strict=True)
        ]
        self.kernels = [kernel.shape[2] for kernel in kernels]
        self.channels = kernels[0].shape[0]
        self.memory = [torch.empty(0, dtype=dtype), torch.empty(0, dtype=dtype)]

    def forward(self, waves: Tensor) -> Tensor:
        return torch.stack([self.one(wave) for wave in waves])

    def one(self, wave: Tensor) -> Tensor:
        """One waveform [samples] to features [T, 512], a copy that later calls leave alone."""
        windows = wave.unfold(0, self.first_kernel, self.first_stride)
        weight, bias = self.normalised(windows.double())
        x = self.buffer(0, len(windows))
        torch.addmm(bias.to(x), windows.to(x.dtype), weight.to(x), out=x)
        gelu_(x)
        for i, (kernel, stride) in enumerate(zip(self.kernels, self.strides, strict=True), start=1):
            steps = (len(x) - kernel) // stride + 1
            y = self.buffer(i, steps)
            torch.mm(x[: steps * stride].view(steps, -1), self.within[i - 1], out=y)
            if kernel > stride:
                rest = x[stride:].as_strided(
                    (steps, (kernel - stride) * x.shape[1]), (stride * x.shape[1], 1)
                )
                y.addmm_(rest, self.beyond[i - 1])
            x = gelu_(y)
        return x.clone()

    def normalised(self, windows: Tensor) -> tuple[Tensor, Tensor]:
        """The first layer's weight [kernel, 512] and bias [512], with its group norm included.

        The norm scales each channel by its mean and variance over time.  Both follow from the mean
        [10] and the covariance [10, 10] of the input windows, computed in float64 because of
        cancellation.
        """
        mean = windows.mean(dim=0)
        centred = windows - mean
        covariance = centred.T @ centred / len(windows)
        variance = ((self.first @ covariance) * self.first).sum(dim=1)
        scale = self.norm.weight.double() * torch.rsqrt(variance + self.norm.eps)
        return (self.first * scale[:, None]).T, self.norm.bias.double() - self.first @ mean * scale

    def buffer(self, layer: int, steps: int) -> Tensor:
        """[steps, 512] of the even or the odd layers' memory."""
        memory = self.memory[layer % 2]
        if len(memory) < steps * self.channels:
            memory = self.memory[layer % 2] = torch.empty(steps * self.channels, dtype=memory.dtype)
        return memory[: steps * self.channels].view(steps, self.channels)


class StockConvStack(nn.Module):
    """The same features by the device's own convolutions, which are faster on a GPU."""

    def __init__(self, stock: Any, dtype: torch.dtype) -> None:
        super().__init__()
        self.stock = stock
        self.dtype = dtype

    def forward(self, waves: Tensor) -> Tensor:
        with torch.autocast(waves.device.type, self.dtype, enabled=self.dtype != torch.float32):
            features: Tensor = self.stock(waves)
        return features.transpose(1, 2)


def flat(kernel: Tensor) -> Tensor:
    """A kernel [out, in, taps] as the right side of a product, [taps * in, out]."""
    return kernel.permute(2, 1, 0).flatten(0, 1).contiguous()


class Block(nn.Module):
    """One post-norm block with gated relative position bias, over [B, T, width]."""

    constant: Tensor

    def __init__(self, layer: Any, arithmetic: Arithmetic) -> None:
        super().__init__()
        attention, feed_forward = layer.attention, layer.feed_forward
        self.heads: int = attention.num_heads
        self.width: int = attention.embed_dim
        projections = (attention.q_proj, attention.k_proj, attention.v_proj, gates_of(attention))
        self.qkv_gates = PackedLinear.of(*projections, arithmetic=arithmetic)
        self.register_buffer("constant", attention.gru_rel_pos_const.detach().flatten(), persistent=False)
        self.out = PackedLinear.of(attention.out_proj, arithmetic=arithmetic)
        self.norm, self.final_norm = layer.layer_norm, layer.final_layer_norm
        self.up = PackedLinear.of(feed_forward.intermediate_dense, activation="gelu", arithmetic=arithmetic)
        self.down = PackedLinear.of(feed_forward.output_dense, arithmetic=arithmetic)

    def forward(self, x: Tensor, bias: Tensor, padding: Tensor | None = None) -> Tensor:
        qkv, gates = self.qkv_gates(x).split((3 * self.width, 2 * self.heads), dim=2)
        q, k, v = qkv.unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        gate_a, gate_b = torch.sigmoid(gates.float()).chunk(2, dim=2)
        gate = gate_a * (gate_b * self.constant - 1.0) + 2.0
        mask = (gate.to(bias.dtype).transpose(1, 2).unsqueeze(3) * bias)[..., : x.shape[1]]
        if padding is not None:
            mask.masked_fill_(padding, -torch.inf)
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=mask).transpose(1, 2).flatten(2)
        x = self.norm(self.out(mixed, residual=x))
        return self.final_norm(self.down(self.up(x), residual=x))


def gates_of(attention: Any) -> SimpleNamespace:
    """Weight and bias of the two gates of every head, as one linear layer [width] to [2 * heads].

    Each head computes 8 values from its 64 inputs and sums them in two groups of 4.  The sum is
    linear, so the weights are added instead: two rows per head of a block-diagonal matrix.
    """
    heads, linear = attention.num_heads, attention.gru_rel_pos_linear
    rows = linear.weight.unflatten(0, (2, 4)).sum(dim=1)
    bias = linear.bias.unflatten(0, (2, 4)).sum(dim=1)
    weight = torch.cat([torch.block_diag(*[row[None]] * heads) for row in rows])
    return SimpleNamespace(weight=weight, bias=bias.repeat_interleave(heads))
