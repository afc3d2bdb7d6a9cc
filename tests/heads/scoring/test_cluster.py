"""Two worker processes give the answers of one machine, in the order that was asked for."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("distributed", reason="needs the extra [cluster]")

import typer
from typer.testing import CliRunner, Result

from mmmos.heads.scoring import cluster, predict_commands
from mmmos.heads.scoring import commands as scoring_commands
from mmmos.heads.training.outputs import one_thread
from mmmos.store.cluster import ClusterError
from tests.heads.scoring.experiment import Experiment, scoring_experiment
from tests.workers import Cluster, started

app = typer.Typer(pretty_exceptions_enable=False)
for verb in (predict_commands.predict, scoring_commands.sensitivity):
    app.command()(verb)

ANOTHER_BUNDLE = """
from mmmos.heads.scoring import cluster
def load(*given, load=cluster.load_scorer, **options):
    scorer = load(*given, **options)
    scorer.id = "another"
    return scorer
cluster.load_scorer = load
"""

DIES_AT_ITS_FIRST_FILE = """
import os, signal
from mmmos.heads.scoring.scorer import Scorer
def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)
Scorer.stream = die
"""

pytestmark = pytest.mark.filterwarnings("ignore:.*tasks which were still being processed")


@pytest.fixture(scope="module", autouse=True)
def as_on_a_worker() -> Iterator[None]:
    with one_thread():
        yield


@pytest.fixture(scope="module")
def experiment() -> Experiment:
    return scoring_experiment()


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with started(tmp_path_factory.mktemp("pair"), "", "") as made:
        yield made


def run(experiment: Experiment, *words: object) -> Result:
    audio = (*experiment.paths("test")[:9], "none.wav")
    given = ("predict", *audio, "--bundle", experiment.bundle, "--device", "cpu", *words)
    return CliRunner().invoke(app, [*map(str, given)])


def test_the_answers_are_those_of_one_machine(experiment: Experiment, pair: Cluster, tmp_path: Path) -> None:
    for words in ((), ("--timeline", "--hop", "5"), ("--loudness", "-23")):
        alone = run(experiment, *words)
        together = run(experiment, *words, "--cluster", pair.address)
        assert together.exit_code == alone.exit_code == 3, together.output
        assert together.stdout == alone.stdout
    assert "beware: synthetic audio" in together.stderr
    loaded = pair.client.run(lambda: cluster._load.cache_info().misses)
    assert list(loaded.values()) == [1, 1]
    checked = run(experiment, "--check", "--cluster", pair.address, "-o", tmp_path / "scores.csv")
    assert checked.exit_code == 3, checked.output


def test_an_output_is_gone_on_with(experiment: Experiment, pair: Cluster, tmp_path: Path) -> None:
    path = tmp_path / "scores.csv"
    run(experiment, "-o", path)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    again = run(experiment, "-o", path, "--resume", "--cluster", pair.address)
    assert "are there, going on" in again.stderr
    assert path.read_bytes() == whole


def test_a_worker_that_is_killed_loses_nothing(experiment: Experiment, pair: Cluster) -> None:
    doomed = pair.worker(DIES_AT_ITS_FIRST_FILE)
    pair.client.wait_for_workers(3, timeout=60)
    together = run(experiment, "--cluster", pair.address)
    assert together.stdout == run(experiment).stdout
    assert doomed.wait(60) == -9


def test_a_worker_with_another_bundle_is_refused(experiment: Experiment, tmp_path: Path) -> None:
    with started(tmp_path, "", ANOTHER_BUNDLE) as made:
        failed = run(experiment, "--cluster", made.address)
        assert isinstance(failed.exception, ClusterError)
        assert "where this run has" in str(failed.exception)
        assert "another" in str(failed.exception)


def test_what_is_no_cluster_is_told(experiment: Experiment, tmp_path: Path) -> None:
    path = tmp_path / "scores.csv"
    failed = run(experiment, "--cluster", "local:x", "-o", path)
    assert "--cluster takes local:N" in str(failed.exception)
    assert not path.exists()
