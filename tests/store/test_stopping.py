"""Ctrl-C and SIGTERM end a command and everything that it has started, with the promised line."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from mmmos.store.stopping import MESSAGE
from tests.conftest import ROOT

DEAF = """
        while True:
            try:
                time.sleep(60)
            except BaseException:
                pass"""
BODIES = {
    "asleep": "time.sleep(60)",
    "deaf": DEAF,
    "threaded": "threading.Thread(target=time.sleep, args=(60,)).start(); time.sleep(60)",
}
CODE = """
import subprocess, sys, threading, time
from mmmos.store.stopping import stoppable
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
with stoppable():
    if True:
        print(child.pid, flush=True)
        {body}
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("body", BODIES)
def test_a_signal_ends_a_command_and_its_processes(body: str, number: signal.Signals) -> None:
    code = CODE.format(body=BODIES[body])
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT
    ) as command:
        assert command.stdout is not None
        child = int(command.stdout.readline())
        command.send_signal(number)
        _, said = command.communicate(timeout=30)
    assert said == f"{MESSAGE}\n"
    assert command.returncode == 128 + number
    assert not psutil.pid_exists(child) or psutil.Process(child).status() == psutil.STATUS_ZOMBIE


def test_output_that_nobody_reads_keeps_no_command_from_ending() -> None:
    code = CODE.format(body="print('x' * 10_000_000, flush=True)")
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT
    ) as command:
        assert command.stdout is not None
        command.stdout.readline()
        time.sleep(0.5)  # until the pipe is full
        command.send_signal(signal.SIGTERM)
        assert command.wait(30) == 143
        assert command.stderr is not None
        assert command.stderr.read() == f"{MESSAGE}\n"


def test_a_command_does_not_take_its_interpreter_apart_first() -> None:
    code = CODE.format(body="import atexit; atexit.register(time.sleep, 60); time.sleep(60)")
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT
    ) as command:
        assert command.stdout is not None
        command.stdout.readline()
        command.send_signal(signal.SIGTERM)
        assert command.wait(30) == 143


def test_a_worker_ends_with_its_parent_however_that_ends() -> None:
    worker = (
        "import time; from mmmos.store.stopping import end_with_parent; "
        "end_with_parent(); print('up', flush=True); time.sleep(60)"
    )
    code = (
        "import subprocess, sys, time\n"
        f"child = subprocess.Popen([sys.executable, '-c', {worker!r}], stdout=subprocess.PIPE)\n"
        "child.stdout.readline(); print(child.pid, flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, cwd=ROOT) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        os.kill(child, signal.SIGINT)  # a terminal sends Ctrl-C to all
        assert psutil.pid_exists(child)
        parent.kill()
    for _ in range(100):
        if not psutil.pid_exists(child) or psutil.Process(child).status() == psutil.STATUS_ZOMBIE:
            return
        time.sleep(0.1)
    pytest.fail("the worker outlived its parent")
