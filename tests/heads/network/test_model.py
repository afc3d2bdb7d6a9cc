"""Heads: four independent towers, statistics that travel, and files that cannot hurt."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import nn

from mmmos.heads.grids import configure
from mmmos.heads.network.aggregators import AGGREGATORS
from mmmos.heads.network.losses import LOSSES
from mmmos.heads.network.model import DEFAULT_SCALE, Head, Statistics
from mmmos.heads.network.reading import Batch
from mmmos.heads.network.towers import Towers
from mmmos.store.schema import AES_AXES, Scale
from tests.heads.small import M2D, MUQ, WAVLM

SPECS = (WAVLM, MUQ, M2D)


def _statistics(shape: tuple[int, ...]) -> Statistics:
    mean, deviation = torch.randn(shape), torch.rand(shape) + 0.5
    return Statistics(mean, deviation, mean - 50, mean + 50)


def head_of(
    aggregator: str = "mlp",
    loss: str = "ut",
    axes: tuple[str, ...] = AES_AXES.names,
    scale: Scale = DEFAULT_SCALE,
) -> Head:
    torch.manual_seed(3)
    config = configure("data-0", [spec.id for spec in SPECS], aggregator, loss, width=4, hidden=6)
    head = Head(config, SPECS, axes, scale, support=5 if aggregator in ("kernel_ridge", "svr") else 0)
    if head.aggregator.tower == "kernel":
        head.towers.support.normal_()
        head.towers.dual.normal_()
    count = len(axes)
    head.set_statistics(
        [_statistics(head.reading.shape(spec)) for spec in SPECS],
        torch.linspace(4, 6, count),
        torch.linspace(1, 2, count),
    )
    return head.eval()


def batch_of(head: Head, count: int = 3) -> Batch:
    generator = torch.Generator().manual_seed(5)
    shapes = [
        (62, spec.frame_dim) if head.reading.kind == "frames" else head.reading.shape(spec) for spec in SPECS
    ]
    features = tuple(torch.randn(count, *shape, generator=generator) for shape in shapes)
    return Batch(features, torch.linspace(2, 10, count))


def test_towers_are_four_independent_mlps() -> None:
    torch.manual_seed(0)
    towers = Towers(dim=9, hidden=5, axes=4, outputs=1, dropout=0.0)
    x = torch.randn(8, 9)
    plain = [nn.Sequential(nn.Linear(9, 5), nn.ReLU(), nn.Linear(5, 1)) for _ in range(4)]
    with torch.no_grad():
        for axis, mlp in enumerate(plain):
            rows = slice(5 * axis, 5 * axis + 5)
            mlp[0].weight.copy_(towers.inner.weight[rows])
            mlp[0].bias.copy_(towers.inner.bias[rows])
            mlp[2].weight.copy_(towers.weight[axis])
            mlp[2].bias.copy_(towers.bias[axis])
    expected = torch.stack([mlp(x) for mlp in plain], dim=1)
    torch.testing.assert_close(towers(x), expected, atol=1e-6, rtol=0)
    # One vector for each axis gives the same where the vectors are equal.
    torch.testing.assert_close(towers(x[:, None].expand(-1, 4, -1)), expected, atol=1e-6, rtol=0)
    towers(x)[:, 2].sum().backward()
    assert towers.inner.weight.grad is not None
    touched = towers.inner.weight.grad.unflatten(0, (4, 5)).abs().sum((1, 2)) > 0
    assert touched.tolist() == [False, False, True, False]


@pytest.mark.parametrize("aggregator", AGGREGATORS)
@pytest.mark.parametrize("loss", LOSSES)
def test_save_and_load_give_the_same_scores(tmp_path: Path, aggregator: str, loss: str) -> None:
    head = head_of(aggregator, loss, axes=("CE", "PQ"), scale=Scale(0, 100))
    head.slope.copy_(torch.tensor([0.5, 2.0]))
    head.save(tmp_path / "head.safetensors", {"seed": 0})
    again = Head.load(tmp_path / "head.safetensors")
    batch = batch_of(head)
    assert torch.equal(again.scores(batch), head.scores(batch))
    assert (again.config, again.specs, again.axes, again.scale) == (
        head.config,
        head.specs,
        head.axes,
        head.scale,
    )
    assert head.scores(batch).shape == (3, 2)


def test_standardisation_is_undone_by_nothing_but_the_statistics() -> None:
    head = head_of()
    batch = batch_of(head)
    plain = Head(head.config, SPECS, AES_AXES.names)
    plain.load_state_dict({**plain.state_dict(), **dict(head.named_parameters())}, strict=True)
    moved = tuple(
        x / getattr(head, f"gain_{k}") + getattr(head, f"center_{k}") for k, x in enumerate(batch.features)
    )
    torch.testing.assert_close(head(Batch(moved, batch.valid_s)), plain(batch), atol=1e-5, rtol=0)


def test_a_feature_that_never_varied_keeps_its_unit() -> None:
    head = head_of()
    head.set_statistics(
        [
            Statistics(torch.ones(s.dim), torch.zeros(s.dim), torch.ones(s.dim), torch.ones(s.dim))
            for s in SPECS
        ],
        torch.zeros(4),
        torch.ones(4),
    )
    assert (head.gain_0 == 1).all()


def test_a_deviation_counts_as_a_thousandth_of_the_level_at_least() -> None:
    head = head_of()

    def around(level: float, deviation: float) -> list[Statistics]:
        shapes = [head.reading.shape(spec) for spec in SPECS]
        mean = [torch.full(shape, level) for shape in shapes]
        spread = [torch.full(shape, deviation) for shape in shapes]
        return [Statistics(m, s, m - 3 * s, m + 3 * s) for m, s in zip(mean, spread, strict=True)]

    # A level of 200 is stored in steps that a deviation of 0.01 is smaller than: it counts as 0.2.
    for level, deviation, unit in (
        (200.0, 0.01, 0.2),
        (-200.0, 0.01, 0.2),
        (200.0, 5.0, 5.0),
        (0.0, 0.01, 0.01),
    ):
        head.set_statistics(around(level, deviation), torch.zeros(4), torch.ones(4))
        torch.testing.assert_close(head.gain_0, torch.full_like(head.gain_0, 1 / unit))


def test_the_way_back_to_the_scale() -> None:
    head = head_of(axes=("CE", "PQ"))
    head.slope.copy_(torch.tensor([2.0, 1.0]))
    head.offset.copy_(torch.tensor([0.5, 0.0]))
    # mean 4 and 6, deviation 1 and 2: (1 * 2 + 0.5) * 1 + 4 and -1 * 2 + 6.
    assert head.to_scale(torch.tensor([1.0, -1.0])).tolist() == [6.5, 4.0]


def test_a_distribution_head_predicts_the_expected_rating() -> None:
    head = head_of(loss="listeners")
    logits = torch.full((1, 4, 10), -1e9)
    logits[..., 2] = logits[..., 6] = 0.0  # half the listeners say 3, half 7
    assert head.to_scale(head.z_scores(logits)).tolist() == [pytest.approx([5.0] * 4, abs=1e-5)]


def _forge(path: Path, change: Callable[[dict[str, Any], dict[str, torch.Tensor]], None]) -> None:
    head_of().save(path)
    with safe_open(path, framework="pt") as file:
        about = json.loads(file.metadata()["head"])
    tensors = load_file(path)
    change(about, tensors)
    save_file(tensors, path, metadata={"head": json.dumps(about)})


def _huge(about: dict[str, Any], tensors: dict[str, torch.Tensor]) -> None:
    about["config"]["hidden"] = 10**9


def _extra(about: dict[str, Any], tensors: dict[str, torch.Tensor]) -> None:
    tensors["more"] = torch.zeros(1)


def _nan(about: dict[str, Any], tensors: dict[str, torch.Tensor]) -> None:
    tensors["towers.bias"][0] = torch.nan


def _half(about: dict[str, Any], tensors: dict[str, torch.Tensor]) -> None:
    tensors["towers.bias"] = tensors["towers.bias"].half()


def _aggregator(about: dict[str, Any], tensors: dict[str, torch.Tensor]) -> None:
    about["config"]["aggregator"] = "__import__"


def _encoders(about: dict[str, Any], tensors: dict[str, torch.Tensor]) -> None:
    about["encoders"][0]["weights"] = "other"


def _axes(about: dict[str, Any], tensors: dict[str, torch.Tensor]) -> None:
    about["axes"] = ["CE", "CU", "PC", "PC"]


def _format(about: dict[str, Any], tensors: dict[str, torch.Tensor]) -> None:
    about["format"] = 99


FORGERIES = {
    _huge: "tensors differ from the config's .*towers.inner.weight",
    _extra: "tensors differ from the config's .*more",
    _nan: "values that are not finite",
    _half: "tensors differ from the config's .*towers.bias.*float16",
    _aggregator: "unknown aggregator '__import__'",
    _encoders: "encoders are not those of its config",
    _axes: "axes .*: 1 to 32 different names are needed",
    _format: "no description of format 1",
}
"""Each change to a head's file, and the check that refuses it."""


@pytest.mark.parametrize("change", FORGERIES, ids=lambda change: change.__name__)
def test_a_forged_head_is_refused(
    tmp_path: Path, change: Callable[[dict[str, Any], dict[str, torch.Tensor]], None]
) -> None:
    path = tmp_path / "head.safetensors"
    _forge(path, change)
    with pytest.raises(ValueError, match=f"is not a head of this project: .*{FORGERIES[change]}"):
        Head.load(path)


class Payload:
    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (Path("payload-ran"),))


def test_a_pickle_in_a_heads_clothing_runs_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "head.safetensors"
    path.write_bytes(pickle.dumps(Payload()))
    with pytest.raises(ValueError, match="is not a head"):
        Head.load(path)
    torch.save({"x": Payload()}, path)
    with pytest.raises(ValueError, match="is not a head"):
        Head.load(path)
    assert not (tmp_path / "payload-ran").exists()
