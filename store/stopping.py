"""A person can stop any command: Ctrl-C or SIGTERM end it and all its workers within seconds.

Worker processes are ended at once: what they write is whole or absent.  The signal then interrupts what the
command itself is doing, so that it tidies up as after an error; if that takes longer than GRACE_S (a long
call into a library, a thread), a watcher ends the process.
"""

from __future__ import annotations

import atexit
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType

GRACE_S = 1.5
"""So long a command may take to tidy up."""
SIGNALS = (signal.SIGINT, signal.SIGTERM)
LAST_S = 0.5
"""So long killed workers are waited for; the kernel may need a moment where the machine is busy."""
MESSAGE = "stopped; run the same command again to go on"
KEEP = "resource_tracker"
"""A helper process of joblib and multiprocessing that ends, and tidies up, once its parent has ended."""


class Stopped(BaseException):
    """Raised where a command is when it is stopped; no library takes it for its own KeyboardInterrupt."""

    def __init__(self, number: int) -> None:
        super().__init__(f"signal {number}")
        self.exit_code = 128 + number


@contextmanager
def stoppable() -> Iterator[None]:
    """While the block runs, SIGINT and SIGTERM raise `Stopped` in it, and a watcher sees that it ends.

    Where it ends by `Stopped` or KeyboardInterrupt, the workers are ended, the promised line is said, and
    this process ends with 128 and the signal's number, after what libraries registered to be done at exit.
    The interpreter is not taken apart first: with torch in it that takes seconds on a busy machine.  Only the
    main thread can do this; others run the block as it is.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    import psutil  # noqa: F401  ready when it is needed, see `end_workers`

    seen: list[int] = []

    def stop(number: int, frame: FrameType | None) -> None:
        seen.append(number)
        if len(seen) == 1:  # what tidies up is not interrupted again; the watcher ends it
            raise Stopped(number)

    before = {number: signal.signal(number, stop) for number in SIGNALS}
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    wakeup = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    threading.Thread(target=_watch, args=(reader,), daemon=True).start()
    try:
        yield
    except (Stopped, KeyboardInterrupt) as stopped:
        end_workers()
        for last in (sys.stdout.flush, atexit._run_exitfuncs):
            with suppress(Exception):  # may wait, for a reader that waits; the watcher does not
                last()
        _say()
        os._exit(getattr(stopped, "exit_code", 128 + signal.SIGINT))
    finally:
        signal.set_wakeup_fd(wakeup)
        for number, handler in before.items():
            signal.signal(number, handler)
        if not seen:  # else the watcher stays until the process has ended
            os.close(writer)


def stop_at_once() -> None:
    """Until `stoppable` is entered (while modules are imported) SIGINT and SIGTERM end this process."""

    def stop(number: int, frame: FrameType | None) -> None:
        _say()
        os._exit(128 + number)

    for number in SIGNALS:
        signal.signal(number, stop)


def end_workers() -> None:
    """Kill every process that this one has started, directly or not, and see them end."""
    import psutil  # here: the sooner this module is loaded, the sooner a command can be stopped

    killed = []
    with suppress(psutil.Error):
        for process in psutil.Process().children(recursive=True):
            with suppress(psutil.Error, OSError):
                if not any(KEEP in word for word in process.cmdline()):
                    process.kill()
                    killed.append(process)
        psutil.wait_procs(killed, timeout=LAST_S)


def end_with_parent() -> None:
    """In a worker process: leave Ctrl-C to the parent, and end when the parent has ended in any way."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    if not any(thread.name == end_with_parent.__name__ for thread in threading.enumerate()):
        parent = os.getppid()
        threading.Thread(
            target=_end_after, args=(parent,), name=end_with_parent.__name__, daemon=True
        ).start()


def _end_after(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(1.0)
    os._exit(1)


def _watch(reader: int) -> None:
    """Wait for a stopping signal's number in the pipe; end the process GRACE_S later, if it still runs."""
    with os.fdopen(reader, "rb", buffering=0) as numbers:
        while number := numbers.read(1):
            if number[0] in SIGNALS:
                end_workers()  # at once: whatever they write is whole or absent
                time.sleep(GRACE_S)
                end_workers()
                _say()
                os._exit(128 + number[0])


def _say() -> None:
    global _said
    if not _said:
        _said = True
        with suppress(OSError, ValueError):
            if select.select([], [2], [], 0)[1]:  # a full pipe is not waited for
                os.write(2, f"{MESSAGE}\n".encode())


_said = False
