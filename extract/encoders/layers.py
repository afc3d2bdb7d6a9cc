"""From an encoder's hidden states to what is stored: frames by one rule, time means of every layer."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from mmmos.store.names import choose

RULES = ("mean", "last", "all")
"""Beside these, a layer's number counted from 0 (0 is the network's input to its first block,
where the encoder has such a state)."""


def check_rule(rule: str, layers: int) -> str:
    """The rule itself if it fits an encoder of `layers` hidden states, else a ValueError that says which do.

    An encoder with a single state has only one answer to every rule; it is named "mean".
    """
    if layers == 1:
        return "mean"
    return choose("layer rule", rule, (*RULES, *map(str, range(layers))))


def summarise(hidden: Sequence[Tensor], layer_rule: str, valid_frames: Tensor) -> tuple[Tensor, Tensor]:
    """Frames by `layer_rule` and the time mean of every layer.

    hidden: L tensors [B, T, D]; valid_frames: [B], 1 to T.
    Returns frames [B, T, D] ([B, T, L * D] for "all") and means [B, L, D] over the valid frames
    only, both float32 on the hidden states' device.
    """
    first = hidden[0]
    counts = valid_frames.to(first.device)
    inside = torch.arange(first.shape[1], device=first.device) < counts[:, None]
    # One small product per layer: a mask over [B, T, D] would copy every layer once more.
    weights = (inside / counts[:, None].to(torch.float32)).unsqueeze(1)
    means = torch.cat([torch.bmm(weights, state.float()) for state in hidden], dim=1)
    return pick_frames(hidden, layer_rule), means


def pick_frames(hidden: Sequence[Tensor], layer_rule: str) -> Tensor:
    """Frames [B, T, D] of one layer, of the mean over layers, or [B, T, L * D] of all side by side."""
    if layer_rule == "mean":
        total = hidden[0].float().clone()
        for state in hidden[1:]:
            total += state
        return total / len(hidden)
    if layer_rule == "all":
        return torch.cat([state.float() for state in hidden], dim=2)
    return hidden[-1 if layer_rule == "last" else int(layer_rule)].float()
