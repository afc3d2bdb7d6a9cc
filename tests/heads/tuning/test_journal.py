"""A journal survives torn lines and dead workers."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pytest

from mmmos.heads.tuning.journal import JournalLock, SealedJournal, cut_torn_tail, is_alive, worker_key


@pytest.mark.parametrize(
    ("content", "kept"),
    [
        (b"", b""),
        (b'{"a":1}\n', b'{"a":1}\n'),
        (b'{"a":1}\n{"b"', b'{"a":1}\n'),
        (b'{"a"', b""),
        (b'{"a":1}\n{"b":2}', b'{"a":1}\n'),
    ],
)
def test_a_torn_tail_is_cut_by_the_next_holder_of_the_lock(
    tmp_path: Path, content: bytes, kept: bytes
) -> None:
    journal = tmp_path / "sweep.journal"
    journal.write_bytes(content)
    lock = JournalLock(journal)
    assert lock.acquire()
    lock.release()
    assert journal.read_bytes() == kept


def test_no_journal_is_no_fault(tmp_path: Path) -> None:
    assert cut_torn_tail(tmp_path / "none") == 0


def test_the_lock_excludes_others_and_dies_with_its_process(tmp_path: Path) -> None:
    journal = tmp_path / "sweep.journal"
    code = (
        "import sys, os, pathlib; from mmmos.heads.tuning.journal import JournalLock\n"
        "lock = JournalLock(pathlib.Path(sys.argv[1])); lock.acquire(); print('held', flush=True)\n"
        "sys.stdin.read(1); os._exit(9)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(journal)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdin is not None
        assert holder.stdout.readline() == b"held\n"
        fd = os.open(journal.with_name("sweep.journal.flock"), os.O_RDWR)
        with pytest.raises(BlockingIOError):
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.close(fd)
        holder.stdin.write(b"x")
        holder.stdin.flush()
        holder.wait()
    lock = JournalLock(journal)
    assert lock.acquire()
    lock.release()
    with pytest.raises(RuntimeError, match="not held"):
        lock.release()


def test_workers_are_told_apart() -> None:
    me = worker_key()
    assert is_alive(me) is True
    host, pid, started = me.rsplit(" ", 2)
    assert is_alive(f"{host} {pid} {int(started) - 1}") is False  # the pid was given out again
    assert is_alive(f"elsewhere {pid} {started}") is None
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    assert is_alive(f"{host} {gone.pid} {started}") is False


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="only Linux tells the state of a process")
def test_a_worker_that_ended_but_was_not_waited_for_is_not_alive() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", "from mmmos.heads.tuning.journal import worker_key; print(worker_key())"],
        stdout=subprocess.PIPE,
        text=True,
    ) as worker:
        assert worker.stdout is not None
        key = worker.stdout.readline().strip()
        os.waitid(os.P_PID, worker.pid, os.WEXITED | os.WNOWAIT)  # ended, but still in the process table
        assert Path(f"/proc/{worker.pid}").exists()
        assert is_alive(key) is False


def test_a_journal_gives_back_its_lines_and_names_one_that_changed(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "sweep.journal"
    journal, lines = SealedJournal(path), [{"op_code": 0, "n": n} for n in range(4)]
    journal.append_logs(lines[:1])
    journal.append_logs(lines[1:])
    assert list(journal.read_logs(0)) == lines
    assert list(journal.read_logs(3)) == lines[3:]
    assert list(SealedJournal(path).read_logs(2)) == lines[2:]
    whole = path.read_bytes()
    second = whole.index(b"\n") + 1
    for at in range(second, whole.index(b"\n", second)):
        broken = bytearray(whole)
        broken[at] ^= 1
        path.write_bytes(broken)
        with pytest.raises(ValueError, match=r"sweep\.journal line [23]"):
            list(SealedJournal(path).read_logs(0))


def test_lines_of_earlier_versions_are_read_and_odd_ones_named(tmp_path: Path) -> None:
    path = tmp_path / "sweep.journal"
    path.write_text('{"op_code": 1}\n')
    assert list(SealedJournal(path).read_logs(0)) == [{"op_code": 1}]
    for line, reason in (("[1]", "a JSON object"), ("x", "not JSON"), ("[" * 9999, "too deeply")):
        path.write_text(f'{{"op_code": 1}}\n{line}\n')
        with pytest.raises(ValueError, match=rf"sweep\.journal line 2: .*{reason}"):
            list(SealedJournal(path).read_logs(0))
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(ValueError, match="not a regular file"):
        SealedJournal(path)
