"""Whatever an input file holds, reading it ends well or in a message that begins with what is wrong.

`pipeline.main` shows ValueError and OSError in one line; anything else would be a traceback.  Examples are
drawn from a fixed seed, so a failure comes again.
"""

from __future__ import annotations

import json
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mmmos.extract.corpora.set_tables import SONGEVAL_AXES, songeval
from mmmos.extract.encoders.weights import read_names, read_state
from mmmos.extract.request import ExtractRequest
from mmmos.heads.config import HeadConfig
from mmmos.heads.ensemble import Ensemble
from mmmos.heads.network.model import Head
from mmmos.heads.recipe_file import Choice
from mmmos.heads.results.studies import read_study
from mmmos.heads.run_sets import trained_grids
from mmmos.heads.runs import Run
from mmmos.heads.scoring.bundle import ABOUT, read_bundle, save_bundle
from mmmos.heads.scoring.output_file import OutputFile, Settings
from mmmos.heads.scoring.requests import AudioRequest, list_requests
from mmmos.heads.scoring.serve_guard import address_in
from mmmos.heads.tuning.journal import SealedJournal
from mmmos.heads.tuning.space import suggest_cell
from mmmos.heads.tuning.storage import WORKER, open_study, prepare
from mmmos.store.axes import axes_beside
from mmmos.store.clips import load_table, read_clips
from mmmos.store.noted import noted
from mmmos.store.predictions import Predictions
from mmmos.store.ratings.reader import read_ratings
from mmmos.store.specs import read_spec
from tests.conftest import ROOT
from tests.heads.scoring.made_bundle import logmel, made_bundle, unsealed
from tests.heads.tuning.test_storage import PLAN

SEEDED = settings(
    derandomize=True,
    deadline=None,
    max_examples=120,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
ODD = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.sampled_from(
        [10**400, -1, 0, 2**63, 1e308, -1e308, 5e-324, "1e999", "", "\0", "\ud800", "../../x", "=1+1"]
    ),
    st.floats(),
    st.text(max_size=6),
)
VALUES = st.recursive(
    ODD,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)


def told(read: Callable[[], object], path: Path) -> None:
    """The file is read, or refused by a short message that names it."""
    message = ""
    try:
        read()
    except (ValueError, OSError) as reason:
        message = str(reason)
    assert not message or path.name in message or str(path.parent) in message, f"no file in {message!r}"
    assert len(message) < 20_000


@st.composite
def mutated(draw: st.DrawFn, value: Any) -> Any:
    """A JSON value with one place of it replaced, removed or renamed."""
    changed = json.loads(json.dumps(value))
    here = changed
    while True:
        keys = list(here) if isinstance(here, dict) else list(range(len(here)))
        if not keys:
            return changed
        key = draw(st.sampled_from(keys))
        if isinstance(here[key], dict | list) and here[key] and draw(st.booleans()):
            here = here[key]
            continue
        if isinstance(here, dict) and draw(st.integers(0, 3)) == 0:
            del here[key]
        else:
            here[key] = draw(VALUES)
        return changed


@st.composite
def torn(draw: st.DrawFn, data: bytes) -> bytes:
    """Bytes with a few of them changed, or cut off, or something in between."""
    at = draw(st.integers(0, len(data)))
    middle = draw(
        st.binary(max_size=4)
        | st.sampled_from([b"[" * 3000, b"\xff\xfe", b"\0", b'"', b"\r", b"NaN", b"1e999"])
    )
    return data[:at] + middle + data[at + draw(st.integers(0, 8)) :] if draw(st.booleans()) else data[:at]


