"""Faults in everything else that is written: each file call of each writer x ENOSPC, EIO and kill -9.

Survived means: what is read afterwards is whole, the old or the new; the same command run again ends with the
new; and `store gc` leaves nothing beside it.
"""

from __future__ import annotations

import errno
import io
import itertools
import json
import os
import shutil
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from mmmos.extract import fetch_weights
from mmmos.extract.content import UNSETTLED_S
from mmmos.extract.encoders.locate import find_present
from mmmos.extract.encoders.published import Published
from mmmos.extract.encoders.weights import WeightsMissing
from mmmos.extract.survey import survey
from mmmos.extract.survey_cache import CACHE
from mmmos.heads.ensemble import Ensemble, from_weights
from mmmos.store import files, folders, index, noted, sealed
from mmmos.store.clips import ClipTable, load_table, save_table
from mmmos.store.features import FeatureStore
from mmmos.store.lines import read_lines
from mmmos.store.predictions import Predictions
from mmmos.store.schema import Clip, Crop
from mmmos.store.work_check import gc_work
from tests.extract.hub import Hub
from tests.faults.kinds import Bench, Injected
from tests.faults.work import Fault, children, failing, spec


@dataclass(frozen=True)
class Writer:
    """A command's writing in small: `write(folder, version)`, and what a reader then sees."""

    write: Callable[[Path, int], None]
    read: Callable[[Path], Any]


def _predictions(folder: Path, version: int) -> None:
    Predictions("run", "dev", ("a", "b"), np.full((2, 4), float(version))).save(folder / "p.parquet")


def _record(folder: Path, version: int) -> None:
    sealed.write_json(folder / "runs" / "r" / "record.json", {"version": version})


def _table(folder: Path, version: int) -> None:
    save_table(ClipTable((Clip("a", f"{version}.wav"),)), folder / "clips.json")


def _ensemble(folder: Path, version: int) -> None:
    from_weights("rule", {"a": 0.5, "b": 0.5}, f"data-{version}").save(folder / "ensemble.json")


def _export(folder: Path, version: int) -> None:
    with folders.replacing(folder / "bundle") as new:
        sealed.write_json(new / "bundle.json", {"version": version})
        for number in range(2 + version):
            files.write_atomic(new / "heads" / f"{version}-{number}.safetensors", bytes([version]))


def _read_export(folder: Path) -> Any:
    heads = sorted(path.name for path in (folder / "bundle" / "heads").iterdir())
    return sealed.read_json(folder / "bundle" / "bundle.json"), heads


def _added(folder: Path, version: int) -> None:
    if not (folder / "bundle").exists():
        _export(folder, 0)
    with folders.replacing(folder / "bundle", keep=True) as new:
        files.write_text(new / "README.md", f"card {version}")


def _report(folder: Path, version: int) -> None:
    with noted.noting(folder, "report.html"):
        files.write_text(folder / "report.html", f"<html>{version}" * 10_000)


def _read_report(folder: Path) -> Any:
    noted.check(folder / "report.html")
    return (folder / "report.html").read_text()


def _scores(folder: Path, version: int) -> None:
    files.write_csv(folder / "evaluation.csv", ("id", "value"), ((n, version) for n in range(1000)))


def _survey(folder: Path, version: int) -> None:
    """The corpus is shared and lies beside the folder; the cache is new or as it was."""
    corpus = load_table(folder.parent / "corpus" / "clips.json")
    table = replace(corpus, clips=corpus.clips[: 1 + version])
    save_table(
        survey(table, folder.parent / "corpus" / "audio", folder / CACHE, 1, quiet=True)[0],
        folder / "clips.json",
    )


def _read_survey(folder: Path) -> Any:
    lines = list(read_lines(folder / CACHE)) if (folder / CACHE).exists() else []
    return load_table(folder / "clips.json"), len(lines) > len(load_table(folder / "clips.json"))


def _index(folder: Path, version: int) -> None:
    """Shards of one crop each, and the cache that opening them writes."""
    index.CACHE_FROM = 2
    store = FeatureStore(folder, spec())
    shape = spec()
    for number in range(3 + version):
        crop = Crop(f"{number:032x}", 0, 0.0, 10.0)
        if crop.id not in store:
            frames = np.full((1, shape.frames, shape.frame_dim), number, np.float16)
            store.append([crop], frames, np.full((1, shape.layers, shape.dim), number, np.float32))
    FeatureStore(folder, spec())


def _read_index(folder: Path) -> Any:
    store = FeatureStore(folder, spec())
    ids = sorted(store.crop_ids())
    return ids, store.means(ids)[:, 0, 0].tolist() if ids else [], store.damaged


def _weights(folder: Path, version: int) -> None:
    """The zip of a release is fetched in several pieces, unpacked, and its checksum recorded."""
    os.environ["MMMOS_WEIGHTS"] = str(folder / "weights")
    fetch_weights.CHUNK_BYTES = 2048
    release = f"{(folder.parent / 'address').read_text()}/m{version}.zip"
    published = Published(f"m{version}", "m", ("*.pth",), "", "", "", release=release)
    if find_present(published, None) is None:
        fetch_weights.fetch(published)


