"""A study in a real PostgreSQL, where there is one: shared by processes, the same as in a journal file."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from mmmos.heads.tuning.sweep import sweep
from tests.conftest import ROOT
from tests.heads.small import M2D, WAVLM, work_folder
from tests.heads.tuning.test_sweep import cells, told

DEBIAN = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
"""Where the distribution keeps what it does not put on the path."""

WORKER = """
import os, sys
from pathlib import Path
from mmmos.heads.tuning.sweep import sweep
from mmmos.heads.tuning import trials
from tests.heads.tuning.test_sweep import cells
kept, calls = trials.fit, []
def fit(*a, **k):
    calls.append(1)
    if len(calls) == int(sys.argv[4]):
        os._exit(9)
    return kept(*a, **k)
trials.fit = fit
work = Path(sys.argv[1])
sweep(cells(work), work, trials=int(sys.argv[3]), jobs=1, seed=3, storage=sys.argv[2])
"""


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """The URL of a server of its own, on a socket in a temporary folder."""
    pytest.importorskip("psycopg", reason="needs the extra [postgres]")
    path = os.pathsep.join([os.environ.get("PATH", ""), *(str(folder) for folder in DEBIAN[-1:])])
    initdb, pg_ctl = shutil.which("initdb", path=path), shutil.which("pg_ctl", path=path)
    if initdb is None or pg_ctl is None:
        pytest.skip("needs a PostgreSQL server (apt-get install postgresql), which is not here")
    user = None
    if os.geteuid() == 0:  # the server refuses to run as root
        try:
            user = pwd.getpwnam("postgres").pw_name
        except KeyError:
            pytest.skip("needs a user named postgres to run PostgreSQL as, since this is root")
    with tempfile.TemporaryDirectory(prefix="pg") as folder:
        if user:
            shutil.chown(folder, user)
        data, log = f"{folder}/data", f"{folder}/log"
        here = {"user": user, "cwd": folder, "check": True, "capture_output": True}
        subprocess.run([initdb, "-D", data, "-U", "mmmos", "-A", "trust", "-N"], **here)
        options = f"-k {folder} -c listen_addresses='' -F"
        subprocess.run([pg_ctl, "-D", data, "-l", log, "-o", options, "-w", "start"], **here)
        try:
            yield f"postgresql+psycopg://mmmos@/%s?host={folder}"
        finally:
            subprocess.run([pg_ctl, "-D", data, "-m", "immediate", "-w", "stop"], **here)


@pytest.fixture
def database(server: str, request: pytest.FixtureRequest) -> str:
    """The URL of an empty database."""
    import psycopg

    name = f"study{abs(hash(request.node.name))}"
    with psycopg.connect((server % "postgres").replace("+psycopg", ""), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    return server % name


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return work_folder(tmp_path_factory.mktemp("postgres"), count=36, specs=(WAVLM, M2D))


def worker(work: Path, database: str, trials: int, dies_at: int = 0) -> subprocess.Popen[bytes]:
    arguments = [str(work), database, str(trials), str(dies_at)]
    return subprocess.Popen([sys.executable, "-c", WORKER, *arguments], cwd=ROOT)


def test_a_study_in_a_database_is_the_study_of_a_journal_also_after_a_death(
    work: Path, database: str, tmp_path: Path
) -> None:
    journal = work_folder(tmp_path, count=36, specs=(WAVLM, M2D))
    (whole,) = sweep(cells(journal), journal, trials=4, jobs=1, seed=3)
    assert worker(work, database, 4, dies_at=2).wait(120) == 9
    (resumed,) = sweep(cells(work), work, trials=4, jobs=1, seed=3, storage=database)
    assert told(resumed) == told(whole)
    assert not (work / "sweep.journal").exists()


def test_processes_that_know_nothing_of_each_other_share_a_study(work: Path, database: str) -> None:
    others = [worker(work, database, 6) for _ in range(2)]
    assert [other.wait(120) for other in others] == [0, 0]
    (result,) = sweep(cells(work), work, trials=6, jobs=1, seed=3, storage=database)
    assert [trial.number for trial in result.trials] == list(range(6))
    assert len({trial.run for trial in result.trials}) == 6
    assert result.best is not None
    assert (work / "runs" / result.best.run / "record.json").exists()
