"""The encoder of audiobox-aesthetics: a WavLM trained on through ratings, with a mask for padding.

It differs from `wavlm` in its weights, in hiding padded frames from its attention, and in counting a
frame as valid unless all of its samples are padding.
"""

from __future__ import annotations

import re
from typing import Any

from torch import Tensor

from mmmos.extract.encoders import wavlm
from mmmos.extract.encoders.audiobox import PUBLISHED, read_audiobox
from mmmos.extract.encoders.encoder import Loaded, LoadOptions
from mmmos.extract.encoders.published import identify, untrained
from mmmos.extract.encoders.weights import WeightsMismatch, fill, network_sha256

__all__ = ["FRAMES", "FRAME_RATE_HZ", "GFLOP_A_CROP", "PUBLISHED", "RECIPE", "SAMPLE_RATE_HZ", "load"]

SAMPLE_RATE_HZ = wavlm.SAMPLE_RATE_HZ
FRAME_RATE_HZ = wavlm.FRAME_RATE_HZ
FRAMES = wavlm.FRAMES
PARTIAL_FRAMES = True
RECIPE = 1
GFLOP_A_CROP = wavlm.GFLOP_A_CROP

FULL_WIDTH, FULL_DEPTH = 768, 12


def load(options: LoadOptions) -> Loaded:
    """The encoder with published or random weights: 13 hidden states [B, 499, 768]."""
    seed = options.random_seed
    if seed is not None:
        model = wavlm.build(wavlm.SIZES[options.size], seed)
        return wavlm.assemble(model, untrained(PUBLISHED, seed), options, masked=True)
    published = read_audiobox(options.weights)
    state = wavlm.canonical(published.encoder)
    try:
        sizes = sizes_of(state)
        model = wavlm.build(sizes, 0)
    except (KeyError, ValueError, IndexError, ZeroDivisionError) as error:
        raise WeightsMismatch(f"{published.path} is not {PUBLISHED.name}: {error}") from error
    fill(model, wavlm.to_library(state), PUBLISHED.unused, PUBLISHED.name, published.path)
    heads = {"num_attention_heads": sizes["num_attention_heads"]}
    sha256 = network_sha256(state, PUBLISHED.unused, heads)
    full = (sizes["hidden_size"], sizes["num_hidden_layers"]) == (FULL_WIDTH, FULL_DEPTH)
    origin = identify(PUBLISHED, published.path, sha256, full=full)
    return wavlm.assemble(model, origin, options, masked=True)


def sizes_of(state: dict[str, Tensor]) -> dict[str, Any]:
    """Arguments of WavLMConfig that follow from the shapes of a canonical state."""
    width = state["encoder.layer_norm.weight"].shape[0]
    blocks = [int(found[1]) for name in state if (found := re.match(r"encoder\.layers\.(\d+)\.", name))]
    channels = {
        int(found[1]): tensor.shape[0]
        for name, tensor in state.items()
        if (found := re.fullmatch(r"feature_extractor\.conv_layers\.(\d+)\.conv\.weight", name))
    }
    position = state["encoder.pos_conv_embed.conv.weight_v"].shape
    return {
        "hidden_size": width,
        "num_hidden_layers": 1 + max(blocks),
        "num_attention_heads": state["encoder.layers.0.attention.gru_rel_pos_const"].shape[1],
        "intermediate_size": state["encoder.layers.0.feed_forward.intermediate_dense.weight"].shape[0],
        "conv_dim": tuple(channels[i] for i in sorted(channels)),
        "num_conv_pos_embeddings": position[2],
        "num_conv_pos_embedding_groups": width // position[1],
        "num_buckets": state["encoder.layers.0.attention.rel_attn_embed.weight"].shape[0],
    }
