"""M2D-CLAP: a ViT-Base over log-mel patches (Niizumi et al. 2024, arXiv 2406.02032).

`transformers`' ViTModel with a rectangular image is that network; the published keys are mapped
onto it (a fused qkv splits in three).  Hidden states are the outputs of the blocks, the last one
after the final norm, each with the five frequency patches of a time step side by side.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from mmmos.extract.encoders.encoder import Loaded, LoadOptions
from mmmos.extract.encoders.loadable import transformers
from mmmos.extract.encoders.locate import find
from mmmos.extract.encoders.m2d_fast import FastM2D
from mmmos.extract.encoders.m2d_patches import (
    BANDS,
    FRAME_RATE_HZ,
    FRAMES,
    PATCH,
    SAMPLE_RATE_HZ,
    SPECTRA,
    LogMelImage,
    patches_to_frames,
)
from mmmos.extract.encoders.published import Origin, Published, identify, untrained
from mmmos.extract.encoders.weights import (
    WeightsMismatch,
    fill,
    network_sha256,
    read_state,
    rename,
    seeded,
)

if TYPE_CHECKING:
    from transformers import ViTModel

__all__ = ["FRAMES", "FRAME_RATE_HZ", "GFLOP_A_CROP", "PUBLISHED", "RECIPE", "SAMPLE_RATE_HZ", "load"]

RECIPE = 1
GFLOP_A_CROP = 57.0

PUBLISHED = Published(
    name="m2d_clap_vit_base-80x1001p16x16-240128_AS-FT_enconly",
    folder="m2d",
    files=("*.pth", "m2d_*/*.pth"),
    release=(
        "https://github.com/nttcslab/m2d/releases/download/v0.3.0/"
        "m2d_clap_vit_base-80x1001p16x16-240128_AS-FT_enconly.zip"
    ),
    size="about 0.35 GB",
    agree=True,
    names=r"(^|\.)patch_embed\.proj\.",
    wanted="the unpacked folder m2d_clap_vit_base-80x1001p16x16-240128_AS-FT_enconly with its .pth file",
    source="https://github.com/nttcslab/m2d/releases",
    licence="NTT's own licence, in https://github.com/nttcslab/m2d",
    # Heads of fine-tuning, of CLAP and of pre-training: none of them is part of the encoder.
    unused=("head", "module.head", "audio_proj.", "text_proj.", "logit_scale", "mask_token", "decoder_"),
)

NORM_STATS = (-7.1, 4.2)
"""Mean and deviation of the log-mel values, for a checkpoint that does not bring its own."""

FULL_WIDTH, FULL_DEPTH = 768, 12
TINY_WIDTH, TINY_DEPTH = 48, 2

BACKBONES = ("module.ar.runtime.backbone.", "backbone.")
"""Prefixes of the encoder in a fine-tuned checkpoint, which holds the front end's constants and heads too."""

TO_VIT = (
    ("cls_token", "embeddings.cls_token"),
    ("pos_embed", "embeddings.position_embeddings"),
    ("patch_embed.proj.", "embeddings.patch_embeddings.projection."),
    ("blocks.", "layers."),
    (".norm1.", ".layernorm_before."),
    (".norm2.", ".layernorm_after."),
    (".attn.proj.", ".attention.o_proj."),
    (".attn.", ".attention."),
)


