"""A Dask cluster for tests: a scheduler on this machine, and worker processes that are started one by one."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from distributed import Client

from tests.conftest import ROOT


class Cluster:
    """A scheduler on loopback, and worker processes that are started by hand, as on other machines."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.folder, self.stack = folder, stack
        self.file = folder / "scheduler.json"
        self._start(
            "dask_scheduler", "--host", "127.0.0.1", "--port", "0", "--scheduler-file", str(self.file)
        )
        self.client = stack.enter_context(self._connect())
        self.address = self.client.scheduler.address

    def _connect(self) -> Client:
        return Client(scheduler_file=str(self.file), timeout=60, set_as_default=False)

    def worker(self, program: str = "") -> subprocess.Popen[bytes]:
        """A worker that runs `program` before anything else."""
        preload = self.folder / f"preload{abs(hash(program))}.py"
        preload.write_text(program or "pass\n")
        return self._start(
            "dask_worker", self.address, "--nthreads", "1", "--no-nanny", "--memory-limit", "0",
            "--local-directory", str(self.folder), "--preload", str(preload), "--death-timeout", "60",
        )  # fmt: skip

    def _start(self, what: str, *arguments: str) -> subprocess.Popen[bytes]:
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
        log = self.stack.enter_context((self.folder / f"{what}.log").open("ab"))
        process = subprocess.Popen(
            [sys.executable, "-m", f"distributed.cli.{what}", "--no-dashboard", *arguments],
            cwd=self.folder, env=environment, stdout=log, stderr=log,
        )  # fmt: skip
        self.stack.callback(process.wait)
        self.stack.callback(process.kill)
        return process


@contextmanager
def started(folder: Path, *programs: str) -> Iterator[Cluster]:
    with ExitStack() as stack:
        made = Cluster(folder, stack)
        for program in programs:
            made.worker(program)
        made.client.wait_for_workers(len(programs), timeout=60)
        yield made
