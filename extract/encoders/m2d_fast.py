"""M2D's forward pass: the arithmetic of ViTModel, with fused linear layers, packed on a CPU.

Differs from it by about 1e-6 of the largest value; tests/bench/encoders.py times both.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmmos.extract.encoders.m2d_patches import PATCH, LogMelImage, patches_to_frames
from mmmos.extract.encoders.packed import Arithmetic, PackedLinear


class FastM2D(nn.Module):
    """Made from the weights of a stock model; waves [B, 160000] to 12 states [B, 62, 3840]."""

    first: Tensor
    positions: Tensor

    def __init__(self, image: LogMelImage, model: Any, arithmetic: Arithmetic) -> None:
        super().__init__()
        self.image = image
        embeddings = model.embeddings
        self.patch = PackedLinear.of(embeddings.patch_embeddings.projection, arithmetic=arithmetic)
        positions = embeddings.position_embeddings.detach()
        first = embeddings.cls_token.detach() + positions[:, :1]
        self.register_buffer("first", first, persistent=False)
        self.register_buffer("positions", positions[:, 1:].clone(), persistent=False)
        self.blocks = nn.ModuleList(Block(layer, arithmetic) for layer in model.layers)
        self.norm = model.layernorm

    def forward(self, waves: Tensor) -> list[Tensor]:
        image = self.image(waves)
        # The stride equals the kernel size, so the convolution is a linear layer over separate patches.
        patches = image.unfold(2, PATCH, PATCH).unfold(3, PATCH, PATCH).flatten(4).flatten(1, 3)
        tokens = self.patch(patches, residual=self.positions.expand(len(waves), -1, -1))
        x = torch.cat([self.first.expand(len(waves), -1, -1), tokens], dim=1)
        states = []
        for block in self.blocks:
            x = block(x)
            states.append(x)
        states[-1] = self.norm(x)
        return [patches_to_frames(state) for state in states]


class Block(nn.Module):
    """One pre-norm transformer block over [B, tokens, width]."""

    def __init__(self, layer: Any, arithmetic: Arithmetic) -> None:
        super().__init__()
        attention, mlp = layer.attention, layer.mlp
        self.heads: int = attention.num_attention_heads
        self.before, self.after = layer.layernorm_before, layer.layernorm_after
        self.qkv = PackedLinear.of(
            attention.q_proj, attention.k_proj, attention.v_proj, arithmetic=arithmetic
        )
        self.out = PackedLinear.of(attention.o_proj, arithmetic=arithmetic)
        self.up = PackedLinear.of(mlp.fc1, activation="gelu", arithmetic=arithmetic)
        self.down = PackedLinear.of(mlp.fc2, arithmetic=arithmetic)

    def forward(self, x: Tensor) -> Tensor:
        qkv = self.qkv(self.before(x)).unflatten(2, (3, self.heads, -1))
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        x = self.out(mixed, residual=x)
        return self.down(self.up(self.after(x)), residual=x)
