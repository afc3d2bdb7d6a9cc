"""Reading the published file of audiobox-aesthetics (Tjandra et al. 2025, arXiv 2502.05139).

One file holds a WavLM encoder, and for each axis a mix of its layers, a small network and the scale
of the scores.  `aes` uses the encoder for features; a bundle of the whole model uses all parts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from mmmos.extract.encoders.locate import find
from mmmos.extract.encoders.published import Published
from mmmos.extract.encoders.weights import WeightsMismatch, read_state, read_torch
from mmmos.store import files, sealed

PUBLISHED = Published(
    name="facebook/audiobox-aesthetics",
    folder="aes",
    files=("model.safetensors", "checkpoint.pt"),
    wanted="model.safetensors and config.json, or checkpoint.pt",
    source="https://huggingface.co/facebook/audiobox-aesthetics",
    licence="CC BY 4.0 (https://huggingface.co/facebook/audiobox-aesthetics)",
    revision="main",
    size="about 0.4 GB",
    names=r"(^|\.)wavlm_model\.",
    unused=("masked_spec_embed",),
)

ENCODER = "wavlm_model."
HEADS = ("layer_weights.", "proj_layer.")
MAX_CONFIG_BYTES = 1 << 20


@dataclass(frozen=True)
class Audiobox:
    """The published model as it lies in its file.

    path:    the weight file.
    encoder: tensors of its WavLM, by the names of WavLM's original release.
    heads:   "layer_weights.<AXIS>" [L] and "proj_layer.<AXIS>.<index>.<weight|bias>", indices counting
             all modules of a torch Sequential.
    config:  settings of the heads: proj_num_layer, proj_ln, normalize_embed, use_weighted_layer_sum,
             and target_transform with mean and std of each axis.
    """

    path: Path
    encoder: dict[str, Tensor]
    heads: dict[str, Tensor]
    config: dict[str, Any]


def read_audiobox(weights: Path | None) -> Audiobox:
    """The published model from a folder or file of weights, or from the hub.

    Raises
    ------
    WeightsMissing
        Where it is not found.
    WeightsMismatch
        Where the file is not this model, or its config.json is missing or damaged.
    """
    path = find(PUBLISHED, weights)
    if path.suffix == ".safetensors":
        state, config = read_state(path), read_config(path.with_name("config.json"))
    else:
        state, config = read_checkpoint(path)
    encoder = {name.removeprefix(ENCODER): t for name, t in state.items() if name.startswith(ENCODER)}
    heads = {name: tensor for name, tensor in state.items() if name.startswith(HEADS)}
    if odd := [name for name in state if not name.startswith((ENCODER, *HEADS))]:
        raise WeightsMismatch(f"{path} is not {PUBLISHED.name}: it holds {', '.join(odd[:8])}")
    if not encoder or not heads:
        raise WeightsMismatch(f"{path} is not {PUBLISHED.name}: it lacks {ENCODER}* or {HEADS[1]}*")
    return Audiobox(path, encoder, heads, config)


def read_config(path: Path) -> dict[str, Any]:
    """The config.json beside the weights; WeightsMismatch where it is missing or damaged."""
    try:
        config: Any = sealed.parse_json(files.read_bytes(path.resolve(), MAX_CONFIG_BYTES), "its text")
    except (OSError, ValueError) as error:
        raise WeightsMismatch(f"{path}, which belongs to the weights, cannot be read: {error}") from error
    return checked(config, path)


def read_checkpoint(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """State and config of the release's checkpoint.pt."""
    content = read_torch(path)
    if not isinstance(content, Mapping) or not isinstance(content.get("model_cfg"), Mapping):
        raise WeightsMismatch(f"{path} is not a checkpoint of {PUBLISHED.name}: it has no model_cfg")
    config = {**content["model_cfg"], "target_transform": content.get("target_transform")}
    state = {name.removeprefix("model."): tensor for name, tensor in read_state(path).items()}
    return state, checked(config, path)


def checked(config: Any, path: Path) -> dict[str, Any]:
    """The config if it has a scale for every axis, else WeightsMismatch."""
    scales = config.get("target_transform") if isinstance(config, dict) else None
    if not isinstance(scales, Mapping) or not all(
        isinstance(scale, Mapping) and {"mean", "std"} <= set(scale) for scale in scales.values()
    ):
        raise WeightsMismatch(f"{path} has no target_transform with mean and std of each axis")
    return dict(config)
