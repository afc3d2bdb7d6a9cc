"""The recurrence of a one-layer bidirectional LSTM, both directions in one loop.

Equal to `torch.nn.LSTM` (https://docs.pytorch.org/docs/stable/generated/torch.nn.LSTM.html) with its
two bias vectors added up.  The backward direction reads each sequence from its own last valid
step, so padding behind a sequence never enters it.

Axes of size 4H hold the gates in the order output, input, forget, cell (nn.LSTM: input, forget, cell,
output): the three sigmoids lie side by side, and so do the three gates whose gradient is a multiple of
the cell's.
"""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import Tensor

from mmmos.heads.network.products import at_least

GATES = 4

SHUT = -1e4
"""A gate's raw value whose sigmoid is exactly 0."""

# cuDNN wants the weights side by side; they are put there at every call, which costs less than the message.
warnings.filterwarnings("ignore", message="RNN module weights are not part of single contiguous chunk")


class Recurrence(torch.autograd.Function):
    """projected [B, T, 2, 4H], weight [2, 4H, H], valid [B] -> hidden states [T, 2, B, H] in run order.

    In run order the backward direction starts at each sequence's last valid step.  States behind a
    sequence's end are 0.  A custom autograd function, because autograd would record a dozen nodes
    per time step.  Work that does not depend on the previous step is done once for all steps.
    """

    @staticmethod
    def forward(ctx: Any, projected: Tensor, weight: Tensor, valid: Tensor) -> Tensor:
        batch, steps, _, wide = projected.shape
        size = wide // GATES
        gates = projected.new_empty(steps, 2, batch, wide)
        gates[:, 0] = projected[:, :, 0].transpose(0, 1)
        gates[:, 1] = reverse(projected[:, :, 1], valid).transpose(0, 1)
        hidden, cells, tanhs = (projected.new_empty(steps, 2, batch, size) for _ in range(3))
        recurrent = weight.transpose(1, 2).contiguous()
        sigmoids, candidates = gates[..., : 3 * size].unbind(0), gates[..., 3 * size :].unbind(0)
        o, i, f = (part.unbind(0) for part in gates[..., : 3 * size].split(size, dim=-1))
        whole, h, c, tanh = gates.unbind(0), hidden.unbind(0), cells.unbind(0), tanhs.unbind(0)
        for t in range(steps):
            if t:
                whole[t].baddbmm_(h[t - 1], recurrent)
            sigmoids[t].sigmoid_()
            torch.mul(i[t], candidates[t].tanh_(), out=c[t])
            if t:
                c[t].addcmul_(f[t], c[t - 1])
            torch.tanh(c[t], out=tanh[t])
            torch.mul(o[t], tanh[t], out=h[t])
        ctx.save_for_backward(gates, hidden, cells, tanhs, weight, valid)
        return hidden * _inside(steps, valid)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None]:
        gates, hidden, cells, tanhs, weight, valid = ctx.saved_tensors
        steps, _, batch, size = hidden.shape
        grad = grads[0] * _inside(steps, valid)
        o, i, f, g = gates.split(size, dim=-1)
        earlier = torch.cat((torch.zeros_like(cells[:1]), cells[:-1]))
        # What each gate's raw value changes: its own derivative times what it is multiplied by.
        by_hidden = tanhs * o * (1 - o)
        by_cell = torch.stack((g * i * (1 - i), earlier * f * (1 - f), i * (1 - g * g)), dim=-2)
        to_cell = o * (1 - tanhs * tanhs)
        d_gates = torch.empty_like(gates)
        d_out, d_rest = d_gates[..., :size].unbind(0), d_gates[..., size:].unflatten(-1, (3, size)).unbind(0)
        d_hidden, d_cell = torch.zeros_like(hidden[0]), torch.zeros_like(hidden[0])
        for t in reversed(range(steps)):
            d_hidden += grad[t]
            d_cell.addcmul_(d_hidden, to_cell[t])
            torch.mul(d_hidden, by_hidden[t], out=d_out[t])
            torch.mul(d_cell[..., None, :], by_cell[t], out=d_rest[t])
            if t:
                d_cell *= f[t]
                torch.bmm(d_gates[t], weight, out=d_hidden)
        by_direction = (x.transpose(0, 1).flatten(1, 2) for x in (d_gates[1:], hidden[:-1]))
        d_weight = torch.einsum("dng,dnh->dgh", *by_direction)
        d_projected = torch.empty_like(gates).view(batch, steps, 2, GATES * size)
        d_projected[:, :, 0] = d_gates[:, 0].transpose(0, 1)
        d_projected[:, :, 1] = reverse(d_gates[:, 1].transpose(0, 1), valid)
        return d_projected, d_weight, None


