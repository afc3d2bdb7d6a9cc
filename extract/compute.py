"""How encoders are run: on which device, how many crops at a time, with how many decoding threads."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    import torch

CUDA_BATCH = 32
"""Where a batch on CUDA starts.  It is halved whenever memory does not suffice; SHARD_CROPS is a multiple of
all its halves, so that no batch straddles two shards."""
CPU_BATCH = 1
"""Batches do not pay on a CPU: WavLM gets slower from 4."""

Item = TypeVar("Item")
Result = TypeVar("Result")

MOST_THREADS = 64
"""Beyond, the interpreter is what they wait for."""


@dataclass(frozen=True)
class Compute:
    """How encoders are run.  Nothing here is part of a feature's signature.

    Attributes
    ----------
    device : str
        auto, cpu, cuda or cuda:K; see `store.device`.
    batch : int, optional
        Crops per forward pass.  None: CPU_BATCH on a CPU, CUDA_BATCH on CUDA.
    workers : int, optional
        Decoding threads.  None: a number that suits the task.
    stock : bool
        The published forward passes instead of our faster ones; in fp32 equal to 1e-4.
    force_precision : bool
        Take a precision also where it is slower than fp32.
    """

    device: str = "auto"
    batch: int | None = None
    workers: int | None = None
    stock: bool = False
    force_precision: bool = False

    def batch_on(self, device: torch.device) -> int:
        """Crops per forward pass to start with."""
        return self.batch or (CUDA_BATCH if device.type == "cuda" else CPU_BATCH)

    def threads(self, device: torch.device, most_on_cpu: int) -> int:
        """Decoding threads where no number was given: one per CPU, but at most `most_on_cpu` where the
        encoders need the CPUs themselves."""
        return self.workers or min(most_on_cpu if device.type == "cpu" else MOST_THREADS, processors())


def ahead(
    pool: ThreadPoolExecutor, work: Callable[[Item], Result], items: Iterable[Item], depth: int
) -> Iterator[Result]:
    """work(item) in the items' order, while up to `depth` later ones are under way."""
    waiting: deque[Future[Result]] = deque()
    for item in items:
        waiting.append(pool.submit(work, item))
        if len(waiting) > depth:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def processors() -> int:
    """CPUs that this process may use."""
    allowed = getattr(os, "sched_getaffinity", None)
    return len(allowed(0)) if allowed else os.cpu_count() or 1


AUTO = Compute()
"""Everything found by itself."""
