from __future__ import annotations

import numpy as np
import pytest
import torch

from mmmos.extract.encoders import WeightsMismatch, load_encoder, m2d
from mmmos.extract.encoders.m2d_patches import patches_to_frames
from tests.conftest import shared


@pytest.mark.parametrize("stock", [False, True])
@pytest.mark.parametrize("layout", ["m2d_tiny", "m2d_tiny_asft"])
def test_the_authors_frames(layout, stock):
    folder = shared(f"reference/{layout}")
    expected = np.load(shared("reference/m2d_tiny") / "expected.npz")
    encoder = load_encoder("m2d", weights=folder, stock=stock, audio_recipe="test")
    frames = encoder.hidden_states(torch.from_numpy(expected["waveform_16k"]))[-1].numpy()
    assert np.abs(frames - expected["frames"]).max() <= 1e-4 * np.abs(expected["frames"]).max()
    assert encoder.spec.layers == 2


def published(width: int = 48, depth: int = 2) -> dict[str, torch.Tensor]:
    """A checkpoint with the published key names."""
    generator = torch.Generator().manual_seed(1)

    def random(*shape: int) -> torch.Tensor:
        return 0.1 * torch.randn(*shape, generator=generator)

    state = {
        "cls_token": random(1, 1, width),
        "pos_embed": random(1, 311, width),
        "patch_embed.proj.weight": random(width, 1, 16, 16),
        "patch_embed.proj.bias": random(width),
        "norm.weight": 1 + random(width),
        "norm.bias": random(width),
    }
    for i in range(depth):
        for name, rows, columns in (
            ("attn.qkv", 3 * width, width),
            ("attn.proj", width, width),
            ("mlp.fc1", 4 * width, width),
            ("mlp.fc2", width, 4 * width),
        ):
            state[f"blocks.{i}.{name}.weight"] = random(rows, columns)
            state[f"blocks.{i}.{name}.bias"] = random(rows)
        for name in ("norm1", "norm2"):
            state[f"blocks.{i}.{name}.weight"] = 1 + random(width)
            state[f"blocks.{i}.{name}.bias"] = random(width)
    return state


def load(folder, state, name="m2d_clap_vit_base-80x1001p16x16-240128_AS-FT_enconly"):
    (folder / name).mkdir(exist_ok=True)
    torch.save({"model": state}, folder / name / "weights.pth")
    return load_encoder("m2d", weights=folder, audio_recipe="test")


WAVE = 0.1 * torch.randn(1, 160000, generator=torch.Generator().manual_seed(2))


def fine_tuned(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The layout of the published file: the encoder below a prefix, beside the constants of the front end,
    the projection of CLAP and the head of fine-tuning."""
    inside = state | {"norm_stats": torch.tensor([-7.1, 4.2])}
    inside |= {f"audio_proj.{i}.weight": torch.ones(48, 48) for i in (0, 2)}
    return {f"module.ar.runtime.backbone.{name}": tensor for name, tensor in inside.items()} | {
        "module.ar.runtime.to_spec.mel_basis": torch.ones(80, 201),
        "module.ar.runtime.to_spec.stft.wsin": torch.ones(201, 1, 400),
        "module.ar.runtime.to_spec.stft.wcos": torch.ones(201, 1, 400),
        "module.ar.runtime.to_spec.stft.window_mask": torch.ones(1, 400, 1),
        "module.head.norm.running_mean": torch.zeros(48),
        "module.head.norm.num_batches_tracked": torch.tensor(0),
        "module.head.mlp.mlp.0.weight": torch.zeros(527, 48),
    }


def test_the_published_layout_is_the_encoder_inside_it(tmp_path):
    plain = load(tmp_path, published())
    folder = tmp_path / "m2d_clap_vit_base-80x1001p16x16-240128_AS-FT_enconly"
    torch.save(fine_tuned(published()), folder / "weights.pth")  # flat, without {"model": ...}
    tuned = load_encoder("m2d", weights=tmp_path, audio_recipe="test")
    assert all(map(torch.equal, plain.hidden_states(WAVE), tuned.hidden_states(WAVE)))
    assert plain.spec.id == tuned.spec.id


def test_the_sibling_with_the_same_sizes_is_not_recorded_as_this_one(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(m2d, "FULL_WIDTH", 48)
    monkeypatch.setattr(m2d, "FULL_DEPTH", 2)
    assert load(tmp_path, published()).spec.checkpoint == m2d.PUBLISHED.name
    (tmp_path / m2d.PUBLISHED.name / "weights.pth").unlink()
    sibling = load(tmp_path, published(), "m2d_as_vit_base-80x1001p16x16-240213_AS-FT_enconly").spec
    assert sibling.checkpoint == f"custom:{sibling.weights[8:20]}"
    assert "same shape, not the published file" in capsys.readouterr().err


def test_the_checkpoints_own_statistics_are_used(tmp_path):
    default = load(tmp_path, published()).hidden_states(WAVE)
    same = load(tmp_path, published() | {"norm_stats": torch.tensor([-7.1, 4.2])}).hidden_states(WAVE)
    other = load(tmp_path, published() | {"norm_stats": torch.tensor([-5.0, 4.2])}).hidden_states(WAVE)
    assert all(torch.allclose(a, b, atol=1e-5) for a, b in zip(default, same, strict=True))
    assert not torch.allclose(default[-1], other[-1], atol=1e-3)


def test_missing_and_surplus_keys_are_named(tmp_path):
    state = published()
    state["blocks.1.norm9.weight"] = state.pop("blocks.1.norm1.weight")
    with pytest.raises(WeightsMismatch, match=r"missing layers\.1\.layernorm_before.*surplus .*norm9"):
        load(tmp_path, state)


@pytest.mark.parametrize(
    "name",
    ["m2d_vit_base-80x608p16x16-1", "m2d_vit_base-80x200p16x4-1", "m2d_as-80x1001p16x16p32k-1"],
)
def test_sibling_checkpoints_are_refused_by_their_names(tmp_path, name):
    with pytest.raises(WeightsMismatch, match=r"takes 80 bands x .* this encoder is m2d_clap"):
        load(tmp_path, published(), name)


def test_patches_by_hand():
    # Frequency-major: patch number f * 62 + t.
    tokens = torch.arange(-1.0, 310.0).reshape(1, 311, 1)
    frames = patches_to_frames(tokens)
    assert frames.shape == (1, 62, 5)
    assert frames[0, 3].tolist() == [3.0, 65.0, 127.0, 189.0, 251.0]


def test_full_size_by_its_own_numbers():
    model = m2d.build(m2d.FULL_WIDTH, m2d.FULL_DEPTH)
    assert model.config.num_attention_heads == 12
    assert sum(parameter.numel() for parameter in model.parameters()) == pytest.approx(86e6, rel=0.02)
