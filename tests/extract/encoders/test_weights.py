"""Reading weight files, the reasons why one is refused, and the hash that tells networks apart."""

from __future__ import annotations

import hashlib
import os

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from mmmos.extract.encoders import WeightsMismatch, weights
from mmmos.extract.encoders.weights import fill, network_sha256, read_names, read_state, rename


@pytest.mark.parametrize("wrapping", [None, "model", "state_dict"])
def test_torch_files_with_and_without_wrapping(tmp_path, wrapping):
    table = {"a": torch.ones(2)}
    torch.save(table if wrapping is None else {wrapping: table, "cfg": {"depth": 1}}, tmp_path / "file.pt")
    assert torch.equal(read_state(tmp_path / "file.pt")["a"], torch.ones(2))
    assert read_names(tmp_path / "file.pt") == ["a"]


def test_torch_files_of_the_old_format(tmp_path):
    torch.save({"a": torch.ones(2)}, tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    assert torch.equal(read_state(tmp_path / "old.pt")["a"], torch.ones(2))
    assert read_names(tmp_path / "old.pt") == ["a"]


def test_code_in_a_torch_file_is_not_run(tmp_path):
    class Harmful:
        def __reduce__(self):
            return (exec, ("raise SystemExit('ran')",))

    torch.save({"model": Harmful()}, tmp_path / "harmful.pth")
    for read in (read_state, read_names):
        with pytest.raises(WeightsMismatch, match=r"more than tensors .*never run"):
            read(tmp_path / "harmful.pth")


def test_a_file_of_something_else_is_refused(tmp_path):
    torch.save([1, 2], tmp_path / "list.pt")
    with pytest.raises(WeightsMismatch, match="does not hold a table of tensors"):
        read_state(tmp_path / "list.pt")


@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin"])
@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "it is empty"),
        (b"\n<!DOCTYPE html><html>Not found</html>", "it is a web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n", "pointer of Git LFS"),
        (b"\0" * 4096, "truncated, damaged or of another format"),
    ],
)
def test_what_is_no_weight_file_is_told_in_one_line(tmp_path, name, content, reason):
    (tmp_path / name).write_bytes(content)
    for read in (read_state, read_names):
        with pytest.raises(WeightsMismatch, match=reason) as caught:
            read(tmp_path / name)
        assert str(tmp_path / name) in str(caught.value)
        assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("part", [0.3, 0.9])
@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin"])
def test_a_truncated_file_is_told_in_one_line(tmp_path, name, part):
    state = {"a": torch.ones(5000)}
    save_file(state, tmp_path / name) if name.endswith("safetensors") else torch.save(state, tmp_path / name)
    whole = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(whole[: int(part * len(whole))])
    with pytest.raises(WeightsMismatch, match="truncated, damaged") as caught:
        read_state(tmp_path / name)
    assert len(str(caught.value).splitlines()) == 1


def test_missing_surplus_misshapen_and_broken_tensors_are_named(tmp_path):
    network = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 3))
    state = network.state_dict()
    del state["1.bias"]
    state |= {"2.weight": torch.zeros(1), "0.weight": torch.zeros(3, 5), "head.weight": torch.zeros(9)}
    state["1.weight"] = torch.full((3, 3), torch.nan)
    with pytest.raises(WeightsMismatch) as caught:
        fill(network, state, ("head.",), "someone/toy", tmp_path / "file.pt")
    message = str(caught.value)
    assert "file.pt is not someone/toy" in message
    assert "missing 1.bias" in message
    assert "surplus 2.weight" in message
    assert "0.weight is [3, 5], expected [3, 2]" in message
    assert "1.weight holds values that are not finite" in message
    assert "head.weight" not in message


def test_every_tensor_arrives(tmp_path):
    source, target = nn.Linear(2, 3), nn.Linear(2, 3)
    fill(target, source.state_dict() | {"head.weight": torch.zeros(9)}, ("head.",), "toy", tmp_path)
    assert torch.equal(source.weight, target.weight)
    assert torch.equal(source.bias, target.bias)


def test_rename_in_order():
    assert list(rename({"a.b": torch.zeros(1)}, (("a.", "c."), ("c.b", "d")))) == ["d"]


def test_the_hash_of_a_network_follows_its_numbers_and_nothing_else():
    state = {"a": torch.arange(6.0).reshape(2, 3), "b": torch.ones(())}
    expected = network_sha256(state)
    spelled = hashlib.sha256(b"{}\na [2, 3]\n" + state["a"].numpy().tobytes() + b"\nb []\n")
    spelled.update(state["b"].numpy().tobytes())
    assert expected == spelled.hexdigest()
    same = {"b": state["b"], "head.x": torch.ones(1), "bn.num_batches_tracked": torch.tensor(3)}
    assert network_sha256({**same, "a": state["a"].double()}, ("head.",)) == expected
    assert network_sha256({**state, "a": state["a"].T.contiguous().T}) == expected
    for other in (
        {"a": state["a"].reshape(3, 2), "b": state["b"]},
        {"a": state["a"] + 1e-6, "b": state["b"]},
        {"c": state["a"], "b": state["b"]},
        {"a": state["a"]},
    ):
        assert network_sha256(other) != expected
    assert network_sha256(state, constants={"heads": 4}) != expected


def test_file_sha256(tmp_path):
    (tmp_path / "file").write_bytes(b"abc")
    assert weights.file_sha256(tmp_path / "file") == hashlib.sha256(b"abc").hexdigest()


@pytest.mark.parametrize("name", ["w.safetensors", "w.pth"])
def test_a_pipe_is_not_waited_for(tmp_path, name):
    os.mkfifo(tmp_path / name)
    with pytest.raises(WeightsMismatch, match="not a regular file"):
        read_names(tmp_path / name)