def dumped(value: Any) -> bytes:
    return json.dumps(value).encode()


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Files of format 1, by kind."""
    folder = tmp_path_factory.mktemp("format1")
    with tarfile.open(ROOT / "tests" / "golden" / "format1" / "work.tar.xz") as archive:
        archive.extractall(folder, filter="data")
    return {
        "clips.json": next(folder.rglob("clips.json")),
        "spec.json": next(folder.rglob("spec.json")),
        "predictions": next(folder.rglob("*.parquet")),
        "head": next(folder.rglob("head.safetensors")),
    }


CSV = b'id,path,domain,system,split,CE,PQ\na,a.wav,speech,s1,train,5,6.5\n"b,c",b.wav,,,dev,,7\n'
LINES = (
    b'{"path": "a.wav", "start_time": 0, "end_time": 1.5}\n{"path": "b.wav", "id": "x", "domain": "music"}\n'
)


@SEEDED
@given(torn(CSV), st.sampled_from([".csv", ".jsonl"]))
def test_clip_tables(tmp_path: Path, data: bytes, suffix: str) -> None:
    path = tmp_path / f"table{suffix}"
    path.write_bytes(data)
    told(lambda: read_clips(path), path)
    told(lambda: list_requests([str(path)]), path)


@SEEDED
@given(torn(LINES) | st.lists(VALUES, max_size=3).map(lambda rows: b"\n".join(map(dumped, rows))))
def test_lists_of_audio(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "list.jsonl"
    path.write_bytes(data)
    told(lambda: list_requests([str(path)]), path)
    told(lambda: read_clips(path), path)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return unsealed(save_bundle(made_bundle([logmel()]), tmp_path_factory.mktemp("fuzz") / "bundle", "card"))


@SEEDED
@given(st.data())
def test_bundles(bundle: Path, data: st.DataObject) -> None:
    path = bundle / ABOUT
    whole = path.read_bytes()
    drawn = data.draw(mutated(json.loads(whole)).map(dumped) | torn(whole))
    try:
        path.write_bytes(drawn)
        told(lambda: read_bundle(bundle), path)
    finally:
        path.write_bytes(whole)


@SEEDED
@given(mutated({"id": "e", "rule": "r", "members": ["a", "b"], "weights": [0.5, 0.5], "data": "d"}) | VALUES)
def test_ensembles_and_requests(tmp_path: Path, value: Any) -> None:
    for name, read in (
        ("ensemble.json", lambda: Ensemble.load(tmp_path / "ensemble.json")),
        ("extract.json", lambda: ExtractRequest.last(tmp_path, {})),
    ):
        (tmp_path / name).write_bytes(dumped(value))
        told(read, tmp_path / name)


READERS: dict[str, Callable[[Path], object]] = {
    "clips.json": load_table,
    "spec.json": lambda path: read_spec(path.parent),
    "predictions": Predictions.load,
    "head": Head.load,
}


@pytest.mark.parametrize("kind", READERS)
@settings(SEEDED, max_examples=50)
@given(data=st.data())
def test_stored_files(kept: dict[str, Path], tmp_path: Path, kind: str, data: st.DataObject) -> None:
    source = kept[kind]
    whole = source.read_bytes()
    drawn = torn(whole)
    if source.suffix == ".json":
        drawn = drawn | mutated(json.loads(whole)).map(dumped)
    path = tmp_path / source.parent.name / source.name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(data.draw(drawn))
    told(lambda: READERS[kind](path), path)


ANSWER = {
    "id": "a",
    "path": "a.wav",
    "PQ": 5.0,
    "bundle": "b",
    "windows": [{"start_s": 0.0}, {"start_s": 1.0}],
}


@SEEDED
@given(torn(dumped(ANSWER) + b"\n") | mutated(ANSWER).map(lambda value: dumped(value) + b"\n"), st.booleans())
def test_outputs_that_are_resumed(tmp_path: Path, data: bytes, as_csv: bool) -> None:
    path = tmp_path / "out"
    path.write_bytes(data)

    def resume() -> None:
        form = "csv" if as_csv else "jsonl"
        asked = [AudioRequest("a", "a.wav", Path("a.wav"))]
        with OutputFile(path, form, ("PQ",), asked, Settings(1.0, "", "b"), resume=True):
            pass

    told(resume, path)


@pytest.fixture(scope="module")
def journal(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """The lines of a study with one trial that was told and one that runs."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    path = tmp_path_factory.mktemp("sweep") / "sweep.journal"
    prepare(PLAN, str(path), path.parent)
    study = open_study(PLAN, str(path))
    trial = study.ask()
    suggest_cell(trial, PLAN.bases)
    trial.report(0.5, 1)
    study.tell(trial, 0.5)
    study.ask().set_user_attr(WORKER, "host 1 2")
    return list(SealedJournal(path).read_logs(0))


