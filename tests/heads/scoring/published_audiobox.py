"""A made-up audiobox-aesthetics: tiny, in the layout of the published file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from tests.extract.encoders.test_aes import made_up

AXES = ("CE", "CU", "PC", "PQ")
CONFIG: dict[str, Any] = {
    "nth_layer": 3,
    "normalize_embed": True,
    "proj_act_fn": "gelu",
    "proj_dropout": 0.0,
    "proj_ln": True,
    "proj_num_layer": 3,
    "use_weighted_layer_sum": True,
    "target_transform": {axis: {"mean": 4.0 + n, "std": 1.0 + n / 10} for n, axis in enumerate(AXES)},
}


def published(folder: Path, **changes: Any) -> Path:
    """The file and its config in `folder`, with some settings changed."""
    config = CONFIG | changes
    folder.mkdir(parents=True, exist_ok=True)
    state = load_file(made_up(folder) / "model.safetensors")
    width = state["wavlm_model.encoder.layer_norm.weight"].shape[0]
    heads = {name: tensor for name, tensor in state.items() if name.startswith("wavlm_model.")}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        for axis in AXES:
            if config["use_weighted_layer_sum"]:
                heads[f"layer_weights.{axis}"] = torch.randn(3)
            tensors = tower(width, config).state_dict()
            heads |= {f"proj_layer.{axis}.{name}": tensor for name, tensor in tensors.items()}
    save_file(heads, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def tower(width: int, config: dict[str, Any]) -> torch.nn.Sequential:
    """One axis' network ; the indices count every module."""
    layers: list[torch.nn.Module] = []
    for _ in range(config["proj_num_layer"] - 1):
        layers.append(torch.nn.Linear(width, width))
        layers += [torch.nn.LayerNorm(width)] if config["proj_ln"] else []
        layers.append(torch.nn.GELU())
        layers += [torch.nn.Dropout(config["proj_dropout"])] if config["proj_dropout"] else []
    return torch.nn.Sequential(*layers, torch.nn.Linear(width, 1))
