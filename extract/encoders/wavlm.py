"""WavLM-Base+: a speech encoder over the raw waveform (Chen et al. 2022, arXiv 2110.13900).

The network is `transformers`' WavLMModel; weights may come under its key names or under those of
the original release (WavLM-Base+.pt).
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from mmmos.extract.encoders.encoder import Loaded, LoadOptions, crop_samples
from mmmos.extract.encoders.loadable import transformers
from mmmos.extract.encoders.locate import find
from mmmos.extract.encoders.published import Origin, Pinned, Published, identify, untrained
from mmmos.extract.encoders.wavlm_fast import FastWavLM
from mmmos.extract.encoders.weights import fill, network_sha256, read_state, rename, seeded

if TYPE_CHECKING:
    from transformers import WavLMModel

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
    revision="4c66d4806a428f2e922ccfa1a962776e232d487b",
    pinned=(
        Pinned(
            "pytorch_model.bin",
            377_617_425,
            "3bb273a6ace99408b50cfc81afdbb7ef2de02da2eab0234e18db608ce692fe51",
        ),
    ),
    size="0.38 GB",
    names=r"^(wavlm\.)?feature_extractor\.conv_layers\.",
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

WEIGHT_NORM = (
    ("conv.weight_g", "conv.parametrizations.weight.original0"),
    ("conv.weight_v", "conv.parametrizations.weight.original1"),
)
"""Weight norm by its old names in torch, which the published files have, and by those of today."""


def load(options: LoadOptions) -> Loaded:
    """WavLM with published or random weights: 13 hidden states [B, 499, 768]."""
    seed = options.random_seed
    if seed is not None:
        return assemble(build(SIZES[options.size], seed), untrained(PUBLISHED, seed), options)
    model, path = build(SIZES["full"], 0), find(PUBLISHED, options.weights)
    state = canonical(read_state(path))
    fill(model, to_library(state), PUBLISHED.unused, PUBLISHED.name, path)
    sha256 = network_sha256(state, PUBLISHED.unused)
    return assemble(model, identify(PUBLISHED, path, sha256, full=True), options)


def build(sizes: dict[str, Any], seed: int) -> WavLMModel:
    """The untrained network; `sizes` are arguments of WavLMConfig."""
    with seeded(seed):
        model: WavLMModel = transformers().WavLMModel(transformers().WavLMConfig(**sizes))
    return model


def assemble(model: WavLMModel, origin: Origin, options: LoadOptions, *, masked: bool = False) -> Loaded:
    """A filled network with the forward pass that `options` asks for."""
    config = model.config
    model.encoder.pos_conv_embed = Float32(model.encoder.pos_conv_embed)  # type: ignore[assignment]
    fast = not options.stock
    network = FastWavLM(model, FRAMES, options.arithmetic) if fast else StockWavLM(model)
    return Loaded(network, origin, config.hidden_size, config.num_hidden_layers + 1, fast, masked)


def canonical(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """A state with the names of the hub's file, from one with the names of either release."""
    state = {name.removeprefix("wavlm."): tensor for name, tensor in state.items()}
    if "post_extract_proj.weight" in state:
        # In the original release only this one is called layer_norm; on the hub every block has one.
        state = {
            f"feature_projection.{name}" if name.startswith("layer_norm.") else name: tensor
            for name, tensor in state.items()
        }
        state = rename(state, FROM_ORIGINAL)
    return rename(state, ((new, old) for old, new in WEIGHT_NORM))


def to_library(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """A canonical state with the names of WavLMModel."""
    return rename(state, WEIGHT_NORM)


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
        # The model's own rule makes a mask of frames from one of samples; ours is one of frames already.
        model._get_feature_vector_attention_mask = lambda length, mask, add_adapter=None: mask  # type: ignore[method-assign, assignment]

    def forward(self, waves: Tensor, valid_frames: Tensor | None = None) -> list[Tensor]:
        if valid_frames is None:
            return list(self.model(waves, output_hidden_states=True).hidden_states)
        mask = torch.arange(FRAMES, device=waves.device) < valid_frames[:, None]
        with warnings.catch_warnings():
            # torch deprecates a mask of another type than the position bias, as the model passes it.
            warnings.simplefilter("ignore", UserWarning)
            return list(self.model(waves, mask, output_hidden_states=True).hidden_states)
