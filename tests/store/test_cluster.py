"""Tasks on workers: every one is done, and a run that cannot go on ends with words that say why."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

pytest.importorskip("distributed", reason="needs the extra [cluster]")

from mmmos.store import cluster
from mmmos.store.cluster import ClusterError, workers_of
from tests.workers import Cluster, started

# joblib tells how many tasks it cancelled when one has failed.
pytestmark = pytest.mark.filterwarnings("ignore:.*tasks which were still being processed")


@pytest.fixture(scope="module")
def single(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with started(tmp_path_factory.mktemp("single"), "") as made:
        yield made


def test_a_single_worker_does_every_task_and_not_this_process(single: Cluster) -> None:
    with workers_of(single.address) as workers:
        assert workers.per_machine == 1
        found = list(workers.each(_square, [(number,) for number in range(20)]))
    assert sorted(value for value, _ in found) == [number**2 for number in range(20)]
    assert os.getpid() not in {process for _, process in found}


def _square(number: int) -> tuple[int, int]:
    return number**2, os.getpid()


def listening() -> set[tuple[str, int]]:
    """(address, port) of everything that this process and its children listen at."""
    here = psutil.Process()
    connections = [c for p in (here, *here.children(recursive=True)) for c in p.net_connections("tcp")]
    return {(c.laddr.ip, c.laddr.port) for c in connections if c.status == psutil.CONN_LISTEN}


def test_local_workers_listen_to_this_machine_alone() -> None:
    before = listening()
    with workers_of("local:2") as workers:
        assert len(workers.client.ncores()) == 2
        opened = listening() - before
    assert len(opened) >= 4  # a scheduler, two workers, and who watches them
    assert {address for address, _ in opened} == {"127.0.0.1"}


@pytest.mark.parametrize(
    "address",
    ["http://127.0.0.1:8786", "ucx://a:1", "xxx", "tcp://", "tls://", "tcp://host", "local:0", "local", ""],
)
def test_an_address_that_no_scheduler_can_have_is_refused_at_once(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("distributed.Client", lambda *_, **__: pytest.fail("it was called"))
    with (
        pytest.raises(ClusterError, match="local:N with a number of processes, or a scheduler's address"),
        workers_of(address),
    ):
        pass


def test_a_task_that_kills_its_workers_ends_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES", "0")
    with (
        started(tmp_path, "") as made,
        pytest.raises(ClusterError, match="died of the same task"),
        workers_of(made.address) as workers,
    ):
        list(workers.each(os._exit, [(9,)]))


def test_a_run_that_no_worker_is_left_for_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with started(tmp_path, "") as made:
        monkeypatch.setattr(cluster, "WAIT_S", 1)
        with (
            pytest.raises(ClusterError, match="no worker was left for 1 s"),
            workers_of(made.address) as workers,
        ):
            list(workers.each(os._exit, [(9,)]))


class CannotTravelError(Exception):
    def __reduce__(self) -> str:
        raise RecursionError


def _fail() -> None:
    raise CannotTravelError("on its way")


def test_the_first_error_ends_the_run_even_one_that_cannot_travel(single: Cluster) -> None:
    with workers_of(single.address) as workers, pytest.raises(ClusterError, match="on its way") as failed:
        list(workers.each(_fail, [()] * 20))
    assert "in _fail" in failed.value.__notes__[0]


def test_what_cannot_be_a_cluster_is_refused_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    def enter(address: str) -> None:
        with workers_of(address):
            pytest.fail("there is no such cluster")

    monkeypatch.setattr(cluster, "CONNECT_S", 0.5)
    with pytest.raises(ClusterError, match="no Dask scheduler answers"):
        enter("tcp://127.0.0.1:1")
    with pytest.raises(ClusterError, match="takes local:N"):
        enter("local:0")
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(ClusterError, match=r"pip install '\.\[cluster\]'"):
        enter("local:2")


def test_local_processes_share_out_processors_and_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 6)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    with workers_of("local:2", devices=["3", "5"]) as workers:
        assert workers.per_machine == 2
        names = ("OMP_NUM_THREADS", "CUDA_VISIBLE_DEVICES")
        found = workers.client.run(lambda: [os.environ[name] for name in names])
    assert sorted(found.values()) == [["3", "3"], ["3", "5"]]
