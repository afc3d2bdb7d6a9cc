"""CUDA on a machine without it: tensors that know their device, shape and type, and hold nothing.

torch's FakeTensorMode runs every operator on such tensors as it would on a card: one that is given tensors of
two devices fails.  `Traffic` counts, above it, what would make a card wait or be waited for.
"""

from __future__ import annotations

import shutil
import traceback
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

CARD = torch.device("cuda:0")

GUARD = """
#include <c10/core/impl/FakeGuardImpl.h>
using Guard = c10::impl::FakeGuardImpl<c10::DeviceType::CUDA>;
static c10::impl::DeviceGuardImplRegistrar registered(c10::DeviceType::CUDA, new Guard());
"""
"""A build of torch for CPUs cannot even switch to a card; this lets it pretend to."""

aten = torch.ops.aten
WAITS = {
    aten._local_scalar_dense.default: "item",
    aten.is_nonzero.default: "item",
    aten.equal.default: "equal",
    aten.nonzero.default: "nonzero",
    aten.masked_select.default: "nonzero",
    aten._unique2.default: "unique",
    aten.repeat_interleave.Tensor: "repeat_interleave",
}
"""Operators whose result the host has to see before it can go on."""
ANSWERS = (aten._local_scalar_dense.default, aten.is_nonzero.default, aten.equal.default)
"""Those of them that return a number; the count goes on with any."""


def guarded() -> None:
    """Make "cuda:0" a device of this process; skips the calling test, with the reason, where that fails."""
    if torch.backends.cuda.is_built() or guarded.done:
        return
    if shutil.which("g++") is None or shutil.which("ninja") is None:
        pytest.skip("a CPU build of torch needs g++ and ninja to pretend to have a card")
    from torch.utils import cpp_extension

    try:
        cpp_extension.load_inline(
            "mmmos_no_op_guard", GUARD, is_python_module=False, no_implicit_headers=True
        )
    except (RuntimeError, OSError) as error:
        pytest.skip(f"the no-op device guard does not compile here: {error}")
    guarded.done = True


guarded.done = False


class Traffic(TorchDispatchMode):
    """Counts what crosses between host and card, and where the host would wait.

    Attributes
    ----------
    waits
        How often each line made the host wait, and by what: "item", "nonzero", "cpu" (a copy to the host that
        is not asynchronous) ...
    up
        Copies from the host to the card: (bytes, line).
    """

    def __init__(self, mode: FakeTensorMode) -> None:
        super().__init__()
        self.mode = mode
        self.waits: Counter[tuple[str, str]] = Counter()
        self.up: list[tuple[int, str]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if torch.is_inference_mode_enabled() and func.namespace == "aten" and func._can_decompose():
            with self:  # inference mode hands over `to` and `item` whole, before they become copies
                return func.decompose(*args, **kwargs)
        given = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)]
        if on_card(kwargs.get("device")) or any(isinstance(tensor, FakeTensor) for tensor in given):
            return self._on_card(func, args, kwargs)
        return func(*args, **kwargs)  # on the host alone: with real values

    def _on_card(self, func: Any, args: Any, kwargs: Any) -> Any:
        first = args[0] if args and isinstance(args[0], torch.Tensor) else None
        if func in WAITS and first is not None and on_card(first.device):
            self.waits[WAITS[func], line()] += 1
            if func in ANSWERS:
                return (
                    torch.empty((), dtype=first.dtype).fill_(1).item() if first.dtype != torch.bool else True
                )
        if func is aten._to_copy.default:
            self._copy(args[0], torch.device(kwargs.get("device") or args[0].device), **kwargs)
        if func is aten.copy_.default:
            self._copy(args[1], args[0].device, *args[2:], **kwargs)
        with self.mode:
            return func(*args, **kwargs)

    def _copy(self, tensor: torch.Tensor, to: torch.device, non_blocking: bool = False, **_: Any) -> None:
        if on_card(to) and not on_card(tensor.device):
            self.up.append((tensor.numel() * tensor.element_size(), line()))
        if on_card(tensor.device) and not on_card(to) and not non_blocking:
            self.waits["cpu", line()] += 1


def cudnn_lstm(
    x: torch.Tensor, state: Any, weights: Any, *, has_biases: bool, batch_first: bool, train: bool, **_: Any
) -> tuple[torch.Tensor, ...]:
    """What torch.lstm calls on a card, and a build for CPUs does not know of."""
    per_direction, size, lstm = 4 if has_biases else 2, state[0].shape[-1], 2
    return aten._cudnn_rnn(
        x, weights, per_direction, None, *state, lstm, size, 0, 1, batch_first, 0.0, train, True, [], None
    )[:3]


def as_array(tensor: FakeTensor) -> np.ndarray:
    """What a fake tensor on the host holds: ones.  One on the card has to be fetched first."""
    if on_card(tensor.device):
        raise TypeError("can't convert cuda:0 device type tensor to numpy")
    return np.ones(tuple(tensor.shape), torch.empty(0, dtype=tensor.dtype).numpy().dtype)


def on_card(device: Any) -> bool:
    return device is not None and torch.device(device).type == "cuda"


def line() -> str:
    """The innermost line of ours (or of a library under it) that is being run."""
    for frame in reversed(traceback.extract_stack()):
        if "/torch/" not in frame.filename and not frame.filename.endswith("cuda/fake.py"):
            return f"{'/'.join(frame.filename.split('/')[-2:])}:{frame.lineno}"
    return "?"


class Card:
    """One fake card; modules move to it by `.to("cuda:0")` as to a real one."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        guarded()
        self.mode = FakeTensorMode(allow_non_fake_inputs=True)
        moved = nn.Module.to

        def to(module: nn.Module, *args: Any, **kwargs: Any) -> nn.Module:
            if not args or isinstance(args[0], torch.dtype) or torch.device(args[0]).type != "cuda":
                return moved(module, *args, **kwargs)
            return module._apply(self.take)

        monkeypatch.setattr(nn.Module, "to", to)
        monkeypatch.setattr(torch.cuda, "_lazy_init", lambda: None)
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda *_: (9, 0))
        made = torch.tensor  # makes its result on the device itself, past every mode

        def tensor(*args: Any, device: Any = None, **kwargs: Any) -> torch.Tensor:
            return made(*args, **kwargs).to(device or "cpu")

        monkeypatch.setattr(torch, "tensor", tensor)
        # torch turns autocast off, with a warning, where it has no card.
        monkeypatch.setattr(torch.cuda.amp.common, "amp_definitely_not_available", lambda: False)
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda *_: True)
        monkeypatch.setattr(torch, "lstm", cudnn_lstm)
        monkeypatch.setattr(FakeTensor, "numpy", as_array)
        monkeypatch.setattr(torch.cuda, "get_rng_state", lambda *_: torch.zeros(16, dtype=torch.uint8))
        monkeypatch.setattr(torch.cuda, "set_rng_state", lambda *_: None)

    def take(self, tensor: torch.Tensor) -> torch.Tensor:
        """A real tensor as a fake one on the card."""
        if isinstance(tensor, FakeTensor):
            return tensor
        with self.mode:
            return self.mode.from_tensor(tensor).to(CARD)

    @contextmanager
    def running(self) -> Iterator[Traffic]:
        """Whatever runs inside runs on fake tensors, and is counted."""
        with Traffic(self.mode) as traffic:
            yield traffic
