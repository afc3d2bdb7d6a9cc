"""How the published file is told from any other, and that one network has one id."""

from __future__ import annotations

import json
from dataclasses import asdict, replace

import torch
from safetensors.torch import save_file

from mmmos.extract.encoders import load_encoder, m2d, muq, wavlm
from mmmos.extract.encoders.published import FIRST_USE, Pinned, identify, is_published
from mmmos.extract.encoders.weights import file_sha256
from mmmos.store.schema import EncoderSpec
from tests.extract.encoders.test_locate import ON_NO_HUB, TOY


def test_only_the_pinned_file_is_called_published(tmp_path):
    path = tmp_path / "model.safetensors"
    path.write_bytes(b"weights")
    pinned = replace(TOY, pinned=(Pinned("model.safetensors", 7, file_sha256(path)),))
    told = identify(pinned, path, "ab" * 32, full=True)
    assert (told.checkpoint, told.weights, told.note) == ("someone/toy", "tensors:" + "ab" * 32, "")
    path.write_bytes(b"weightz")
    told = identify(pinned, path, "ab" * 32, full=True)
    assert told.checkpoint == "custom:abababababab"
    assert told.note == f"{path}: same shape, not the published file; recorded as custom:abababababab"
    assert told.licence == "a custom file; the published one has: MIT"


def test_without_a_published_hash_the_folders_name_decides_until_one_is_recorded(tmp_path, monkeypatch):
    monkeypatch.setenv("MMMOS_WEIGHTS", str(tmp_path))
    for folder in ("toy_v1", "toy_v2"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "last.pth").write_bytes(b"weights")
    ours, other = (tmp_path / folder / "last.pth" for folder in ("toy_v1", "toy_v2"))
    assert is_published(ON_NO_HUB, ours)
    assert not is_published(ON_NO_HUB, other)
    assert identify(ON_NO_HUB, ours, "ab" * 32, full=False).checkpoint == "custom:abababababab"
    (tmp_path / FIRST_USE).write_text(json.dumps({"toy_v1": file_sha256(ours)}))
    assert is_published(ON_NO_HUB, ours)
    ours.write_bytes(b"changed")
    assert not is_published(ON_NO_HUB, ours)


def tiny_wavlm(folder, monkeypatch):
    """A folder with a tiny network in the layout of WavLM's published file; `wavlm` takes that size."""
    monkeypatch.setitem(wavlm.SIZES, "full", wavlm.SIZES["tiny"])
    state = wavlm.canonical(wavlm.build(wavlm.SIZES["tiny"], 3).state_dict())
    (folder / "wavlm").mkdir()
    torch.save(state, folder / "wavlm" / "pytorch_model.bin")
    return state


def load(name, folder, **choices) -> EncoderSpec:
    return load_encoder(name, audio_recipe="test", weights=folder, **choices).spec


def test_one_network_has_one_id_in_every_container_and_naming(tmp_path, monkeypatch, capsys):
    state = tiny_wavlm(tmp_path, monkeypatch)
    first = load("wavlm", tmp_path)
    (tmp_path / "wavlm" / "pytorch_model.bin").unlink()
    save_file(state, tmp_path / "wavlm" / "model.safetensors")
    assert load("wavlm", tmp_path).id == first.id
    more = {f"wavlm.{name}": tensor for name, tensor in state.items()} | {"final_proj.x": torch.ones(1)}
    save_file(more, tmp_path / "wavlm" / "model.safetensors")
    assert load("wavlm", tmp_path).id == first.id
    assert f"not the published file; recorded as custom:{first.weights[8:20]}" in capsys.readouterr().err
    state["encoder.layer_norm.bias"] = state["encoder.layer_norm.bias"] + 1e-3
    save_file(state, tmp_path / "wavlm" / "model.safetensors")
    assert load("wavlm", tmp_path).id != first.id


def test_the_published_file_and_its_conversion_have_one_id_though_only_one_has_the_name(
    tmp_path, monkeypatch
):
    state = tiny_wavlm(tmp_path, monkeypatch)
    path = tmp_path / "wavlm" / "pytorch_model.bin"
    pinned = replace(wavlm.PUBLISHED, pinned=(Pinned(path.name, path.stat().st_size, file_sha256(path)),))
    monkeypatch.setattr(wavlm, "PUBLISHED", pinned)
    published = load("wavlm", tmp_path)
    assert published.checkpoint == "microsoft/wavlm-base-plus"
    path.unlink()
    save_file(state, tmp_path / "wavlm" / "model.safetensors")
    converted = load("wavlm", tmp_path)
    assert converted.checkpoint.startswith("custom:")
    assert (converted.id, converted) == (published.id, published)


def test_features_that_an_earlier_version_made_of_the_same_file_are_still_its_own(tmp_path, monkeypatch):
    tiny_wavlm(tmp_path, monkeypatch)
    path = tmp_path / "wavlm" / "pytorch_model.bin"
    now = load("wavlm", tmp_path)
    before = replace(now, checkpoint="microsoft/wavlm-base-plus", weights=file_sha256(path))
    another = replace(before, weights="0" * 64)
    assert before.id != now.id
    stored = [another, replace(before, precision="bf16"), EncoderSpec(**asdict(before))]
    assert load("wavlm", tmp_path, stored=stored).id == before.id
    assert load("wavlm", tmp_path, stored=stored).weights == before.weights
    assert load("wavlm", tmp_path, stored=[another]).id == now.id


def test_pinned_are_the_files_that_were_published():
    assert wavlm.PUBLISHED.pinned[0].sha256.startswith("3bb273a6ace9")
    assert [pin.name for pin in muq.PUBLISHED.pinned] == ["model.safetensors", "config.json"]
    for published in (wavlm.PUBLISHED, muq.PUBLISHED):
        assert len(published.revision) == 40
        assert all(len(pin.sha256) == 64 and pin.size > 0 for pin in published.pinned)
    assert m2d.PUBLISHED.release.endswith(f"{m2d.PUBLISHED.name}.zip")
