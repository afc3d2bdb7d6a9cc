from __future__ import annotations

import pytest
import torch

from mmmos.extract.encoders.layers import check_rule, summarise

HIDDEN = [
    torch.tensor([[[1.0, 2.0], [3.0, 4.0], [100.0, 100.0]]]),
    torch.tensor([[[5.0, 6.0], [7.0, 8.0], [0.0, 0.0]]]),
]
TWO = torch.tensor([2])


@pytest.mark.parametrize(
    ("rule", "first_frame"),
    [
        ("mean", [3.0, 4.0]),
        ("last", [5.0, 6.0]),
        ("0", [1.0, 2.0]),
        ("1", [5.0, 6.0]),
        ("all", [1.0, 2.0, 5.0, 6.0]),
    ],
)
def test_rules_by_hand(rule, first_frame):
    frames, means = summarise(HIDDEN, rule, TWO)
    assert frames[0, 0].tolist() == first_frame
    assert means.tolist() == [[[2.0, 3.0], [6.0, 7.0]]]


def test_padding_never_enters_a_mean():
    changed = [state.clone() for state in HIDDEN]
    for state in changed:
        state[:, 2] = -7.0
    assert torch.equal(summarise(HIDDEN, "mean", TWO)[1], summarise(changed, "mean", TWO)[1])


def test_each_crop_has_its_own_length():
    states = [torch.arange(12.0).reshape(2, 3, 2)]
    means = summarise(states, "last", torch.tensor([1, 3]))[1]
    assert means[:, 0].tolist() == [[0.0, 1.0], [8.0, 9.0]]


def test_half_precision_states_give_float32():
    frames, means = summarise([state.bfloat16() for state in HIDDEN], "mean", TWO)
    assert frames.dtype == means.dtype == torch.float32


def test_the_hidden_states_are_left_alone():
    before = HIDDEN[0].clone()
    summarise(HIDDEN, "mean", TWO)
    assert torch.equal(HIDDEN[0], before)


def test_unknown_rules_are_refused():
    assert check_rule("12", 13) == "12"
    with pytest.raises(ValueError, match=r"unknown layer rule '13'.*mean"):
        check_rule("13", 13)
    assert check_rule("6", 1) == "mean"
