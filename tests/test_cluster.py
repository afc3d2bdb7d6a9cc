"""Two worker processes do what one machine does, bit for bit, whatever becomes of them on the way."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

pytest.importorskip("distributed", reason="needs the extra [cluster]")


from mmmos.extract import cluster as extract_cluster
from mmmos.extract import survey as room
from mmmos.extract.cluster import Job, encode_shard, extract_on, machines, survey_files, survey_on
from mmmos.extract.compute import Compute
from mmmos.extract.extraction import extract
from mmmos.extract.request import ExtractRequest, load_encoders
from mmmos.extract.run import run
from mmmos.extract.survey import survey
from mmmos.extract.survey_cache import CACHE
from mmmos.heads.grids import grid
from mmmos.heads.runs import HEAD, Run
from mmmos.heads.training.outputs import one_thread
from mmmos.heads.training.parallel import train_grid
from mmmos.store import maintenance
from mmmos.store.clips import ClipTable, read_clips, save_table
from mmmos.store.cluster import ClusterError
from mmmos.store.features import list_stores
from mmmos.store.schema import Clip, EncoderSpec
from tests.corpus import small_corpus
from tests.workers import Cluster, started

SHARD_CROPS = 8

ANOTHER_VERSION = """
from dataclasses import replace
from mmmos.extract import request
from mmmos.extract.encoders import logmel
from mmmos.heads.config import HeadConfig
logmel.RECIPE = HeadConfig.recipe = 2
def load(request, compute, load=request.load_encoders, **options):
    return load(replace(request, random_weights=1), compute, **options)