def load(options: LoadOptions) -> Loaded:
    """M2D-CLAP with published or random weights: 12 hidden states [B, 62, 3840]."""
    seed = options.random_seed
    if seed is not None:
        width, depth = (FULL_WIDTH, FULL_DEPTH) if options.size == "full" else (TINY_WIDTH, TINY_DEPTH)
        with seeded(seed):
            model = build(width, depth)
        (mean, std), origin = NORM_STATS, untrained(PUBLISHED, seed)
    else:
        model, (mean, std), origin = read(find(PUBLISHED, options.weights))
        width, depth = model.config.hidden_size, model.config.num_hidden_layers
    image = LogMelImage(mean, std)
    fast = not options.stock
    network = FastM2D(image, model, options.arithmetic) if fast else StockM2D(image, model)
    return Loaded(network, origin, BANDS // PATCH * width, depth, fast)


def read(path: Path) -> tuple[ViTModel, tuple[float, float], Origin]:
    """The network of a weight file, mean and deviation of its log-mel values, and its origin."""
    check_folder_name(path)
    state = canonical(read_state(path))
    mean, std = map(float, state.pop("norm_stats", torch.tensor(NORM_STATS)))
    width = state["cls_token"].shape[-1] if "cls_token" in state else FULL_WIDTH
    blocks = [int(name.split(".")[1]) for name in state if re.match(r"blocks\.\d+\.", name)]
    depth = 1 + max(blocks, default=FULL_DEPTH - 1)
    model = build(width, depth)
    fill(model, to_library(state), PUBLISHED.unused, PUBLISHED.name, path)
    sha256 = network_sha256(state, PUBLISHED.unused, {"norm_stats": [mean, std]})
    full = (width, depth) == (FULL_WIDTH, FULL_DEPTH)
    return model, (mean, std), identify(PUBLISHED, path, sha256, full=full)


def build(width: int, depth: int) -> ViTModel:
    """The untrained transformer; heads are 64 wide in the published sizes, 16 in the tiny one."""
    config = transformers().ViTConfig(
        hidden_size=width,
        num_hidden_layers=depth,
        num_attention_heads=width // (64 if width % 64 == 0 else 16),
        intermediate_size=4 * width,
        image_size=(BANDS, FRAMES * PATCH),
        patch_size=PATCH,
        num_channels=1,
        layer_norm_eps=1e-6,
    )
    model: ViTModel = transformers().ViTModel(config, add_pooling_layer=False)
    return model


def check_folder_name(path: Path) -> None:
    """Refuse the sibling checkpoints whose names say another input size, patch size or rate.

    Published folders are called <model>-<bands>x<spectra>p<patch bands>x<patch spectra>[p<kHz>k]-...
    """
    sizes = re.search(r"-(\d+)x(\d+)p(\d+)x(\d+)(?:p(\d+)k)?", path.parent.name)
    if sizes is None:
        return
    bands, spectra, patch_bands, patch_spectra, khz = (int(size or 16) for size in sizes.groups())
    if (bands, spectra, patch_bands, patch_spectra, khz) != (BANDS, SPECTRA, PATCH, PATCH, 16):
        raise WeightsMismatch(
            f"{path.parent.name} takes {bands} bands x {spectra} spectra in patches of "
            f"{patch_bands} x {patch_spectra} at {khz} kHz; this encoder is {PUBLISHED.name}"
        )


def canonical(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The encoder's tensors by the names of an encoder-only checkpoint."""
    for prefix in BACKBONES:
        inside = {name.removeprefix(prefix): t for name, t in state.items() if name.startswith(prefix)}
        if inside:
            return inside
    return state


def to_library(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """A canonical state by the names of ViTModel; a fused qkv becomes q, k and v."""
    translated: dict[str, Tensor] = {}
    for name, tensor in rename(state, TO_VIT).items():
        if name.startswith("norm."):  # the final norm; the blocks' own are layernorm_before and _after
            name = f"layer{name}"
        if ".qkv." not in name:
            translated[name] = tensor
            continue
        for part_name, part in zip("qkv", tensor.chunk(3), strict=True):
            translated[name.replace(".qkv.", f".{part_name}_proj.")] = part
    return translated


class StockM2D(nn.Module):
    """`transformers`' own forward pass behind our log-mel front end."""

    def __init__(self, image: LogMelImage, model: ViTModel) -> None:
        super().__init__()
        self.image = image
        self.model = model

    def forward(self, waves: Tensor) -> list[Tensor]:
        output = self.model(self.image(waves), output_hidden_states=True)
        blocks = [*output.hidden_states[1:-1], output.last_hidden_state]
        return [patches_to_frames(state) for state in blocks]
