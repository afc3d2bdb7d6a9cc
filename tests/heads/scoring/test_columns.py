"""Which columns linear heads weigh most: by cases that can be reckoned by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from mmmos.extract.front import columns_of
from mmmos.heads.config import HeadConfig
from mmmos.heads.network.model import Head
from mmmos.heads.network.towers import BoundedLinear
from mmmos.heads.scoring.bundle import Bundle
from mmmos.heads.scoring.columns import SHOWN, heaviest_columns
from mmmos.heads.scoring.model_card import model_card
from mmmos.store.escape import markdown_text
from mmmos.store.schema import Axes
from tests.heads.scoring.made_bundle import logmel, made_bundle

AXES = Axes(("PQ", "PC"))


def linear_head(reads: str, seed: int = 0) -> tuple[Head, torch.Tensor]:
    """A ridge without any weight on the means or profile of `logmel`, and its weights [A, dim]."""
    spec = logmel()
    config = HeadConfig("data-000000000000", (spec.id,), "ridge", "ut", reads=reads, seed=seed)
    head = Head(config, [spec], AXES.names)
    assert isinstance(head.towers, BoundedLinear)
    head.towers.weight.detach().zero_()
    return head.eval(), head.towers.weight.detach()[:, 0]


def bundle_of(*heads: Head, weights: tuple[float, ...] = (1.0,)) -> Bundle:
    made = made_bundle([logmel()], AXES)
    return replace(made, heads={head.config.id: head for head in heads}, weights=weights)


def place(name: str) -> int:
    return columns_of(logmel()).index(name)


def test_a_column_that_alone_decides_is_named_first_with_its_direction_in_points() -> None:
    head, weight = linear_head("means")
    names = columns_of(logmel())
    weight[0, 17], weight[0, 100] = -0.5, 0.01
    head.target_std.copy_(torch.tensor([20.0, 1.0]))
    table = heaviest_columns(bundle_of(head))
    assert table is not None
    assert table.rows == (
        ("PQ", f"mean of {names[17]} (logmel)", "-10"),
        ("PQ", f"mean of {names[100]} (logmel)", "+0.2"),
    )


def test_heads_that_read_the_same_column_are_averaged_by_their_say() -> None:
    one, of_one = linear_head("means")
    other, of_other = linear_head("profile", seed=1)
    of_one[0, 3], of_other[0, 3] = 1.0, 0.2
    of_other[0, 160 * 2 + 3] = 0.8
    table = heaviest_columns(bundle_of(one, other, weights=(0.25, 0.75)))
    assert table is not None
    name = columns_of(logmel())[3]
    assert table.rows == (
        ("PQ", f"step of {name} (logmel)", "+0.6"),  # 0.75 * 0.8
        ("PQ", f"mean of {name} (logmel)", "+0.4"),  # 0.25 * 1 + 0.75 * 0.2
    )
    assert table.notes[0].startswith("2 of 2 heads, with 100% of the say")


def test_an_axis_has_a_handful_of_columns() -> None:
    head, weight = linear_head("means")
    weight[1] = torch.arange(160)
    table = heaviest_columns(bundle_of(head))
    assert table is not None
    assert [row[0] for row in table.rows] == ["PC"] * SHOWN
    assert [row[2] for row in table.rows] == [f"+{159 - n}" for n in range(SHOWN)]


def test_heads_that_are_not_linear_are_not_spoken_for() -> None:
    assert heaviest_columns(made_bundle([logmel()])) is None
    head, weight = linear_head("means")
    weight[0, 0] = 1.0
    network = next(iter(made_bundle([logmel()], AXES).heads.values()))
    table = heaviest_columns(bundle_of(head, network, weights=(0.25, 0.75)))
    assert table is not None
    assert table.notes[0].startswith("1 of 2 heads, with 25% of the say")


def test_an_encoder_without_names_is_left_out() -> None:
    spec = replace(logmel(), name="newcomer")
    config = HeadConfig("data-000000000000", (spec.id,), "ridge", "ut", reads="means")
    head = Head(config, [spec], AXES.names).eval()
    assert heaviest_columns(bundle_of(head)) is None


@pytest.mark.parametrize("linear", [True, False])
def test_the_card_shows_them_where_there_are_any(linear: bool) -> None:
    head, weight = linear_head("means")
    weight[0, 17] = 1.0
    card = model_card(bundle_of(head) if linear else made_bundle([logmel()]))
    assert ("## What the linear heads weigh most" in card) == linear
    row = ("PQ", f"mean of {columns_of(logmel())[17]} (logmel)", "+1")
    assert (f"| {' | '.join(map(markdown_text, row))} |" in card) == linear
