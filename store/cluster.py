"""Work on several machines by joblib's Dask backend, for both stages (extra `cluster`).

`local:N` starts N processes on this machine; anything else is the address of a scheduler that is running.  A
task gets ids and paths and works in folders that all machines share.  It may be run twice, because the tasks
of a lost worker are given to another one.
"""

from __future__ import annotations

import logging
import os
import re
import socket
import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from joblib import Parallel, delayed, parallel_config

from mmmos.store.console import say

if TYPE_CHECKING:
    from distributed import Client

LOCAL = re.compile(r"local:([1-9][0-9]*)")
ADDRESS = re.compile(r"(?!local:)((tcp|tls)://)?(\[[0-9a-fA-F:.%]+\]|[\w.-]+):[0-9]{1,5}")
"""What Dask's scheduler can be reached at; other schemes would be tried in vain for half a minute."""
LOOPBACK = "127.0.0.1"
CONNECT_S = 10
WAIT_S = 600
"""A run gives up when no worker has come, or all have been gone, for so many seconds."""
IN_FLIGHT = 512
"""Tasks handed over at a time: more than there are workers, and few enough that their ids take some MB."""


class ClusterError(RuntimeError):
    """No cluster answers, or a worker cannot do what was asked; the message says what to do."""


class Workers:
    """The workers of a connected cluster."""

    def __init__(self, client: Client) -> None:
        self.client = client

    @property
    def count(self) -> int:
        """How many there are now."""
        return len(self.client.ncores())

    @property
    def per_machine(self) -> int:
        """The most workers that share one machine now, and so its memory."""
        workers = self.client.scheduler_info(n_workers=-1)["workers"].values()
        return max(Counter(worker["host"] for worker in workers).values(), default=1)

    def each(self, task: Callable[..., Any], arguments: Iterable[tuple[Any, ...]]) -> Iterator[Any]:
        """Yield task(*arguments) for each of `arguments`, in the order in which they end.

        Raises
        ------
        ClusterError
            Where a task failed or has ended several workers, no worker is left, or the scheduler is gone.
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
    """Run a task on a worker; an error is returned as text, because not every error can be pickled."""
    try:
        return task(*arguments)
    except ClusterError as error:
        return _Failure(str(error), traceback.format_exc())
    except Exception as error:
        message = f"a task failed on {this_worker()}: {type(error).__name__}: {error}"
        return _Failure(f"{message}. What was finished is kept", traceback.format_exc())


def _backend(client: Client) -> Any:
    """joblib's Dask backend with two corrections."""
    from joblib._dask import DaskDistributedBackend

    class Backend(DaskDistributedBackend):  # type: ignore[misc]
        def effective_n_jobs(self, n_jobs: int) -> int:
            # Where a cluster has a single worker, joblib would run everything in this process.
            return max(2, super().effective_n_jobs(n_jobs))

        def submit(self, func: Any, callback: Any = None) -> Any:
            # joblib (1.6) is not told of a task that Dask gave up on, and would wait for it for ever.
            future = super().submit(func, callback)
            future.add_done_callback(lambda done: done.exception() and callback(done.exception()))
            return future

    return Backend(client=client, wait_for_workers_timeout=WAIT_S)


def check_address(cluster: str) -> None:
    """ClusterError for what --cluster cannot mean."""
    if not LOCAL.fullmatch(cluster) and not ADDRESS.fullmatch(cluster):
        raise ClusterError(
            f"--cluster takes local:N with a number of processes, or a scheduler's address like "
            f"tcp://HOST:8786 or tls://HOST:8786, not {cluster!r}"
        )


@contextmanager
def workers_of(cluster: str, devices: Sequence[str] = (), tasks_at_once: int = 1) -> Iterator[Workers]:
    """Connect to a cluster, and wait until there is a worker.

    Parameters
    ----------
    cluster
        `local:N` or the address of a scheduler.
    devices
        Values of CUDA_VISIBLE_DEVICES that local processes take in turn; other workers have their own.
    tasks_at_once
        Of each local process, in threads.

    Raises
    ------
    ClusterError
        Where the extra is not installed, nothing answers, or no worker comes.
    """
    check_address(cluster)
    try:
        from distributed import Client
    except ImportError as error:
        raise ClusterError("--cluster needs Dask: pip install '.[cluster]'") from error
    local = LOCAL.fullmatch(cluster)
    with _local(int(local[1]), devices, tasks_at_once) if local else nullcontext(cluster) as address:
        try:
            client = Client(address, timeout=CONNECT_S, set_as_default=False)
        except (OSError, ValueError, TypeError, RuntimeError) as error:  # TypeError: TLS without certificates
            raise ClusterError(
                f"no Dask scheduler answers at {cluster!r}: start one with `dask scheduler`, then "
                "`dask worker ADDRESS --nthreads 1` for each worker; tls:// needs the certificates that "
                "docs/clusters.md names"
            ) from error
        with client:
            try:
                if not client.ncores():
                    say(f"cluster: no workers at {cluster} yet, waiting")
                client.wait_for_workers(1, timeout=WAIT_S)
            except TimeoutError as error:
                raise ClusterError(f"no workers came to {cluster} within {WAIT_S} s") from error
            client.run_on_scheduler(_fail_after(WAIT_S))
            say(f"cluster: {len(client.ncores())} workers at {cluster}")
            yield Workers(client)


def _fail_after(seconds: float) -> Callable[..., None]:
    """Make the scheduler fail tasks after `seconds` without any worker (Dask waits for ever by default)."""

    def set_timeout(dask_scheduler: Any) -> None:
        if dask_scheduler.no_workers_timeout is None:
            dask_scheduler.no_workers_timeout = seconds

    return set_timeout  # a nested function is sent by value, so the scheduler's machine needs no MMMOS


@contextmanager
def _local(count: int, devices: Sequence[str], tasks_at_once: int = 1) -> Iterator[Any]:
    """A scheduler on this machine, and processes that divide its processors (unless OMP_NUM_THREADS is set).

    A process that dies is started again.
    """
    from distributed import Nanny, Scheduler, SpecCluster

    threads = os.environ.get("OMP_NUM_THREADS") or str(max(1, (os.cpu_count() or 1) // count))
    shared = {"OMP_NUM_THREADS": threads}
    environments = [
        {**shared, **({"CUDA_VISIBLE_DEVICES": devices[number % len(devices)]} if devices else {})}
        for number in range(count)
    ]
    pages = {"dashboard": False, "dashboard_address": f"{LOOPBACK}:0"}
    # Only this machine may connect: whoever reaches a worker's port can run functions in it.
    # No memory limit: Dask would pause or kill a worker for the pages that a store's files take.
    options = {
        "silence_logs": logging.ERROR,
        "host": LOOPBACK,
        **pages,
        "nthreads": tasks_at_once,
        "memory_limit": 0,
    }
    workers = {
        number: {"cls": Nanny, "options": {**options, "env": environment}}
        for number, environment in enumerate(environments)
    }
    scheduler = {
        "cls": Scheduler,
        "options": {"host": LOOPBACK, "port": 0, **pages},
    }
    with SpecCluster(workers=workers, scheduler=scheduler, silence_logs=logging.ERROR) as cluster:
        yield cluster


def this_worker() -> str:
    """This process' name in messages: "host, process 123"."""
    return f"{socket.gethostname()}, process {os.getpid()}"
