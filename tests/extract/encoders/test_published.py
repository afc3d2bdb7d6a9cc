"""Where weight files are looked for, and how the published one is told from any other."""

from __future__ import annotations

import json
from dataclasses import asdict, replace

import pytest
import torch
from safetensors.torch import save_file

from mmmos.extract.encoders import (
    WeightsMismatch,
    WeightsMissing,
    find_weights,
    load_encoder,
    m2d,
    muq,
    wavlm,
)
from mmmos.extract.encoders.published import (
    FIRST_USE,
    Pinned,
    Published,
    assign,
    find,
    identify,
    is_published,
)
from mmmos.extract.encoders.weights import file_sha256
from mmmos.store.schema import EncoderSpec

TOY = Published(
    name="someone/toy",
    folder="toy",
    files=("model.safetensors", "pytorch_model.bin", "toy_*/*.pth"),
    wanted="model.safetensors",
    source="https://example.org/toy",
    licence="MIT",
    revision="0123abcd",
)
ON_NO_HUB = replace(TOY, name="toy_v1", revision="", names="^heard$")


@pytest.fixture
def hub_cache(tmp_path, monkeypatch):
    """An empty hub cache and no network, as HF_HUB_OFFLINE has it."""
    cache = tmp_path / "hub"
    cache.mkdir()
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(cache))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.file_download.constants.HF_HUB_CACHE", str(cache), raising=False)
    return cache


@pytest.mark.parametrize(
    "place", ["toy/model.safetensors", "toy/pytorch_model.bin", "model.safetensors", "toy/toy_v1/last.pth"]
)
def test_found_in_every_documented_place(tmp_path, place):
    file = tmp_path / place
    file.parent.mkdir(parents=True, exist_ok=True)
    file.touch()
    assert find(TOY, tmp_path) == file
    assert find(TOY, file) == file


def test_the_encoders_own_folder_comes_first(tmp_path):
    (tmp_path / "toy").mkdir()
    for place in ("model.safetensors", "toy/pytorch_model.bin"):
        (tmp_path / place).touch()
    assert find(TOY, tmp_path) == tmp_path / "toy" / "pytorch_model.bin"


def test_several_candidates_are_not_guessed_between(tmp_path):
    for place in ("toy_a", "toy_b"):
        (tmp_path / place).mkdir()
        (tmp_path / place / "last.pth").touch()
    with pytest.raises(WeightsMissing, match=r"several candidates.*toy_a/last.pth, toy_b/last.pth"):
        find(TOY, tmp_path)


def test_offline_and_uncached_says_what_to_put_where(tmp_path, hub_cache):
    with pytest.raises(WeightsMissing) as caught:
        find(TOY, tmp_path)
    message = str(caught.value)
    for part in ("someone/toy", str(tmp_path), "DIR/toy/", "model.safetensors", "https://example.org/toy"):
        assert part in message


def test_the_hubs_cache_needs_no_network(hub_cache):
    repository = hub_cache / "models--someone--toy"
    snapshot = repository / "snapshots" / "0123abcd"
    snapshot.mkdir(parents=True)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("0123abcd")
    (snapshot / "pytorch_model.bin").touch()
    assert find(TOY, None) == snapshot / "pytorch_model.bin"


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(WeightsMissing, match="nowhere does not exist"):
        find(TOY, tmp_path / "nowhere")


def test_what_is_on_no_hub_says_so_at_once(tmp_path):
    with pytest.raises(WeightsMissing, match=r"m2d_clap_vit_base.*not on the hub(.|\n)*DIR/m2d/"):
        load_encoder("m2d", audio_recipe="test", weights=tmp_path)


def test_an_error_without_words_is_told_by_its_name(tmp_path, monkeypatch):
    def broken(*args, **kwargs):
        raise ConnectionError

    monkeypatch.setattr("mmmos.extract.encoders.published.download", broken)
    with pytest.raises(WeightsMissing, match=r"nor to be had from the hub \(ConnectionError\)"):
        find(TOY, tmp_path)


def test_the_revision_that_was_pinned_comes_first(hub_cache):
    for revision in ("0123abcd", "ffff"):
        folder = hub_cache / "models--someone--toy" / "snapshots" / revision
        folder.mkdir(parents=True)
        (folder / "model.safetensors").touch()
    (hub_cache / "models--someone--toy" / "refs").mkdir()
    (hub_cache / "models--someone--toy" / "refs" / "main").write_text("ffff")
    assert find(TOY, None).parent.name == "0123abcd"
    assert find(replace(TOY, revision="aaaa"), None).parent.name == "ffff"


def test_the_projects_own_folder_of_weights_is_looked_into(tmp_path, monkeypatch):
    monkeypatch.setenv("MMMOS_WEIGHTS", str(tmp_path))
    (tmp_path / "toy").mkdir()
    (tmp_path / "toy" / "model.safetensors").touch()
    assert find(replace(ON_NO_HUB, names=""), None) == tmp_path / "toy" / "model.safetensors"


def test_what_is_missing_is_told_before_anything_is_fetched(tmp_path, monkeypatch):
    monkeypatch.setattr("mmmos.extract.encoders.published.download", lambda *_: pytest.fail("fetched"))
    with pytest.raises(WeightsMissing, match=r"m2d_clap_vit_base(.|\n)*mmmos weights --encoders m2d"):
        find_weights(["wavlm", "muq", "m2d"], None)


def test_all_that_is_missing_is_told_at_once(tmp_path, hub_cache):
    with pytest.raises(WeightsMissing, match=r"microsoft/wavlm(.|\n)*OpenMuQ/MuQ(.|\n)*m2d_clap"):
        find_weights(["wavlm", "muq", "m2d", "logmel"], tmp_path)
    assert find_weights(["logmel"], tmp_path) == {"logmel": None}


def test_a_file_goes_only_to_the_encoder_it_fits(tmp_path):
    file = tmp_path / "any-name.safetensors"
    save_file({"heard": torch.zeros(1)}, file)
    other = replace(TOY, names="^seen$")
    assert assign({"one": ON_NO_HUB, "two": other}, file) == {"one": file, "two": None}
    with pytest.raises(WeightsMismatch, match=r"any-name.safetensors does not hold the weights of two"):
        assign({"two": other}, file)


def test_files_of_several_encoders_in_one_folder_are_told_apart_by_what_they_hold(tmp_path):
    save_file({"heard": torch.zeros(1)}, tmp_path / "model.safetensors")
    torch.save({"seen": torch.zeros(1)}, tmp_path / "pytorch_model.bin")
    assert find(ON_NO_HUB, tmp_path).name == "model.safetensors"
    assert find(replace(TOY, names="^seen$"), tmp_path).name == "pytorch_model.bin"


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
