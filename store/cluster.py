"""More machines than one: joblib's own Dask backend, for both stages (extra `cluster`).

The one place that chooses it.  `local:N` starts N processes on this machine, anything else is the address of
a scheduler that is running.  A task gets ids and paths, does its work in folders that all machines share,
and may be run twice: what a lost worker had in hand is given to another one.
"""

from __future__ import annotations

import logging
import os
import re
import socket
import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from joblib import Parallel, delayed, parallel_config

from mmmos.store.console import say

if TYPE_CHECKING:
    from distributed import Client

LOCAL = re.compile(r"local:([1-9]\d*)")
CONNECT_S = 10
WAIT_S = 600
"""How long workers may take to come up, e.g. from a queue, or all be gone, before a run gives up."""
IN_FLIGHT = 512
"""Tasks handed over at a time: more than any lab has workers, and few enough that their ids are some MB."""


class ClusterError(RuntimeError):
    """The cluster is not there, or a worker cannot do what was asked; the message says what to do."""


class Workers:
    """The workers of a connected cluster."""

    def __init__(self, client: Client) -> None:
        self.client = client

    @property
    def per_machine(self) -> int:
        """The most workers that share one machine now, and so its memory."""
        workers = self.client.scheduler_info(n_workers=-1)["workers"].values()
        return max(Counter(worker["host"] for worker in workers).values(), default=1)

    def each(self, task: Callable[..., Any], arguments: Iterable[tuple[Any, ...]]) -> Iterator[Any]:
        """task(*arguments) for each, as they end; the first error ends all.

        ClusterError where a task failed, or has ended several workers, or the scheduler is gone.
        """
        from concurrent.futures import CancelledError

        from distributed import KilledWorker
        from distributed.scheduler import NoWorkerError

        with parallel_config(backend=_backend(self.client)):
            parallel = Parallel(return_as="generator_unordered", batch_size=1, pre_dispatch=IN_FLIGHT)
        try:
            with closing(parallel(delayed(_guarded)(task, *one) for one in arguments)) as outcomes:
                for outcome in outcomes:
                    if isinstance(outcome, _Failure):
                        error = ClusterError(outcome.message)
                        error.add_note(outcome.traceback)
                        raise error
                    yield outcome
        except KilledWorker as error:
            raise ClusterError(
                "several workers in a row died of the same task, the last of them "
                f"{error.last_worker.address}; their logs say why (often the machine's memory). "
                "What was finished is kept"
            ) from error
        except NoWorkerError as error:
            raise ClusterError(
                f"no worker was left for {error.timeout:g} s; start some and run again, "
                "what was finished is kept"
            ) from error
        except CancelledError as error:
            raise ClusterError("the scheduler is gone; what was finished is kept") from error


@dataclass(frozen=True)
class _Failure:
    message: str
    traceback: str


def _guarded(task: Callable[..., Any], *arguments: Any) -> Any:
    """A worker's task, its error as words: one that cannot be pickled would never arrive."""
    try:
        return task(*arguments)
    except ClusterError as error:
        return _Failure(str(error), traceback.format_exc())
    except Exception as error:
        message = f"a task failed on {this_worker()}: {type(error).__name__}: {error}"
        return _Failure(f"{message}. What was finished is kept", traceback.format_exc())


def _backend(client: Client) -> Any:
    """joblib's Dask backend with two corrections, each of which would show as a run that never ends or as
    work done in the wrong place."""
    from joblib._dask import DaskDistributedBackend

    class Backend(DaskDistributedBackend):
        def effective_n_jobs(self, n_jobs: int) -> int:
            # WHY: joblib runs everything in this very process where a cluster has a single worker.
            return max(2, super().effective_n_jobs(n_jobs))

        def submit(self, func: Any, callback: Any = None) -> Any:
            # WHY: of a task that Dask itself gave up on, joblib is never told (as of joblib 1.6).
            future = super().submit(func, callback)
            future.add_done_callback(lambda done: done.exception() and callback(done.exception()))
            return future

    return Backend(client=client, wait_for_workers_timeout=WAIT_S)


@contextmanager
def workers_of(cluster: str, devices: Sequence[str] = ()) -> Iterator[Workers]:
    """Connect to `local:N` or to a scheduler's address, and wait until there is a worker.

    devices: values of CUDA_VISIBLE_DEVICES that local processes take in turn; other workers bring their own.
    ClusterError where the extra is not installed, nothing answers, or no worker comes.
    """
    try:
        from distributed import Client
    except ImportError as error:
        raise ClusterError("--cluster needs Dask: pip install '.[cluster]'") from error
    if (local := LOCAL.fullmatch(cluster)) is None and cluster.startswith("local"):
        raise ClusterError(
            f"--cluster takes local:N with a number of processes, or an address, not {cluster!r}"
        )
    with _local(int(local[1]), devices) if local else _running(cluster) as address:
        try:
            client = Client(address, timeout=CONNECT_S, set_as_default=False)
        except (OSError, ValueError) as error:
            raise ClusterError(
                f"no Dask scheduler answers at {cluster!r}: start one with `dask scheduler`, "
                "then `dask worker ADDRESS --nthreads 1` for each worker"
            ) from error
        with client:
            try:
                if not client.ncores():
                    say(f"cluster: no workers at {cluster} yet, waiting")
                client.wait_for_workers(1, timeout=WAIT_S)
            except TimeoutError as error:
                raise ClusterError(f"no workers came to {cluster} within {WAIT_S} s") from error
            client.run_on_scheduler(_patience(WAIT_S))
            say(f"cluster: {len(client.ncores())} workers at {cluster}")
            yield Workers(client)


def _patience(seconds: float) -> Callable[..., None]:
    """Has a scheduler fail tasks that no worker is left for; by itself it would wait for ever."""

    def settle(dask_scheduler: Any) -> None:
        if dask_scheduler.no_workers_timeout is None:
            dask_scheduler.no_workers_timeout = seconds

    return settle  # a nested function travels by value: the scheduler's machine needs no code of ours


@contextmanager
def _running(address: str) -> Iterator[str]:
    yield address


@contextmanager
def _local(count: int, devices: Sequence[str]) -> Iterator[Any]:
    """A scheduler on loopback and processes that share out the processors, unless OMP_NUM_THREADS is set.

    A process that dies is started again.
    """
    from distributed import Nanny, Scheduler, SpecCluster

    threads = os.environ.get("OMP_NUM_THREADS") or str(max(1, (os.cpu_count() or 1) // count))
    shared = {"OMP_NUM_THREADS": threads}
    environments = [
        {**shared, **({"CUDA_VISIBLE_DEVICES": devices[number % len(devices)]} if devices else {})}
        for number in range(count)
    ]
    quiet = {"silence_logs": logging.ERROR, "dashboard": False}
    # No memory limit: Dask would pause or kill a worker for the pages that a store's files take.
    workers = {
        number: {"cls": Nanny, "options": {**quiet, "nthreads": 1, "memory_limit": 0, "env": environment}}
        for number, environment in enumerate(environments)
    }
    scheduler = {
        "cls": Scheduler,
        "options": {"host": "127.0.0.1", "port": 0, "dashboard": False, "dashboard_address": ":0"},
    }
    with SpecCluster(workers=workers, scheduler=scheduler, silence_logs=logging.ERROR) as cluster:
        yield cluster


def this_worker() -> str:
    """Names this process in a message: "host, process 123"."""
    return f"{socket.gethostname()}, process {os.getpid()}"