def reverse(x: Tensor, valid: Tensor) -> Tensor:
    """x [B, T, G] with the first `valid` [B] steps of each sequence in reverse; the rest is 0."""
    steps = torch.arange(x.shape[1], device=x.device)
    if valid.device.type == "cpu" and bool((valid == x.shape[1]).all()):  # a look at a card would wait for it
        return x.flip(1)
    back = valid[:, None] - 1 - steps
    gathered = x.gather(1, back.clamp(min=0)[:, :, None].expand(-1, -1, x.shape[-1]))
    return gathered * (back >= 0)[:, :, None]


def _inside(steps: int, valid: Tensor) -> Tensor:
    """[T, 1, B, 1]: 1.0 where a step lies inside its sequence."""
    inside = torch.arange(steps, device=valid.device)[:, None] < valid
    return inside[:, None, :, None].float()


def bidirectional(projected: Tensor, weight: Tensor, valid: Tensor) -> Tensor:
    """Hidden states [T, 2, B, H], 0 behind each sequence's end: in run order, on a card in order of time.

    Parameters
    ----------
    projected
        [B, T, 2, 4H] inputs times their weights plus bias.
    weight
        [2, 4H, H] of the recurrence.
    valid
        [B] steps of each sequence.
    """
    if projected.device.type == "cuda":
        return through_lstm(projected, weight, valid)
    rows = at_least(projected)
    valid = torch.nn.functional.pad(valid, (0, len(rows) - len(valid)), value=projected.shape[1])
    hidden: Tensor = Recurrence.apply(rows, weight, valid)
    return hidden[:, :, : len(projected)]


def through_lstm(projected: Tensor, weight: Tensor, valid: Tensor) -> Tensor:
    """As `bidirectional`, in order of time, by torch's own LSTM: on a card cuDNN's, one call for all steps.

    It multiplies its input by weights of its own, here ones on a diagonal.  Behind a sequence's end all gates
    are shut, so that the backward direction comes to its last valid step with a state of 0.
    """
    batch, steps, _, wide = projected.shape
    size = wide // GATES
    inside = torch.arange(steps, device=projected.device) < valid[:, None]
    gates = projected.masked_fill(~inside[:, :, None, None], SHUT)
    # The output gate, first here, is the last one there.
    gates = gates.unflatten(-1, (GATES, size)).roll(-1, -2).flatten(2)
    recurrent = weight.unflatten(1, (GATES, size)).roll(-1, 1).flatten(1, 2)
    ones = torch.eye(2 * wide, dtype=projected.dtype, device=projected.device)
    weights = [w for pair in zip(ones.chunk(2), recurrent.unbind(0), strict=True) for w in pair]
    state = projected.new_zeros(2, batch, size)
    hidden, _, _ = torch.lstm(
        gates, (state, state), weights,
        has_biases=False, num_layers=1, dropout=0.0, train=torch.is_grad_enabled(),
        bidirectional=True, batch_first=True,
    )  # fmt: skip
    return hidden.unflatten(-1, (2, size)).permute(1, 2, 0, 3)


def single_step(projected: Tensor) -> Tensor:
    """The final hidden states [B, 2H] of a sequence of length one, in closed form.

    The forget gate and the recurrent weights act on a state that is still zero, so they do not exist here.

    Parameters
    ----------
    projected
        [B, 2, 3H] for the gates output, input, cell.
    """
    o, i, g = projected.chunk(3, dim=-1)
    return (o.sigmoid() * (i.sigmoid() * g.tanh()).tanh()).flatten(1)
