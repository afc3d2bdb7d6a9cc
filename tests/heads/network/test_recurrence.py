"""The recurrence against torch.nn.LSTM, values and gradients."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from mmmos.heads.network.recurrence import Recurrence, bidirectional, single_step, through_lstm

SIZE, DIM, BATCH, STEPS = 5, 7, 4, 9


def ours_to_torch(x: torch.Tensor) -> torch.Tensor:
    """Gate order output, input, forget, cell -> input, forget, cell, output (first axis)."""
    o, i, f, g = x.chunk(4)
    return torch.cat((i, f, g, o))


def lstm_of(weight: torch.Tensor, bias: torch.Tensor, recurrent: torch.Tensor) -> nn.LSTM:
    """nn.LSTM with our weights [2, 4H, D], [2, 4H], [2, 4H, H]."""
    lstm = nn.LSTM(weight.shape[-1], recurrent.shape[-1], batch_first=True, bidirectional=True).double()
    with torch.no_grad():
        for direction, suffix in enumerate(("l0", "l0_reverse")):
            getattr(lstm, f"weight_ih_{suffix}").copy_(ours_to_torch(weight[direction]))
            getattr(lstm, f"weight_hh_{suffix}").copy_(ours_to_torch(recurrent[direction]))
            getattr(lstm, f"bias_ih_{suffix}").copy_(ours_to_torch(bias[direction]))
            getattr(lstm, f"bias_hh_{suffix}").zero_()
    return lstm


def weights() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    shapes = ((2, 4 * SIZE, DIM), (2, 4 * SIZE), (2, 4 * SIZE, SIZE))
    return tuple((torch.randn(shape, dtype=torch.float64) * 0.5).requires_grad_() for shape in shapes)  # type: ignore[return-value]


@pytest.mark.parametrize("lengths", [[9, 9, 9, 9], [9, 4, 1, 6]])
def test_mean_over_time_and_gradients_equal_nn_lstm(lengths: list[int]) -> None:
    weight, bias, recurrent = weights()
    x = torch.randn(BATCH, STEPS, DIM, dtype=torch.float64)
    valid = torch.tensor(lengths)
    projected = torch.einsum("btd,rgd->btrg", x, weight) + bias
    mean = (bidirectional(projected, recurrent, valid).sum(0) / valid[:, None]).transpose(0, 1).flatten(1)

    lstm = lstm_of(weight, bias, recurrent)
    packed = nn.utils.rnn.pack_padded_sequence(x, valid, batch_first=True, enforce_sorted=False)
    states, _ = nn.utils.rnn.pad_packed_sequence(lstm(packed)[0], batch_first=True)
    expected = states.sum(1) / valid[:, None]
    torch.testing.assert_close(mean, expected, atol=1e-12, rtol=0)

    pull = torch.randn_like(mean)
    (mean * pull).sum().backward()
    (expected * pull).sum().backward()
    for direction, suffix in enumerate(("l0", "l0_reverse")):
        for ours, theirs in ((weight, "weight_ih"), (recurrent, "weight_hh"), (bias, "bias_ih")):
            assert ours.grad is not None
            torch.testing.assert_close(
                ours_to_torch(ours.grad[direction]),
                getattr(lstm, f"{theirs}_{suffix}").grad,
                atol=1e-11,
                rtol=0,
            )


def test_single_precision_agrees_to_1e_5_at_the_real_width() -> None:
    torch.manual_seed(1)
    lstm = nn.LSTM(32, 128, batch_first=True, bidirectional=True)
    x = torch.randn(16, 62, 32)
    back = {"l0": 0, "l0_reverse": 1}
    order = [3, 0, 1, 2]

    def take(name: str) -> torch.Tensor:
        parts = [getattr(lstm, f"{name}_{suffix}").detach().chunk(4) for suffix in back]
        return torch.stack([torch.cat([part[k] for k in order]) for part in parts]).requires_grad_()

    recurrent = take("weight_hh")
    bias = (take("bias_ih") + take("bias_hh")).detach()
    projected = torch.einsum("btd,rgd->btrg", x, take("weight_ih")) + bias
    mean = (bidirectional(projected, recurrent, torch.full((16,), 62)).mean(0)).transpose(0, 1).flatten(1)
    expected = lstm(x)[0].mean(1)
    torch.testing.assert_close(mean, expected, atol=1e-5, rtol=0)
    mean.square().sum().backward()
    expected.square().sum().backward()
    assert recurrent.grad is not None
    theirs = lstm.weight_hh_l0.grad
    assert theirs is not None
    ours = ours_to_torch(recurrent.grad[0])
    torch.testing.assert_close(ours, theirs, atol=1e-5 * theirs.abs().max().item(), rtol=0)


@pytest.mark.parametrize("lengths", [[9, 9, 9, 9], [9, 4, 1, 6]])
def test_what_a_card_calls_gives_the_same_sums_and_gradients(lengths: list[int]) -> None:
    """On a CPU the same call is torch's own LSTM."""
    torch.manual_seed(3)
    given = torch.randn(BATCH, STEPS, 2, 4 * SIZE), torch.randn(2, 4 * SIZE, SIZE)
    valid, pull = torch.tensor(lengths), torch.randn(2, BATCH, SIZE)
    found = []
    for way in (bidirectional, through_lstm):
        inputs = [tensor.clone().requires_grad_() for tensor in given]
        hidden = way(*inputs, valid)
        assert hidden.shape == (STEPS, 2, BATCH, SIZE)
        gradients = torch.autograd.grad((hidden.sum(0) * pull).sum(), inputs)
        found.append((hidden.sum(0), *gradients))
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=0)
    if min(lengths) < STEPS:
        assert through_lstm(*given, valid)[min(lengths) :, :, lengths.index(min(lengths))].abs().max() == 0


def test_gradcheck() -> None:
    torch.manual_seed(2)
    projected = torch.randn(3, 4, 2, 8, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(2, 8, 2, dtype=torch.float64, requires_grad=True)
    for lengths in ([4, 4, 4], [4, 1, 3]):
        assert torch.autograd.gradcheck(Recurrence.apply, (projected, weight, torch.tensor(lengths)))


def test_what_lies_behind_the_end_cannot_matter() -> None:
    projected = torch.randn(2, STEPS, 2, 4 * SIZE)
    recurrent, valid = torch.randn(2, 4 * SIZE, SIZE), torch.tensor([4, 7])
    loud = projected.clone()
    loud[0, 4:], loud[1, 7:] = 1e3, -1e3
    for way in (bidirectional, through_lstm):
        assert torch.equal(way(projected, recurrent, valid), way(loud, recurrent, valid))


def test_single_step_is_an_lstm_over_a_sequence_of_one() -> None:
    weight, bias, recurrent = weights()
    x = torch.randn(BATCH, DIM, dtype=torch.float64)
    keep = [k for k in range(4 * SIZE) if not 2 * SIZE <= k < 3 * SIZE]  # all but the forget gate
    projected = torch.einsum("bd,rgd->brg", x, weight[:, keep]) + bias[:, keep]
    final = lstm_of(weight, bias, recurrent)(x[:, None])[1][0]
    torch.testing.assert_close(single_step(projected), final.transpose(0, 1).flatten(1), atol=1e-12, rtol=0)
