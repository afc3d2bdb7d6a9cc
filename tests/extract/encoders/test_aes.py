"""The encoder of audiobox-aesthetics against its authors' code, and the reading of its file."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from mmmos.extract.encoders import WeightsMismatch, aes, load_encoder, wavlm
from mmmos.extract.encoders.audiobox import read_audiobox
from tests.conftest import shared
from tests.extract.encoders.test_wavlm import original_names


def made_up(folder, seed: int = 0):
    """A tiny network in the layout of the published file."""
    network = original_names(wavlm.build(wavlm.SIZES["tiny"], seed).state_dict())
    encoder = {f"wavlm_model.{name}": tensor.clone() for name, tensor in network.items()}
    heads = {f"layer_weights.{axis}": torch.zeros(3) for axis in ("CE", "CU", "PC", "PQ")}
    heads |= {f"proj_layer.{axis}.0.weight": torch.ones(1, 48) for axis in ("CE", "CU", "PC", "PQ")}
    scales = {axis: {"mean": 5.0, "std": 1.0} for axis in ("CE", "CU", "PC", "PQ")}
    save_file(encoder | heads, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps({"proj_num_layer": 1, "target_transform": scales}))
    return folder


@pytest.mark.parametrize("stock", [False, True])
def test_the_authors_hidden_states_of_a_whole_and_of_a_padded_clip(stock):
    folder = shared("reference/aes_tiny")
    expected = np.load(folder / "expected.npz")
    encoder = load_encoder("aes", weights=folder, stock=stock, audio_recipe="test")
    waves = torch.zeros(2, 160000)
    waves[0] = torch.from_numpy(expected["waveform_16k_0"])
    waves[1, :67200] = torch.from_numpy(expected["waveform_16k_1"])
    valid = torch.tensor([encoder.spec.valid_frames(seconds) for seconds in (10.0, 4.2)])
    assert valid.tolist() == expected["valid_frames"].tolist()
    hidden = encoder.hidden_states(waves, valid)
    assert len(hidden) == encoder.spec.layers == 3
    for n, state in enumerate(hidden):
        reference = expected[f"hidden_{n}"]
        assert np.abs(state.numpy() - reference).max() <= 1e-4 * np.abs(reference).max()


def test_a_padded_crop_is_the_same_alone_and_beside_whole_ones(tmp_path):
    encoder = load_encoder("aes", weights=made_up(tmp_path), audio_recipe="test")
    waves = 0.1 * torch.randn(3, 160000, generator=torch.Generator().manual_seed(0))
    waves[1, 67200:] = 0
    together, means = encoder.encode(waves.numpy(), [10.0, 4.2, 10.0])
    alone, mean = encoder.encode(waves[1:2].numpy(), [4.2])
    assert (together[1] - alone[0]).float().abs().max() <= 1e-3 * alone.abs().max()
    assert (means[1] - mean[0]).abs().max() <= 1e-5 * mean.abs().max()


def test_what_is_stored_of_a_padded_crop_comes_from_masked_states(tmp_path):
    encoder = load_encoder("aes", weights=made_up(tmp_path), layer="last", audio_recipe="test")
    waves = 0.1 * torch.randn(1, 160000, generator=torch.Generator().manual_seed(0))
    frames, _ = encoder.encode(waves.numpy(), [4.2])
    masked = encoder.hidden_states(waves, torch.tensor([210]))[-1]
    assert torch.equal(frames, masked.half())
    assert (masked - encoder.hidden_states(waves)[-1]).abs().max() > 1e-3


@pytest.mark.parametrize(
    ("valid_s", "frames"), [(10.0, 499), (4.2, 210), (4.21, 211), (4.2001, 211), (0.001, 1), (9.97, 499)]
)
def test_a_frame_counts_unless_all_of_it_is_padding(valid_s, frames):
    spec = load_encoder("aes", audio_recipe="test", random_seed=0, size="tiny").spec
    assert spec.valid_frames(valid_s) == frames


def test_the_sizes_follow_from_the_tensors(tmp_path):
    state = wavlm.canonical(read_audiobox(made_up(tmp_path)).encoder)
    sizes = aes.sizes_of(state)
    assert {name: sizes[name] for name in wavlm.SIZES["tiny"]} == wavlm.SIZES["tiny"]


def test_the_parts_of_the_published_file(tmp_path):
    published = read_audiobox(made_up(tmp_path))
    assert "post_extract_proj.weight" in published.encoder
    assert published.heads["layer_weights.PQ"].shape == (3,)
    assert published.config["target_transform"]["CE"] == {"mean": 5.0, "std": 1.0}


def test_the_releases_checkpoint_holds_the_same(tmp_path):
    made_up(tmp_path)
    before = load_encoder("aes", weights=tmp_path, audio_recipe="test").spec
    config = json.loads((tmp_path / "config.json").read_text())
    state = {f"model.{name}": t for name, t in load_file(tmp_path / "model.safetensors").items()}
    (tmp_path / "model.safetensors").unlink()
    scales = config.pop("target_transform")
    content = {"state_dict": state, "model_cfg": config, "target_transform": scales}
    torch.save(content, tmp_path / "checkpoint.pt")
    assert load_encoder("aes", weights=tmp_path, audio_recipe="test").spec.id == before.id
    assert read_audiobox(tmp_path).config == {**config, "target_transform": scales}


def test_what_is_missing_or_odd_is_named(tmp_path):
    made_up(tmp_path)
    (tmp_path / "config.json").unlink()
    with pytest.raises(WeightsMismatch, match=r"config\.json, which belongs to the weights, cannot be read"):
        read_audiobox(tmp_path)
    (tmp_path / "config.json").write_text("[" * 100_000)
    with pytest.raises(WeightsMismatch, match=r"config\.json.*nested too deeply"):
        read_audiobox(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"target_transform": {"CE": {}}}))
    with pytest.raises(WeightsMismatch, match="no target_transform with mean and std"):
        read_audiobox(tmp_path)
    made_up(tmp_path)
    state = load_file(tmp_path / "model.safetensors")
    save_file(state | {"decoder.weight": torch.ones(1)}, tmp_path / "model.safetensors")
    with pytest.raises(
        WeightsMismatch, match=r"is not facebook/audiobox-aesthetics: it holds decoder\.weight"
    ):
        read_audiobox(tmp_path)


def test_wavlm_does_not_take_the_file_of_aes(tmp_path):
    shutil.copytree(made_up(tmp_path), tmp_path / "wavlm", dirs_exist_ok=True)
    with pytest.raises(WeightsMismatch, match="does not hold the weights of microsoft/wavlm-base-plus"):
        load_encoder("wavlm", weights=tmp_path / "wavlm" / "model.safetensors", audio_recipe="test")