@SEEDED
@given(st.data())
def test_journals_of_sweeps(journal: list[dict[str, Any]], tmp_path: Path, data: st.DataObject) -> None:
    path = tmp_path / "sweep.journal"
    drawn = data.draw(mutated(journal) | st.lists(VALUES, max_size=3))
    lines = drawn if isinstance(drawn, list) else [drawn]
    text = b"".join(dumped(line) + b"\n" for line in lines)
    path.write_bytes(data.draw(st.just(text) | torn(text)))
    told(lambda: prepare(PLAN, str(path), tmp_path), path)


@SEEDED
@given(st.data())
def test_what_is_kept_of_runs_and_sweeps(tmp_path: Path, data: st.DataObject) -> None:
    for name, (value, read) in KEPT.items():
        (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / name).write_bytes(dumped(data.draw(mutated(value) | VALUES)))
        told(lambda name=name, read=read: read(tmp_path / name), tmp_path / name)  # type: ignore[misc]


TRIAL = {"number": 0, "state": "complete", "value": 0.5}
STUDY = {
    **{"study": "s", "objective": "pam:srcc", "reason": "", "first": TRIAL, "best": None, "trials": [TRIAL]},
    **{"difference": 0.1, "low": None, "high": None},
}
CONFIG = HeadConfig("data-000000000000", ("wavlm-0",), "mlp", "ut")
RECORD = {
    **{"run": CONFIG.id, "title": "t", "encoders": {"wavlm-0": {}}, "seconds": 1.0, "caveats": ["c"]},
    **{"curve": [{"number": 1, "train_loss": 1.0, "dev_loss": None}], "best_epoch": 1},
}
KEPT: dict[str, tuple[Any, Callable[[Path], object]]] = {
    "sweeps/study.json": (STUDY, read_study),
    "record.json": (RECORD, lambda path: Run(path.parent, CONFIG).record),
    "grids.json": (
        {"grids": [{"grid": "paper", "data": "d", "runs": ["r"]}]},
        lambda path: trained_grids(path.parent),
    ),
    "recipe.json": (
        {"data": "d", "rule": "all", "only": ["r"], "per_axis": False, "calibrate": False},
        lambda path: Choice.of(path.parent, "d"),
    ),
    "checksums.json": ({"a.csv": "0" * 64}, lambda path: noted(path.parent)),
    "clips.axes.json": ({"MOS": "Overall"}, lambda path: axes_beside(path.with_name("clips.csv"))),
}
"""File -> what may stand in it, and what reads it."""


@pytest.mark.parametrize("zipped", [True, False])
@settings(SEEDED, max_examples=60)
@given(data=st.data())
def test_files_of_weights(tmp_path: Path, zipped: bool, data: st.DataObject) -> None:
    path = tmp_path / "weights.pth"
    torch.save({"model": {"a": torch.zeros(3)}}, path, _use_new_zipfile_serialization=zipped)
    path.write_bytes(data.draw(torn(path.read_bytes())))
    told(lambda: read_state(path), path)
    told(lambda: read_names(path), path)


SONG = {"path": "a.wav", "annotation": [dict.fromkeys(SONGEVAL_AXES, 1), dict.fromkeys(SONGEVAL_AXES, 2)]}


@SEEDED
@given(mutated(SONG) | VALUES)
def test_records_of_published_sets(tmp_path: Path, value: Any) -> None:
    path = tmp_path / "metadata.jsonl"
    path.write_bytes(dumped(value))
    told(lambda: songeval(tmp_path), path)


@SEEDED
@given(torn(CSV) | torn(LINES), st.sampled_from(["csv", "jsonl", "json", "tsv"]))
def test_tables_of_ratings(tmp_path: Path, data: bytes, suffix: str) -> None:
    path = tmp_path / f"ratings.{suffix}"
    path.write_bytes(data)
    told(lambda: read_ratings(path), path)


@SEEDED
@given(VALUES)
def test_requests_to_the_page(value: Any) -> None:
    assert isinstance(address_in(value, "localhost"), str)
