"""Where weight files are looked for, and what is said where they are not."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from safetensors.torch import save_file

from mmmos.extract.encoders import WeightsMismatch, WeightsMissing, find_weights, load_encoder
from mmmos.extract.encoders.locate import assign, find
from mmmos.extract.encoders.published import Published

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

    monkeypatch.setattr("mmmos.extract.encoders.locate.download", broken)
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
    monkeypatch.setattr("mmmos.extract.encoders.locate.download", lambda *_: pytest.fail("fetched"))
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
