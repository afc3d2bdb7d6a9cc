"""The recurrence of a one-layer bidirectional LSTM, both directions in one loop.

Equal to `torch.nn.LSTM` (https://docs.pytorch.org/docs/stable/generated/torch.nn.LSTM.html) with its
two bias vectors added up.  The backward direction reads each sequence from its own last valid
step, so padding behind a sequence never enters it.

Weights are laid out [2, 4, H, ...]: direction (forward, backward), gate (input, forget, output,
cell), unit.  nn.LSTM's order of gates is input, forget, cell, output.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

GATES = 4


def _cells(gates: Tensor, cell: Tensor) -> tuple[Tensor, Tensor]:
    """One step in place: raw gates [2, B, 4H] become activations; returns (cell, tanh(cell)) [2, B, H]."""
    hidden = gates.shape[-1] // GATES
    gates[..., : 3 * hidden].sigmoid_()
    gates[..., 3 * hidden :].tanh_()
    i, f, _, g = gates.split(hidden, dim=-1)
    cell = torch.addcmul(f * cell, i, g)
    return cell, cell.tanh()


class Recurrence(torch.autograd.Function):
    """gates [T, 2, B, 4H] and weight [2, 4H, H] -> hidden states [T, 2, B, H].

    gates are the projected inputs plus bias, in run order (see `run_order`).

    One node in the graph instead of a dozen a step, and the weight's gradient as one product at the end.
    """

    @staticmethod
    def forward(ctx: Any, gates: Tensor, weight: Tensor) -> Tensor:
        steps, _, batch, wide = gates.shape
        size = wide // GATES
        active = gates.clone()
        hidden = gates.new_empty(steps, 2, batch, size)
        cells = gates.new_empty(steps, 2, batch, size)
        tanhs = gates.new_empty(steps, 2, batch, size)
        recurrent = weight.transpose(1, 2)
        cell = gates.new_zeros(2, batch, size)
        for step in range(steps):
            now = active[step]
            if step:
                now.baddbmm_(hidden[step - 1], recurrent)
            cell, tanh = _cells(now, cell)
            cells[step], tanhs[step] = cell, tanh
            torch.mul(now[..., 2 * size : 3 * size], tanh, out=hidden[step])
        ctx.save_for_backward(active, hidden, cells, tanhs, weight)
        return hidden

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor]:
        (grad,) = grads
        active, hidden, cells, tanhs, weight = ctx.saved_tensors
        steps, _, batch, size = hidden.shape
        d_gates = torch.empty_like(active)
        d_hidden = hidden.new_zeros(2, batch, size)
        d_cell = hidden.new_zeros(2, batch, size)
        for step in reversed(range(steps)):
            i, f, o, g = active[step].split(size, dim=-1)
            d_i, d_f, d_o, d_g = d_gates[step].split(size, dim=-1)
            tanh = tanhs[step]
            d_hidden = d_hidden + grad[step]
            d_cell = torch.addcmul(d_cell, d_hidden * o, 1 - tanh * tanh)
            before = cells[step - 1] if step else torch.zeros_like(d_cell)
            torch.mul(d_cell * g, i * (1 - i), out=d_i)
            torch.mul(d_cell * before, f * (1 - f), out=d_f)
            torch.mul(d_hidden * tanh, o * (1 - o), out=d_o)
            torch.mul(d_cell * i, 1 - g * g, out=d_g)
            d_cell = d_cell * f
            if step:
                d_hidden = torch.bmm(d_gates[step], weight)
        later = d_gates[1:].transpose(0, 1).reshape(2, -1, GATES * size)
        earlier = hidden[:-1].transpose(0, 1).reshape(2, -1, size)
        return d_gates, torch.bmm(later.transpose(1, 2), earlier)


def run_order(projected: Tensor, valid: Tensor) -> Tensor:
    """projected [B, T, 2, G] by time -> [T, 2, B, G] by step: the backward direction is reversed.

    valid: [B] steps of each sequence; what a direction meets after its last valid step is padding.
    """
    steps = torch.arange(projected.shape[1], device=projected.device)
    back = (valid[:, None] - 1 - steps).clamp(min=0)
    backward = projected[:, :, 1].gather(1, back[:, :, None].expand(-1, -1, projected.shape[-1]))
    return torch.stack((projected[:, :, 0], backward)).permute(2, 0, 1, 3).contiguous()


def bidirectional(projected: Tensor, weight: Tensor, valid: Tensor) -> Tensor:
    """Hidden states [T, 2, B, H] in run order, 0 behind each sequence's end.

    projected: [B, T, 2, 4H] inputs times their weights plus bias; weight: [2, 4H, H]; valid: [B].
    """
    hidden = Recurrence.apply(run_order(projected, valid), weight)
    inside = torch.arange(len(hidden), device=hidden.device)[:, None] < valid
    return hidden * inside[:, None, :, None]


def single_step(projected: Tensor) -> Tensor:
    """The final hidden states [B, 2H] of a sequence of length one, in closed form.

    projected: [B, 2, 3H] for the gates input, output, cell.  The forget gate and the recurrent
    weights act on a state that is still zero, so they do not exist here.
    """
    size = projected.shape[-1] // 3
    i, o, g = projected.split(size, dim=-1)
    return (o.sigmoid() * (i.sigmoid() * g.tanh()).tanh()).flatten(1)