request.load_encoders = load
"""

DIES_BEFORE_IT_WRITES = """
import os, signal
from mmmos.store.features import FeatureStore
def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)
FeatureStore.append = die
"""

DIES_WHEN_IT_HAS_TRAINED = """
import os, signal
from mmmos.heads.training import train_run
def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)
train_run.keep = die
"""

# joblib tells how many tasks it cancelled when one has failed.
pytestmark = pytest.mark.filterwarnings("ignore:.*tasks which were still being processed")


@pytest.fixture(scope="module", autouse=True)
def as_on_a_worker() -> Iterator[None]:
    with one_thread():
        yield


class Corpus:
    """A surveyed corpus, a request for two encoders, and what one machine makes of them."""

    def __init__(self, folder: Path) -> None:
        clips = small_corpus(folder / "corpus")
        self.request = ExtractRequest(
            clips, clips.parent, encoders="logmel,wavlm", random_weights=0, size="tiny", weights=None
        )
        self.table: ClipTable = survey(read_clips(clips), clips.parent, quiet=True)[0]
        self.encoders = load_encoders(self.request, Compute("cpu"))
        self.work = folder / "alone"
        self.extract = {"shard_crops": SHARD_CROPS, "quiet": True}
        extract(self.table, clips.parent, self.encoders, self.work / "features", **self.extract)
        save_table(self.table, self.work / "clips.json")

    @property
    def specs(self) -> tuple[EncoderSpec, ...]:
        return tuple(encoder.spec for encoder in self.encoders)

    def on(self, address: str, features: Path):
        with machines(address, Compute("cpu")) as there:
            return extract_on(there, self.table, self.request, features, self.specs, **self.extract)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    return Corpus(tmp_path_factory.mktemp("corpus"))


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with started(tmp_path_factory.mktemp("pair"), "", "") as made:
        yield made


def shards(features: Path) -> dict[str, bytes]:
    return {str(path.relative_to(features)): path.read_bytes() for path in sorted(features.rglob("*.h5"))}


def is_clean(features: Path) -> bool:
    found = [maintenance.verify(store.folder, fraction=1.0) for store in list_stores(features)]
    left = [one for store in list_stores(features) for one in maintenance.info(store.folder).leftovers]
    return bool(found) and not left and all(one.outcome == "clean" and not one.duplicates for one in found)


def test_two_workers_write_the_very_shards_of_one_machine(
    corpus: Corpus, pair: Cluster, tmp_path: Path
) -> None:
    done = corpus.on(pair.address, tmp_path)
    alone = shards(corpus.work / "features")
    assert len(alone) == 10
    assert shards(tmp_path) == alone
    assert is_clean(tmp_path)
    assert done.encoded == {"logmel": done.crops, "wavlm": done.crops}
    # Both of them worked; and nothing is left to do, so that no cluster is needed any more.
    loaded = pair.client.run(lambda: extract_cluster._load.cache_info().misses)
    assert list(loaded.values()) == [1, 1]
    assert corpus.on("tcp://127.0.0.1:1", tmp_path).encoded == {"logmel": 0, "wavlm": 0}


def test_workers_survey_the_audio_as_one_machine_does(
    corpus: Corpus, pair: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = corpus.request.audio_root
    bad = ("none.wav", "../clips.csv", "clips.csv")
    table = ClipTable(
        (*(Clip(f"bad{n}", path) for n, path in enumerate(bad)), *read_clips(corpus.request.clips))
    )
    with machines(pair.address, Compute("cpu")) as there, monkeypatch.context() as here:
        here.setattr(room, "survey_file", lambda path: pytest.fail(f"{path} is decoded by the driver"))
        found = survey(table, root, tmp_path / CACHE, quiet=True, surveyor=survey_on(there))
    assert found == survey(table, root, quiet=True)
    assert [reject.id for reject in found[1]] == ["bad0", "bad1", "bad2"]
    with machines("tcp://127.0.0.1:1", Compute("cpu")) as nobody:  # what is known needs no cluster
        known = replace(table, clips=table.clips[3:])
        assert survey(known, root, tmp_path / CACHE, quiet=True, surveyor=survey_on(nobody))[0] == found[0]


def test_a_worker_that_decodes_by_other_rules_surveys_nothing(corpus: Corpus) -> None:
    with pytest.raises(ClusterError, match="decodes by other rules"):
        survey_files("other rules", corpus.request.audio_root, 1, 0, corpus.table.clips[:1])


def test_two_workers_train_the_very_heads_of_one_machine(
    corpus: Corpus, pair: Cluster, tmp_path: Path
) -> None:
    (tmp_path / "features").symlink_to(corpus.work / "features")
    save_table(corpus.table, tmp_path / "clips.json")
    configs = grid("paper", corpus.specs, corpus.table.id, losses=["ut", "con"], epochs=2)
    one = train_grid(configs, corpus.work, jobs=1)
    seen: list[tuple[str, int, int]] = []
    two = train_grid(configs, tmp_path, cluster=pair.address, progress=lambda *a: seen.append(a))
    assert not one.failed
    assert not two.failed
    assert sorted(two.trained) == sorted(config.id for config in configs)
    assert [done for _, done, _ in seen] == list(range(1, len(configs) + 1))
    for config in configs:
        ours, theirs = Run.of(tmp_path, config).folder, Run.of(corpus.work, config).folder
        assert _tensors(ours / HEAD) == _tensors(theirs / HEAD)
        for split in ("dev", "pam", "test"):
            name = f"predictions-{split}.parquet"
            assert (ours / name).read_bytes() == (theirs / name).read_bytes()
    assert not train_grid(configs, tmp_path, cluster="tcp://127.0.0.1:1").trained


def _tensors(path: Path) -> bytes:
    """The tensors of a safetensors file without its header, which holds the seconds it took."""
    data = path.read_bytes()
    return data[8 + int.from_bytes(data[:8], "little") :]


def test_the_command_does_the_same_on_a_cluster(corpus: Corpus, pair: Cluster, tmp_path: Path) -> None:
    codes = [
        run(corpus.request, tmp_path / name, Compute("cpu"), address)
        for name, address in (("here", ""), ("there", pair.address))
    ]
    assert codes == [0, 0]
    assert shards(tmp_path / "here" / "features") == shards(tmp_path / "there" / "features")
    here, there = (tmp_path / name / "clips.json" for name in ("here", "there"))
    assert here.read_bytes() == there.read_bytes()


def test_a_task_may_be_run_twice(corpus: Corpus, tmp_path: Path) -> None:
    job = Job(corpus.request, corpus.specs, tmp_path, Compute("cpu"))
    tasks = extract_cluster.plan(corpus.table, [state.store for state in extract_cluster._states(job)])[1][:5]
    first, again = (encode_shard(job, 3, tuple(tasks)) for _ in range(2))
    assert first.encoded == {"logmel": 5, "wavlm": 5}
    assert (again.number, again.encoded, again.audio_s) == (3, {"logmel": 0, "wavlm": 0}, 0.0)
    assert len(shards(tmp_path)) == 2


def test_audio_that_went_away_rejects_its_clip_alone(corpus: Corpus, pair: Cluster, tmp_path: Path) -> None:
    gone = replace(corpus.table.clips[0], path="audio/gone.wav", audio="0" * 32)
    table = replace(corpus.table, clips=(gone, *corpus.table.clips[1:3]))
    with machines(pair.address, Compute("cpu")) as there:
        done = extract_on(there, table, corpus.request, tmp_path, corpus.specs, **corpus.extract)
    assert [(reject.id, "gone.wav" in reject.path) for reject in done.rejects] == [(gone.id, True)]
    assert done.encoded["logmel"] == done.crops - 1


@pytest.mark.parametrize(
    ("stage", "program"),
    [("extract", DIES_BEFORE_IT_WRITES), ("heads", DIES_WHEN_IT_HAS_TRAINED)],
    ids=["extract", "heads"],
)
def test_a_worker_that_is_killed_loses_nothing(
    stage: str, program: str, corpus: Corpus, pair: Cluster, tmp_path: Path
) -> None:
    doomed = pair.worker(program)
    pair.client.wait_for_workers(3, timeout=60)
    if stage == "extract":
        corpus.on(pair.address, tmp_path / "features")
        assert shards(tmp_path / "features") == shards(corpus.work / "features")
        assert is_clean(tmp_path / "features")
    else:
        (tmp_path / "features").symlink_to(corpus.work / "features")
        save_table(corpus.table, tmp_path / "clips.json")
        configs = grid("paper", corpus.specs, corpus.table.id, losses=["ccc", "dcq"], epochs=1)
        done = train_grid(configs, tmp_path, cluster=pair.address)
        assert sorted(done.trained) == sorted(config.id for config in configs)
    assert doomed.wait(60) == -9
    assert len(pair.client.ncores()) == 2


def test_a_worker_of_another_version_is_refused_by_signature(corpus: Corpus, tmp_path: Path) -> None:
    configs = grid("paper", corpus.specs, corpus.table.id, losses=["ut"], epochs=3)
    with started(tmp_path, ANOTHER_VERSION) as made:
        with pytest.raises(ClusterError, match="logmel: recipe: 1 here, 2 there") as refused:
            corpus.on(made.address, tmp_path / "features")
        assert "wavlm: weights: 'random:0' here, 'random:1' there" in str(refused.value)
        assert not shards(tmp_path / "features")
        with pytest.raises(ClusterError, match="recipe: 1 here, 2 there"):
            train_grid(configs, corpus.work, cluster=made.address)
    assert not any(Run.of(corpus.work, config).folder.exists() for config in configs)


def test_visible_devices_are_honoured(monkeypatch: pytest.MonkeyPatch) -> None:
    devices: Callable[[str], list[str]] = extract_cluster._devices
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert devices("auto") == ["0", "1"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,7")
    assert devices("cuda") == ["4", "7"]
    assert devices("cpu") == devices("cuda:1") == []
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    assert devices("auto") == []
