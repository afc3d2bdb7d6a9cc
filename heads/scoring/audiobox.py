"""The ready bundle `audiobox`: the published audiobox-aesthetics, which is the paper's baseline.

Its file holds an encoder (`aes`) and heads of its own (Tjandra et al. 2025, arXiv 2502.05139).  The bundle is
made from that file whenever it is loaded.  It hears audio in that model's windows, and its scores are those
of that model's own code; it has no intervals until `calibration.calibrate_bundle` gives it some.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mmmos.extract.front import (
    AUTO,
    Audiobox,
    Compute,
    Encoder,
    WeightsMismatch,
    WeightsMissing,
    load_audiobox,
)
from mmmos.heads.config import HeadConfig
from mmmos.heads.network.model import Head
from mmmos.heads.network.projections import Layout
from mmmos.heads.scoring.bundle import Bundle
from mmmos.heads.scoring.intervals import Intervals
from mmmos.heads.scoring.reference import Reference
from mmmos.store.schema import AES_AXES, EncoderSpec, Scale

AUDIOBOX = "audiobox"
"""What the bundle is called wherever a bundle is named."""
DATA = "audiobox-aesthetics"
"""Stands for the id of the clip table that it was trained on, which is not published."""
UNUSED_LOGIT = -1e4
"""The logit of a layer that the mix leaves out: its share is 0 in float32."""


def ready_bundle(weights: Path | None = None, compute: Compute = AUTO) -> tuple[Bundle, Encoder]:
    """The bundle and the encoder that it needs, from the published file.

    Parameters
    ----------
    weights
        Folder or file with it; None looks where `mmmos weights` puts it, and on the hub.

    Raises
    ------
    WeightsMissing
        Where it is not found; the message says in one line how to fetch it.
    WeightsMismatch
        Where the file is another model's, or damaged.
    """
    try:
        encoder, published = load_audiobox(weights, compute)
    except WeightsMissing as missing:
        place = f"not in {weights}" if weights else "not on this machine"
        raise WeightsMissing(
            f"the weights of facebook/audiobox-aesthetics are {place}: `mmmos weights --encoders aes` "
            "fetches them, and --weights DIR names a folder with model.safetensors and config.json"
        ) from missing
    head = head_of(published, encoder.spec)
    axes = AES_AXES.names
    about = {"rule": "as published", "published": encoder.spec.checkpoint}
    run = {head.config.id: head}
    bundle = Bundle(run, (1.0,), Intervals.uncalibrated(axes), Reference.unknown(), (), about)
    return bundle, encoder


def head_of(published: Audiobox, spec: EncoderSpec) -> Head:
    """The published heads as one head of all four axes.

    Raises
    ------
    WeightsMismatch
        Where tensors and config do not make up such heads.
    """
    config = published.config
    try:
        layout = _layout(config)
        of_head = HeadConfig(DATA, (spec.id,), "layermix", "mse", hidden=spec.dim)
        with torch.device("meta"):
            head = Head(of_head, [spec], AES_AXES.names, Scale(1.0, 10.0), layout, limited=False)
        scales = [config["target_transform"][axis] for axis in AES_AXES]
        state: dict[str, Tensor] = {
            "aggregator.logits.0": torch.stack([_logits(published, axis, spec.layers) for axis in AES_AXES]),
            "center_0": torch.zeros(spec.layers, spec.dim),
            "gain_0": torch.ones(spec.layers, spec.dim),
            "target_mean": torch.tensor([float(scale["mean"]) for scale in scales], dtype=torch.float64),
            "target_std": torch.tensor([float(scale["std"]) for scale in scales], dtype=torch.float64),
            "slope": torch.ones(len(scales), dtype=torch.float64),
            "offset": torch.zeros(len(scales), dtype=torch.float64),
        }
        for number, axis in enumerate(AES_AXES):
            state |= _tower(published.heads, axis, number, head.towers.axes[number])  # type: ignore[index, arg-type]
        head.load_state_dict(state, assign=True)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        said = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        raise WeightsMismatch(
            f"{published.path} does not hold the heads of audiobox-aesthetics: {said}"
        ) from error
    return head.requires_grad_(False).eval()


def _layout(config: Mapping[str, Any]) -> Layout:
    """What the config says of the towers; what it leaves out has that model's defaults."""
    if (activation := config.get("proj_act_fn", "gelu")) != "gelu":
        raise ValueError(f"proj_act_fn is {activation!r}, where 'gelu' is known")
    return Layout(
        projections=int(config.get("proj_num_layer", 1)),
        layer_norm=bool(config.get("proj_ln", False)),
        unit_length=bool(config.get("normalize_embed", True)),
    )


def _logits(published: Audiobox, axis: str, layers: int) -> Tensor:
    """[layers] the logits of an axis' mix; the last state alone where the model has no mix."""
    logits = torch.full((layers,), UNUSED_LOGIT)
    if not published.config.get("use_weighted_layer_sum", True):
        logits[-1] = 0.0
        return logits
    given = published.heads[f"layer_weights.{axis}"].float()
    logits[: len(given)] = given
    return logits


def _tower(heads: Mapping[str, Tensor], axis: str, number: int, ours: nn.Sequential) -> dict[str, Tensor]:
    """An axis' tensors under the names of `Projections`.

    Indices count all modules, dropout included, which is of no use here: what has tensors comes in the same
    order in both.
    """
    prefix = f"proj_layer.{axis}."
    given = {name.removeprefix(prefix): tensor for name, tensor in heads.items() if name.startswith(prefix)}
    theirs = sorted({int(name.partition(".")[0]) for name in given})
    places = [place for place, module in enumerate(ours) if any(True for _ in module.parameters())]
    place_of = dict(zip(theirs, places, strict=True))
    state = {}
    for name, tensor in given.items():
        index, _, kind = name.partition(".")
        state[f"towers.axes.{number}.{place_of[int(index)]}.{kind}"] = tensor.float()
    return state
