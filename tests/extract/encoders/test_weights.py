from __future__ import annotations

import hashlib
import pickle

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from mmmos.extract.encoders import WeightsMismatch, WeightsMissing, load_encoder, weights
from mmmos.extract.encoders.weights import Published, fill, find, read_state, rename

TOY = Published(
    name="someone/toy",
    folder="toy",
    files=("model.safetensors", "pytorch_model.bin", "toy_*/*.pth"),
    hub=True,
    wanted="model.safetensors",
    source="https://example.org/toy",
    licence="MIT",
    unused=("head.",),
)


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


@pytest.mark.parametrize("wrapping", [None, "model", "state_dict"])
def test_torch_files_with_and_without_wrapping(tmp_path, wrapping):
    table = {"a": torch.ones(2)}
    torch.save(table if wrapping is None else {wrapping: table, "cfg": {"depth": 1}}, tmp_path / "file.pt")
    assert torch.equal(read_state(tmp_path / "file.pt")["a"], torch.ones(2))


def test_code_in_a_torch_file_is_not_run(tmp_path):
    class Harmful:
        def __reduce__(self):
            return (exec, ("raise SystemExit('ran')",))

    torch.save({"model": Harmful()}, tmp_path / "harmful.pth")
    with pytest.raises(pickle.UnpicklingError):
        read_state(tmp_path / "harmful.pth")


def test_a_file_of_something_else_is_refused(tmp_path):
    torch.save([1, 2], tmp_path / "list.pt")
    with pytest.raises(WeightsMismatch, match="does not hold a table of tensors"):
        read_state(tmp_path / "list.pt")


def test_missing_surplus_and_misshapen_keys_are_named(tmp_path):
    network = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 3))
    state = network.state_dict()
    del state["1.bias"]
    state |= {"2.weight": torch.zeros(1), "0.weight": torch.zeros(3, 5), "head.weight": torch.zeros(9)}
    with pytest.raises(WeightsMismatch) as caught:
        fill(network, state, TOY, tmp_path / "file.pt")
    message = str(caught.value)
    assert "missing 1.bias" in message
    assert "surplus 2.weight" in message
    assert "0.weight is [3, 5], expected [3, 2]" in message
    assert "head.weight" not in message


def test_every_tensor_arrives(tmp_path):
    source, target = nn.Linear(2, 3), nn.Linear(2, 3)
    fill(target, source.state_dict() | {"head.weight": torch.zeros(9)}, TOY, tmp_path)
    assert torch.equal(source.weight, target.weight)
    assert torch.equal(source.bias, target.bias)


def test_rename_in_order():
    assert list(rename({"a.b": torch.zeros(1)}, (("a.", "c."), ("c.b", "d")))) == ["d"]


def test_safetensors_and_sha256(tmp_path):
    save_file({"a": torch.ones(2)}, tmp_path / "model.safetensors")
    assert torch.equal(read_state(tmp_path / "model.safetensors")["a"], torch.ones(2))
    expected = hashlib.sha256((tmp_path / "model.safetensors").read_bytes()).hexdigest()
    assert weights.file_sha256(tmp_path / "model.safetensors") == expected
