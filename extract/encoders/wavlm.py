"""WavLM-Base+: a speech encoder over the raw waveform (Chen et al. 2022, arXiv 2110.13900).

The network is `transformers`' WavLMModel; weights may come under its key names or under those of
the original release (WavLM-Base+.pt).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from transformers import WavLMConfig, WavLMModel

from mmmos.extract.encoders.encoder import Loaded, LoadOptions, crop_samples
from mmmos.extract.encoders.wavlm_fast import FastWavLM
from mmmos.extract.encoders.weights import Published, file_sha256, fill, find, read_state, rename, seeded

SAMPLE_RATE_HZ = 16000
HOP_SAMPLES = 320
"""Product of the strides of the seven convolutions."""
FIELD_SAMPLES = 400
"""What one frame of their output sees of the waveform."""
FRAME_RATE_HZ = SAMPLE_RATE_HZ / HOP_SAMPLES
FRAMES = 1 + (crop_samples(SAMPLE_RATE_HZ) - FIELD_SAMPLES) // HOP_SAMPLES  # 499
RECIPE = 1
GFLOP_A_CROP = 148.0

PUBLISHED = Published(
    name="microsoft/wavlm-base-plus",
    folder="wavlm",
    files=("model.safetensors", "pytorch_model.bin", "WavLM-Base+.pt"),
    hub=True,
    wanted="pytorch_model.bin, or WavLM-Base+.pt of the original release",
    source="https://huggingface.co/microsoft/wavlm-base-plus",
    licence="as its model card says (https://huggingface.co/microsoft/wavlm-base-plus)",
    # The mask embedding of pre-training, and what only its loss used.
    unused=("masked_spec_embed", "label_embs_concat", "final_proj."),
)

SIZES: dict[str, dict[str, Any]] = {
    "full": {},  # the defaults of WavLMConfig are the base model
    "tiny": {
        "hidden_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 3,
        "intermediate_size": 96,
        "conv_dim": (32,) * 7,
        "num_conv_pos_embeddings": 32,
        "num_conv_pos_embedding_groups": 4,
    },
}

FROM_ORIGINAL = (
    ("mask_emb", "masked_spec_embed"),
    ("post_extract_proj.", "feature_projection.projection."),
    ("encoder.pos_conv.0.", "encoder.pos_conv_embed.conv."),
    (".self_attn.grep_linear.", ".attention.gru_rel_pos_linear."),
    (".self_attn.grep_a", ".attention.gru_rel_pos_const"),
    (".self_attn.relative_attention_bias.", ".attention.rel_attn_embed."),
    (".self_attn_layer_norm.", ".layer_norm."),
    (".self_attn.", ".attention."),
    (".fc1.", ".feed_forward.intermediate_dense."),
    (".fc2.", ".feed_forward.output_dense."),
    ("feature_extractor.conv_layers.0.2.", "feature_extractor.conv_layers.0.layer_norm."),
    *((f"conv_layers.{i}.0.", f"conv_layers.{i}.conv.") for i in range(7)),
)
"""Key names of the original release, and their names in `transformers`."""

BOTH_RELEASES = (
    ("conv.weight_g", "conv.parametrizations.weight.original0"),
    ("conv.weight_v", "conv.parametrizations.weight.original1"),
)
"""Weight norm, by its old names in torch (used in the published files), and by those of today."""


def load(options: LoadOptions) -> Loaded:
    """WavLM with published or random weights: 13 hidden states [B, 499, 768]."""
    config = WavLMConfig(**SIZES[options.size])
    seed = options.random_seed
    with seeded(seed or 0):
        model = WavLMModel(config)
    checkpoint, weights = "random", f"random:{seed}"
    if seed is None:
        path = find(PUBLISHED, options.weights)
        fill(model, translate(read_state(path)), PUBLISHED, path)
        checkpoint, weights = PUBLISHED.name, file_sha256(path)
    model.encoder.pos_conv_embed = Float32(model.encoder.pos_conv_embed)  # type: ignore[assignment]
    fast = not options.stock
    network = FastWavLM(model, FRAMES, options.arithmetic) if fast else StockWavLM(model)
    return Loaded(network, checkpoint, weights, config.hidden_size, config.num_hidden_layers + 1, fast)


def translate(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """A state with the keys of WavLMModel, from one with the keys of either publication."""
    if "post_extract_proj.weight" in state:
        # In the original release only this one is called layer_norm; in `transformers` every block has one.
        state = {
            f"feature_projection.{key}" if key.startswith("layer_norm.") else key: tensor
            for key, tensor in state.items()
        }
        state = rename(state, FROM_ORIGINAL)
    without_prefix = {key.removeprefix("wavlm."): tensor for key, tensor in state.items()}
    return rename(without_prefix, BOTH_RELEASES)


class Float32(nn.Module):
    """A part of a network that is computed in float32 also under autocast.

    torch 2.13's grouped bfloat16 convolution on a CPU is wrong by as much as the values themselves
    with 12 channels a group.  The positional convolution is 3 % of the work, so float32 costs little.
    """

    def __init__(self, part: nn.Module) -> None:
        super().__init__()
        self.part = part

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            return self.part(x.float())


class StockWavLM(nn.Module):
    """`transformers`' own forward pass.  The waveform is not normalised: base-plus was trained so."""

    def __init__(self, model: WavLMModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, waves: Tensor) -> list[Tensor]:
        return list(self.model(waves, output_hidden_states=True).hidden_states)
