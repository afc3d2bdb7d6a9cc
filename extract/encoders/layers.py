"""What is stored of an encoder's hidden states: frames by one rule, and the time mean of every layer."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from mmmos.store.names import choose

RULES = ("mean", "last", "all")
"""Beside these, a layer's number counted from 0 (0 is the network's input to its first block,
where the encoder has such a state)."""


def check_rule(rule: str, layers: int) -> str:
    """The rule, checked for an encoder with `layers` hidden states; ValueError lists those that fit.

    With a single state all rules mean the same, so it is always called "mean".
    """
    if layers == 1:
        return "mean"
    return choose("layer rule", rule, (*RULES, *map(str, range(layers))))


def summarise(hidden: Sequence[Tensor], layer_rule: str, valid_frames: Tensor) -> tuple[Tensor, Tensor]:
    """Frames by `layer_rule`, and the time mean of every layer.

    Parameters
    ----------
    hidden : sequence of Tensor
        L hidden states [B, T, D].
    layer_rule : str
        "mean", "last", "all" or a layer's number.
    valid_frames : Tensor
        [B], from 1 to T: how many leading frames are audio; the others are padding.

    Returns
    -------
    frames : Tensor
        [B, T, D], for "all" [B, T, L * D]; float32 on the device of the hidden states.
    means : Tensor
        [B, L, D], over the valid frames only; likewise float32.
    """
    if hidden[0].device.type != "cpu":
        return reduce_together(hidden, layer_rule, valid_frames)
    first = hidden[0]
    counts = valid_frames.to(first.device)
    inside = torch.arange(first.shape[1], device=first.device) < counts[:, None]
    # One small product per layer: applying a mask [B, T, D] would copy every layer once more.
    weights = (inside / counts[:, None].to(torch.float32)).unsqueeze(1)
    means = torch.cat([torch.bmm(weights, state.float()) for state in hidden], dim=1)
    return pick_frames(hidden, layer_rule), means


def reduce_together(hidden: Sequence[Tensor], layer_rule: str, valid_frames: Tensor) -> tuple[Tensor, Tensor]:
    """`summarise` for a card, all layers in one product: copying them costs it less than many small steps."""
    layers = torch.stack([state.float() for state in hidden])
    counts = valid_frames.to(layers.device)
    inside = torch.arange(layers.shape[2], device=layers.device) < counts[:, None]
    weights = (inside / counts[:, None].to(torch.float32)).unsqueeze(1)
    means = torch.matmul(weights, layers).squeeze(2).transpose(0, 1)
    frames = layers.mean(dim=0) if layer_rule == "mean" else pick_frames(hidden, layer_rule)
    return frames, means


def pick_frames(hidden: Sequence[Tensor], layer_rule: str) -> Tensor:
    """Frames [B, T, D] of one layer or of the mean of all, or [B, T, L * D] of all side by side."""
    if layer_rule == "mean":
        total = hidden[0].float().clone()
        for state in hidden[1:]:
            total += state
        return total / len(hidden)
    if layer_rule == "all":
        return torch.cat([state.float() for state in hidden], dim=2)
    return hidden[-1 if layer_rule == "last" else int(layer_rule)].float()
