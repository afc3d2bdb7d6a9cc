"""A remote cluster with Dask's TLS, set up as docs/clusters.md says: who has no certificate is not let in."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT

pytest.importorskip("distributed", reason="needs Dask, the extra `cluster`")

CONNECT = """
import sys
from mmmos.store.cluster import ClusterError, workers_of
try:
    with workers_of(sys.argv[1]) as workers:
        print("connected", len(workers.client.ncores()))
except ClusterError as reason:
    print("refused:", reason)
"""


def variables(certificate: Path, key: Path) -> dict[str, str]:
    """Those of docs/clusters.md."""
    shown = (ROOT / "docs" / "clusters.md").read_text(encoding="utf-8")
    names = re.findall(r"export (DASK_DISTRIBUTED__COMM__\w+)=(\S+)", shown)
    assert len(names) == 8
    values = {"ca.pem": certificate, "cert.pem": certificate, "key.pem": key}
    return {name: str(values.get(value, value)) for name, value in names}


@pytest.fixture
def certificate(tmp_path: Path) -> dict[str, str]:
    if shutil.which("openssl") is None:
        pytest.skip("needs openssl to make a certificate")
    key, cert = tmp_path / "key.pem", tmp_path / "cert.pem"
    words = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=mmmos"]
    subprocess.run(["openssl", *words, "-keyout", key, "-out", cert], check=True, capture_output=True)
    return variables(cert, key)


@pytest.fixture
def scheduler(certificate: dict[str, str]) -> Iterator[str]:
    words = ["--protocol", "tls", "--host", "127.0.0.1", "--port", "0", "--no-dashboard"]
    environment = {**os.environ, **certificate}
    process = subprocess.Popen(
        [sys.executable, "-m", "distributed.cli.dask_scheduler", *words],
        env=environment, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stderr is not None
    address = next(found[0] for line in process.stderr if (found := re.search(r"tls://[\d.]+:\d+", line)))
    worker = subprocess.Popen(
        [sys.executable, "-m", "distributed.cli.dask_worker", address, "--nthreads", "1", "--no-nanny"],
        env=environment, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        yield address
    finally:
        for one in (worker, process):
            one.kill()
            one.wait()


def connect(address: str, environment: dict[str, str]) -> str:
    done = subprocess.run(
        [sys.executable, "-c", CONNECT, address],
        env={**os.environ, **environment}, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert "Traceback" not in done.stdout
    return done.stdout.strip()


def test_with_a_certificate_workers_are_reached_and_without_one_nobody_is(
    scheduler: str, certificate: dict[str, str]
) -> None:
    assert connect(scheduler, certificate) == "connected 1"
    assert connect(scheduler, {}).startswith("refused:")
    assert connect(scheduler.replace("tls://", "tcp://"), {}).startswith("refused:")
