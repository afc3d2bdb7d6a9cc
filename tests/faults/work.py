"""A small real extraction that can be run, watched, failed and killed.

The corpus is noise, the encoder the weightless `logmel`; everything else is what users run.  Children
come from a fork server that has imported all of it, so that a kill costs no import.
"""

from __future__ import annotations

import errno
import fcntl
import multiprocessing
import os
import signal
import time
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mmmos.extract.audio import AUDIO_RECIPE, write_audio
from mmmos.extract.compute import Compute
from mmmos.extract.encoders import load_encoder
from mmmos.extract.extraction import extract
from mmmos.extract.survey import survey
from mmmos.store import files, folders
from mmmos.store.clips import ClipTable, load_table, save_table
from mmmos.store.features import FeatureStore
from mmmos.store.schema import Clip, Crop, EncoderSpec

SHARD_CROPS = 4
CALLS = (
    "open",
    "close",
    "write",
    "preadv",
    "fsync",
    "rename",
    "unlink",
    "mkdir",
    "rmdir",
    "scandir",
    "fstat",
)
CALLS += ("stat", "lseek")
"""The file calls of store/files.py and store/folders.py; fcntl.flock is counted with them."""

children = multiprocessing.get_context("forkserver")
children.set_forkserver_preload([__name__, "tests.faults.writes"])


@dataclass(frozen=True)
class Corpus:
    """Noise in `folder/audio`, surveyed into `folder/clips.json`."""

    folder: Path

    @property
    def table(self) -> ClipTable:
        return load_table(self.folder / "clips.json")


def make_corpus(folder: Path, clips: int, seed: int) -> Corpus:
    """`clips` clips of 2 to 19 s at 8 kHz; 1.5 crops each on average."""
    rng = np.random.default_rng(seed)
    for number in range(clips):
        seconds = float(rng.uniform(2, 19))
        noise = 0.1 * rng.standard_normal((round(seconds * 8000), 1))
        write_audio(folder / "audio" / f"{number}.flac", noise, 8000)
    table = ClipTable(tuple(Clip(f"c{number}", f"{number}.flac", split="train") for number in range(clips)))
    save_table(survey(table, folder / "audio", quiet=True)[0], folder / "clips.json")
    return Corpus(folder)


@dataclass(frozen=True)
class Fault:
    """At the `at`-th file call: an error number, or the end of the process; 0 only counts."""

    at: int
    what: str  # "ENOSPC", "EIO" or "kill"


def run_extract(
    corpus: Corpus,
    features: Path,
    acks: Path | None = None,
    shard_crops: int = SHARD_CROPS,
    fault: Fault | None = None,
) -> list[str]:
    """Extract with logmel; each crop that `append` returned for goes to `acks`.  Returns the file calls."""
    torch.set_num_threads(1)
    encoder = load_encoder("logmel", audio_recipe=AUDIO_RECIPE)
    table = corpus.table
    with _acknowledging(acks), failing(fault) as calls:
        extract(
            table,
            corpus.folder / "audio",
            [encoder],
            features,
            Compute(workers=1),
            shard_crops=shard_crops,
            quiet=True,
        )
    return calls


def spec() -> EncoderSpec:
    return load_encoder("logmel", audio_recipe=AUDIO_RECIPE).spec


def start(*arguments: Any) -> BaseProcess:
    """`run_extract` in a child."""
    child = children.Process(target=run_extract, args=arguments)
    child.start()
    return child


def kill_after(child: BaseProcess, acks: Path, delay_s: float) -> bool:
    """SIGKILL `delay_s` after the child began to work (the acks file exists); False if it had ended."""
    while not acks.exists() and child.is_alive():
        time.sleep(0.001)
    time.sleep(delay_s)
    child.kill()
    child.join()
    return child.exitcode == -signal.SIGKILL


@contextmanager
def _acknowledging(acks: Path | None) -> Iterator[None]:
    if acks is None:
        yield
        return
    append, fd = FeatureStore.append, os.open(acks, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def acknowledged(self: FeatureStore, crops: list[Crop], frames: np.ndarray, means: np.ndarray) -> Path:
        path = append(self, crops, frames, means)
        os.write(fd, "".join(f"{crop.id}\n" for crop in crops).encode())
        return path

    FeatureStore.append = acknowledged  # type: ignore[method-assign, assignment]
    try:
        yield
    finally:
        FeatureStore.append = append  # type: ignore[method-assign]
        os.close(fd)


def acknowledged(acks: Path) -> set[str]:
    return set(acks.read_text().split()) if acks.exists() else set()


@contextmanager
def failing(fault: Fault | None) -> Iterator[list[str]]:
    """Count the file calls of store/files.py, and make one of them fail."""
    calls: list[str] = []

    def counted(name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            calls.append(name)
            if fault and len(calls) == fault.at:
                _strike(fault, name, call, args)
            return call(*args, **kwargs)

        return wrapper

    faulty_os = types.SimpleNamespace(**vars(os))
    for name in CALLS:
        setattr(faulty_os, name, counted(name, getattr(os, name)))
    faulty_fcntl = types.SimpleNamespace(**vars(fcntl))
    faulty_fcntl.flock = counted("flock", fcntl.flock)
    real = files.os, files.fcntl
    for module in (files, folders):
        module.os, module.fcntl = faulty_os, faulty_fcntl  # type: ignore[attr-defined]
    try:
        yield calls
    finally:
        for module in (files, folders):
            module.os, module.fcntl = real  # type: ignore[attr-defined]


def _strike(fault: Fault, name: str, call: Callable[..., Any], args: tuple[Any, ...]) -> None:
    if name == "write":  # a torn write: half of it reaches the file
        call(args[0], memoryview(args[1])[: len(args[1]) // 2])
    if fault.what == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if name == "close":  # the kernel has let go of the file all the same
        call(*args)
    raise OSError(getattr(errno, fault.what), f"injected {fault.what} at {name}")