def _read_weights(folder: Path) -> Any:
    home = folder / "weights"
    recorded = json.loads((home / "first-use.json").read_text())
    found = {path.name: path.read_bytes() for path in sorted(home.rglob("*.pth"))}
    whole = all(data == SERVED[f"/{name[:2]}.zip"] for name, data in found.items())
    return whole, sorted(found), sorted(recorded), [path.name for path in home.rglob("*.part")]


SERVED = {f"/m{version}.zip": bytes([version]) * 9000 for version in (0, 1)}


@contextmanager
def _release(folder: Path) -> Iterator[None]:
    """Serves zips with SERVED inside; where, stands in `folder`/address, for children too."""
    hub = Hub()
    for path, content in SERVED.items():
        sink = io.BytesIO()
        with zipfile.ZipFile(sink, "w") as archive:
            archive.writestr(f"{path[1:3]}/{path[1:3]}.pth", content)
        hub.files[path] = sink.getvalue()
    files.write_text(folder / "address", hub.url)
    try:
        yield
    finally:
        hub.close()


WRITERS = {
    "predictions": Writer(
        _predictions, lambda folder: Predictions.load(folder / "p.parquet").values.tolist()
    ),
    "record": Writer(_record, lambda folder: sealed.read_json(folder / "runs" / "r" / "record.json")),
    "table": Writer(_table, lambda folder: load_table(folder / "clips.json")),
    "ensemble": Writer(_ensemble, lambda folder: Ensemble.load(folder / "ensemble.json")),
    "export": Writer(_export, _read_export),
    "add_to_bundle": Writer(_added, lambda folder: (folder / "bundle" / "README.md").read_text()),
    "report": Writer(_report, _read_report),
    "scores": Writer(_scores, lambda folder: (folder / "evaluation.csv").read_text()),
    "survey": Writer(_survey, _read_survey),
    "index_cache": Writer(_index, _read_index),
    "weights": Writer(_weights, _read_weights),
}
"""What is written in a work folder beside features and sweeps."""


def write_failing(name: str, folder: Path, version: int, fault: Fault) -> list[str]:
    with failing(fault) as calls:
        WRITERS[name].write(folder, version)
    return calls


def writers(bench: Bench, every: int) -> Iterator[Injected]:
    """Each call (or each `every`-th) of each writer that replaces an old version by a new one."""
    corpus = bench.folder / "corpus"
    if not corpus.exists():
        shutil.copytree(bench.corpus.folder, corpus)
        time.sleep(UNSETTLED_S)  # what a survey finds in files that are still new is not remembered
    with _release(bench.folder):
        yield from _of_each_writer(bench, every)


def _of_each_writer(bench: Bench, every: int) -> Iterator[Injected]:
    for name, writer in WRITERS.items():
        folder, old, new = (bench.folder / part for part in ("spoiled", f"{name}-old", f"{name}-new"))
        writer.write(old, 0)
        shutil.copytree(old, new)
        calls = write_failing(name, new, 1, Fault(0, ""))
        wanted = {"old": writer.read(old), "new": writer.read(new)}
        for at, what in itertools.product(range(1, len(calls) + 1, every), ("ENOSPC", "EIO", "kill")):
            shutil.rmtree(folder, ignore_errors=True)
            shutil.copytree(old, folder)
            failure = _struck(name, folder, Fault(at, what)) or _judged(writer, folder, wanted, name)
            yield Injected(f"{name}_{what}", f"call {at}, {calls[at - 1]}", failure)


def _struck(name: str, folder: Path, fault: Fault) -> str:
    if fault.what == "kill":
        child = children.Process(target=write_failing, args=(name, folder, 1, fault))
        child.start()
        child.join()
        return "" if child.exitcode == -9 else f"the child ended with {child.exitcode}"
    try:
        write_failing(name, folder, 1, fault)
    except OSError as error:
        same = error.errno == getattr(errno, fault.what)
        return "" if same else f"another error came out: {error}"
    except (ValueError, WeightsMissing) as error:
        return "" if "injected" in str(error) else f"another error came out: {error}"
    return ""  # what only tidies up may fail unheard


def _judged(writer: Writer, folder: Path, wanted: dict[str, Any], name: str) -> str:
    try:
        seen = writer.read(folder)
    except (OSError, ValueError) as error:
        return f"cannot be read: {error}"
    between = name in ("index_cache", "survey", "weights")  # several files, each whole
    if not between and seen not in wanted.values():
        return f"neither old nor new: {seen!r:.200}"
    writer.write(folder, 1)
    if writer.read(folder) != wanted["new"]:
        return f"the same command again does not end with the new: {writer.read(folder)!r:.200}"
    gc_work(folder, min_age_s=0)
    left = [p.name for p in folder.rglob("*") if ".unfinished-" in p.name]
    return f"left behind: {left}" if left else ""
