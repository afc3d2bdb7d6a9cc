"""A precision is what it says, on hardware that gains from it."""

from __future__ import annotations

import pytest
import torch

from mmmos.extract.encoders import load_encoder, precision
from mmmos.extract.encoders.precision import family, require_gain

CPU, CUDA = torch.device("cpu"), torch.device("cuda:0")


def pretend_card(monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int]) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda *_: capability)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda *_: "Old Card")


def test_bf16_is_refused_on_a_cpu_that_is_slower_with_it_unless_forced(monkeypatch) -> None:
    monkeypatch.setattr(precision, "bf16_gain", lambda: 0.51)
    with pytest.raises(
        ValueError, match=r"bf16 does not pay on this CPU: .* 0\.51 times .*--force-precision"
    ):
        require_gain("bf16", CPU)
    require_gain("bf16", CPU, forced=True)
    require_gain("fp32", CPU)
    with pytest.raises(ValueError, match="bf16 does not pay"):
        load_encoder("wavlm", audio_recipe="x", random_seed=0, size="tiny", precision="bf16")
    assert load_encoder("logmel", audio_recipe="x", precision="bf16").spec.precision == "fp32"


def test_bf16_is_taken_where_it_gains(monkeypatch) -> None:
    monkeypatch.setattr(precision, "bf16_gain", lambda: 2.0)
    require_gain("bf16", CPU)


def test_the_probe_measures_a_ratio_of_speeds() -> None:
    assert 0.0 < precision.bf16_gain() < 100.0


@pytest.mark.parametrize("name", ["tf32", "fp16"])
@pytest.mark.parametrize("forced", [False, True])
def test_what_only_cuda_has_is_refused_elsewhere(name: str, forced: bool) -> None:
    with pytest.raises(ValueError, match=f"precision {name} exists on CUDA only"):
        require_gain(name, CPU, forced=forced)


@pytest.mark.parametrize(
    ("capability", "taken"),
    [((9, 0), {"fp32", "tf32", "bf16", "fp16"}), ((7, 5), {"fp32", "fp16"}), ((6, 1), {"fp32"})],
)
def test_a_card_takes_what_its_tensor_cores_know(monkeypatch, capability, taken) -> None:
    pretend_card(monkeypatch, capability)
    for name in precision.PRECISIONS:
        if name in taken:
            require_gain(name, CUDA)
            continue
        with pytest.raises(ValueError, match=f"Old Card has no tensor cores for {name}"):
            require_gain(name, CUDA)
        if name != "tf32":
            require_gain(name, CUDA, forced=True)


def test_the_arithmetic_is_named_where_it_changes_more_than_rounding() -> None:
    assert {family("fp32", device, stock=stock) for device in ("cpu", "cuda") for stock in (0, 1)} == {""}
    assert family("bf16", "cpu", stock=False) == ""  # as in stores that are there
    named = [family("bf16", device, stock=stock) for device in ("cpu", "cuda") for stock in (False, True)]
    assert named == ["", "stock", "cuda", "cuda stock"]
