from __future__ import annotations

import pytest
import torch
from transformers import WavLMConfig, WavLMModel

from mmmos.extract.encoders import wavlm
from mmmos.extract.encoders.packed import Arithmetic
from mmmos.extract.encoders.wavlm import SIZES
from mmmos.extract.encoders.wavlm_fast import ConvStack, FastWavLM
from mmmos.extract.encoders.weights import WeightsMismatch, fill, seeded


@pytest.fixture(scope="module")
def model() -> WavLMModel:
    with seeded(0), torch.no_grad():
        model = WavLMModel(WavLMConfig(**SIZES["tiny"])).eval()
        for norm in (model.feature_extractor.conv_layers[0].layer_norm, model.encoder.layer_norm):
            norm.weight.normal_(1.0, 0.3)
            norm.bias.normal_(0.0, 0.3)
        for layer in model.encoder.layers:
            layer.attention.gru_rel_pos_const.normal_()
            layer.attention.gru_rel_pos_linear.weight.normal_()
        model.encoder.layers[0].attention.rel_attn_embed.weight.normal_()
    return model


def original_names(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The keys as the original release has them, written out from its code's module names."""
    renamed = {}
    for key, tensor in state.items():
        parts = key.split(".")
        if parts[0] == "masked_spec_embed":
            name = "mask_emb"
        elif parts[:2] == ["feature_projection", "projection"]:
            name = f"post_extract_proj.{parts[2]}"
        elif parts[:2] == ["feature_projection", "layer_norm"]:
            name = f"layer_norm.{parts[2]}"
        elif parts[0] == "feature_extractor":
            name = f"feature_extractor.conv_layers.{parts[2]}.{0 if parts[3] == 'conv' else 2}.{parts[4]}"
        elif parts[1] == "pos_conv_embed":
            last = {"original0": "weight_g", "original1": "weight_v"}.get(parts[-1], parts[-1])
            name = f"encoder.pos_conv.0.{last}"
        elif parts[1] == "layer_norm":
            name = key
        else:
            inner = {
                "attention.gru_rel_pos_const": "self_attn.grep_a",
                "attention.gru_rel_pos_linear": "self_attn.grep_linear",
                "attention.rel_attn_embed": "self_attn.relative_attention_bias",
                "attention.q_proj": "self_attn.q_proj",
                "attention.k_proj": "self_attn.k_proj",
                "attention.v_proj": "self_attn.v_proj",
                "attention.out_proj": "self_attn.out_proj",
                "layer_norm": "self_attn_layer_norm",
                "feed_forward.intermediate_dense": "fc1",
                "feed_forward.output_dense": "fc2",
                "final_layer_norm": "final_layer_norm",
            }
            stem, _, leaf = ".".join(parts[3:]).rpartition(".")
            stem, leaf = (f"{stem}.{leaf}", "") if f"{stem}.{leaf}" in inner else (stem, f".{leaf}")
            name = f"encoder.layers.{parts[2]}.{inner[stem]}{leaf}"
        renamed[name] = tensor
    return renamed


@pytest.mark.parametrize("release", ["transformers", "older transformers", "with a prefix", "original"])
def test_every_published_key_name_loads(model, release, tmp_path):
    state = model.state_dict()
    if release == "older transformers":
        state = {
            key.replace("parametrizations.weight.original0", "weight_g").replace(
                "parametrizations.weight.original1", "weight_v"
            ): tensor
            for key, tensor in state.items()
        }
    elif release == "with a prefix":
        state = {f"wavlm.{key}": tensor for key, tensor in state.items()}
    elif release == "original":
        state = original_names(state)
        assert len(state) == len(model.state_dict())
    other = WavLMModel(WavLMConfig(**SIZES["tiny"]))
    fill(other, wavlm.to_library(wavlm.canonical(dict(state))), ("masked_spec_embed",), "wavlm", tmp_path)
    for key, tensor in other.state_dict().items():
        assert torch.equal(tensor, model.state_dict()[key]), key


def test_another_network_is_refused_by_name(model, tmp_path):
    state = dict(model.state_dict())
    state["encoder.layers.2.layer_norm.weight"] = state.pop("encoder.layers.1.layer_norm.weight")
    with pytest.raises(WeightsMismatch, match=r"missing encoder\.layers\.1.*surplus encoder\.layers\.2"):
        fill(model, state, wavlm.PUBLISHED.unused, wavlm.PUBLISHED.name, tmp_path)


@pytest.mark.parametrize("level", [1.0, 1e-3, 1e-6])
def test_norm_inside_the_first_convolution(model, level):
    """Also far from zero mean, where the variance is a small difference of large numbers."""
    generator = torch.Generator().manual_seed(2)
    wave = level * torch.randn(1, 16000, generator=generator) + 0.3
    with torch.inference_mode():
        expected = model.feature_extractor.double()(wave.double()).transpose(1, 2)
        model.feature_extractor.float()
        ours = ConvStack(model.feature_extractor.conv_layers, torch.float32)(wave)
    assert (ours - expected).abs().max() <= 1e-4 * expected.abs().max()


@pytest.mark.parametrize("on_cpu", [True, False])
def test_every_hidden_state_with_weights_far_from_their_start(model, on_cpu):
    waves = 0.1 * torch.randn(2, 160000, generator=torch.Generator().manual_seed(3))
    with torch.inference_mode():
        expected = wavlm.StockWavLM(model)(waves)
        ours = FastWavLM(model, wavlm.FRAMES, Arithmetic(on_cpu=on_cpu)).eval()(waves)
    for state, reference in zip(ours, expected, strict=True):
        assert (state - reference).abs().max() <= 1e-5 * reference.abs().max()


@pytest.mark.parametrize("on_cpu", [True, False])
def test_padding_is_hidden_from_the_frames_before_it(model, on_cpu):
    waves = 0.1 * torch.randn(2, 160000, generator=torch.Generator().manual_seed(3))
    valid = torch.tensor([499, 210])
    ours = FastWavLM(model, wavlm.FRAMES, Arithmetic(on_cpu=on_cpu)).eval()
    with torch.inference_mode():
        unmasked, masked, expected = ours(waves), ours(waves, valid), wavlm.StockWavLM(model)(waves, valid)
    for state, reference, free in zip(masked, expected, unmasked, strict=True):
        assert (state - reference).abs().max() <= 1e-5 * reference.abs().max()
        assert (state[0] - free[0]).abs().max() <= 1e-5 * free.abs().max()
        assert (state[1] - free[1]).abs().max() > 1e-3 * free.abs().max()
