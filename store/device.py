"""The device that work runs on: its name, its memory, its arithmetic.

Both stages share it.  torch is loaded by the first call that needs it, not by this file.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    import torch

T = TypeVar("T")

OUT_OF_MEMORY = re.compile(
    r"out of memory|_ALLOC_FAILED|(?:can't|cannot|failed to|unable to) allocate|not enough memory",
    re.IGNORECASE,
)
"""In messages of torch (CUDA, HIP, MPS, the CPU's allocator), of the driver, of cuBLAS, cuDNN and cuFFT."""

_FLAGS = threading.RLock()  # torch's are the process', not the thread's


def choose_device(name: str = "auto") -> torch.device:
    """ "auto" is CUDA where there is one, else the CPU; "cpu", "cuda" and "cuda:1" are exactly that.

    Raises
    ------
    ValueError
        The name means nothing, or there is no such device.
    """
    import torch

    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    kind, index = _parts(name)
    if kind == "cuda" and int(index or 0) >= torch.cuda.device_count():
        raise ValueError(f"device {name!r} is not here: {torch.cuda.device_count()} CUDA devices found")
    return torch.device(name)


def device_type(name: str = "auto") -> str:
    """ "cpu" or "cuda": what a name means, also where the device itself is on other machines."""
    return choose_device(name).type if name == "auto" else _parts(name)[0]


def _parts(name: str) -> tuple[str, str]:
    """ "cuda:1" as "cuda" and "1"; ValueError where a name means nothing."""
    kind, _, index = name.partition(":")
    if kind not in ("cpu", "cuda") or (index and not index.isdecimal()):
        raise ValueError(f"unknown device {name!r}; known: auto, cpu, cuda, cuda:K")
    return kind, index


@dataclass
class BatchSize:
    """How many crops are worked on at a time; `in_batches` lowers it for good."""

    crops: int


def in_batches(count: int, size: BatchSize, work: Callable[[slice], T], what: str) -> Iterator[T]:
    """work(slice) over `count` crops, up to `size` at a time; halved whenever memory does not suffice.

    Parameters
    ----------
    what
        Whose crops these are and where, for the message.

    Raises
    ------
    torch.OutOfMemoryError
        A single crop does not fit.
    """
    import torch

    done = 0
    while done < count:
        batch = slice(done, min(count, done + size.crops))
        taken, result = batch.stop - batch.start, []
        try:
            result.append(work(batch))
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            if taken == 1:
                raise torch.OutOfMemoryError(
                    f"one crop of {what} does not fit into memory: {error}"
                ) from error
        if result:
            yield result.pop()
            done += taken
        else:  # not in the except clause: its traceback would keep the memory in use
            size.crops = min(size.crops, taken // 2)
            torch.cuda.empty_cache()


def is_out_of_memory(error: BaseException) -> bool:
    """Whether less at a time may help: most libraries say so only in the text of a RuntimeError."""
    import torch

    known = isinstance(error, torch.OutOfMemoryError | MemoryError)
    return known or bool(OUT_OF_MEMORY.search(str(error)))


@contextmanager
def float32_products(device: torch.device, kind: str = "ieee") -> Iterator[None]:
    """Products, convolutions, recurrences of float32 are "ieee" or "tf32" on a card, whatever is set."""
    if device.type != "cuda":
        yield
        return
    import torch

    backends: Any = torch.backends  # torch's types lack the newer flags
    places = backends.cuda.matmul, backends.cudnn.conv, backends.cudnn.rnn
    with _FLAGS:
        before = [place.fp32_precision for place in places]
        try:
            for place in places:
                place.fp32_precision = kind
            yield
        finally:
            for place, value in zip(places, before, strict=True):
                place.fp32_precision = value
