"""The kinds of faults: each injects one after another and says which were survived.

Survived means: verify is clean afterwards, every acknowledged crop is there, everything visible is bit
for bit what an unbroken run stores, nothing is visible that was not acknowledged but for the one shard
whose commit was under way, and a resumed run ends with the very files of the unbroken one.
"""

from __future__ import annotations

import itertools
import shutil
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from mmmos.store.features import FeatureStore
from mmmos.store.maintenance import gc, verify
from mmmos.store.schema import EncoderSpec
from mmmos.store.shards import DamagedError
from tests.faults.work import (
    SHARD_CROPS,
    Corpus,
    Fault,
    acknowledged,
    kill_after,
    make_corpus,
    run_extract,
    spec,
    start,
)


@dataclass(frozen=True)
class Injected:
    """One fault; `failure` is "" where it was survived."""

    kind: str
    detail: str
    failure: str


class Bench:
    """A corpus, the result of its unbroken extraction, and a folder to spoil."""

    def __init__(self, folder: Path, clips: int, seed: int) -> None:
        self.folder, self.rng = folder, np.random.default_rng(seed)
        self.corpus: Corpus = make_corpus(folder / f"corpus-{clips}", clips, seed)
        self.spec: EncoderSpec = spec()
        self.whole = folder / f"whole-{clips}"
        self.features, self.acks = folder / "features", folder / "acks"
        run_extract(self.corpus, self.whole)
        began = time.monotonic()
        run_extract(self.corpus, self.features)
        self.unbroken_s = time.monotonic() - began
        self.reference = FeatureStore(self.whole, self.spec)

    @cached_property
    def files(self) -> dict[str, bytes]:
        """What an unbroken run leaves."""
        return contents(self.whole / self.spec.id)

    def clear(self) -> None:
        shutil.rmtree(self.features, ignore_errors=True)
        self.acks.unlink(missing_ok=True)

    def agrees(self, store: FeatureStore) -> bool:
        """Whether all that the store shows is what the unbroken run stored."""
        ids = store.crop_ids()
        ours, theirs = store.frames(ids), self.reference.frames(ids)
        return (
            np.array_equal(ours[0].view(np.uint16), theirs[0].view(np.uint16))
            and np.array_equal(ours[1], theirs[1])
            and np.array_equal(store.means(ids), self.reference.means(ids))
        )

    def after(self) -> str:
        """What is wrong with the folder as a fault left it."""
        folder = self.features / self.spec.id
        acked = acknowledged(self.acks)
        if not (folder / "spec.json").exists():
            return "acknowledged crops are gone" if acked else ""
        found = verify(folder, fraction=1.0)
        if found.outcome != "clean":
            return f"verify: {found.damaged}"
        store = FeatureStore(self.features, self.spec)
        shown = set(store.crop_ids())
        if acked - shown:
            return f"acknowledged crops are gone: {sorted(acked - shown)}"
        if len(shown - acked) > SHARD_CROPS:
            return f"{len(shown - acked)} crops are visible that were not acknowledged"
        return "" if self.agrees(store) else "crops are visible that differ from an unbroken run's"

    def resumed(self) -> str:
        """What is wrong once the extraction has been run again to its end."""
        run_extract(self.corpus, self.features)
        folder = self.features / self.spec.id
        gc(folder, min_age_s=0)
        return "" if contents(folder) == self.files else "the resumed run differs from an unbroken one"


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def kills(bench: Bench, count: int) -> Iterator[Injected]:
    """kill -9 at random moments of an extraction, up to three times before it may end.

    A child that had ended before the signal came does not count.
    """
    struck = 0
    while struck < count:
        bench.clear()
        failure, moments = "", []
        for _ in range(int(bench.rng.integers(1, 4))):
            delay_s = float(bench.rng.uniform(0, bench.unbroken_s))
            kept = FeatureStore(bench.features, bench.spec).crop_ids()
            bench.acks.unlink(missing_ok=True)
            killed = kill_after(start(bench.corpus, bench.features, bench.acks), bench.acks, delay_s)
            with bench.acks.open("a") as acks:  # what earlier runs stored stays acknowledged
                acks.write("".join(f"{crop_id}\n" for crop_id in kept))
            failure = failure or bench.after()
            if not killed or struck + len(moments) == count:
                break
            moments.append(f"after {delay_s:.3f} s, {len(acknowledged(bench.acks))} crops stored")
        failure = failure or bench.resumed()
        struck += len(moments)
        for moment in moments:
            yield Injected("kill", moment, failure)


def file_calls(bench: Bench, every: int) -> Iterator[Injected]:
    """Every file call of an extraction (or each `every`-th) x ENOSPC, EIO and kill -9."""
    bench.clear()
    calls = run_extract(bench.corpus, bench.features, None, SHARD_CROPS, Fault(0, ""))
    for at, what in itertools.product(range(1, len(calls) + 1, every), ("ENOSPC", "EIO", "kill")):
        bench.clear()
        arguments = (bench.corpus, bench.features, bench.acks, SHARD_CROPS, Fault(at, what))
        failure = ""
        if what == "kill":
            child = start(*arguments)
            child.join()
            failure = "" if child.exitcode == -9 else f"the child ended with {child.exitcode}"
        else:
            try:
                run_extract(*arguments)
                failure = "the error was swallowed"
            except OSError as error:
                failure = "" if f"injected {what}" in str(error) else f"another error came out: {error}"
        failure = failure or bench.after() or bench.resumed()
        yield Injected(f"call_{what}", f"call {at}, {calls[at - 1]}", failure)


def flips(bench: Bench, count: int) -> Iterator[Injected]:
    """Single flipped bits anywhere in the shards; each is found at read, by shard and crop."""
    for _ in range(count):
        name, whole, at = _spoil(bench)
        broken = bytearray(whole)
        broken[at] ^= 1 << int(bench.rng.integers(8))
        yield Injected(
            "flip", f"{name} byte {at}", _found(bench, name, bytes(broken), _row_at(bench, name, at))
        )


def truncations(bench: Bench, count: int) -> Iterator[Injected]:
    """Shards cut off at a random byte."""
    for _ in range(count):
        name, whole, at = _spoil(bench)
        yield Injected("truncate", f"{name} to {at} bytes", _found(bench, name, whole[:at], None))


def _spoil(bench: Bench) -> tuple[str, bytes, int]:
    """A fresh copy of the unbroken store; a shard of it, its bytes, and a place in it."""
    bench.clear()
    shutil.copytree(bench.whole, bench.features)
    names = sorted(name for name in bench.files if name.endswith(".h5"))
    name = names[int(bench.rng.integers(len(names)))]
    return name, bench.files[name], int(bench.rng.integers(len(bench.files[name])))


def _row_at(bench: Bench, name: str, at: int) -> str | None:
    """The crop that byte `at` of a shard belongs to, None for its head."""
    ids = bench.reference._index.ids[name]
    frame_bytes, mean_bytes = (
        bench.spec.frames * bench.spec.frame_dim * 2,
        bench.spec.layers * bench.spec.dim * 4,
    )
    at -= len(bench.files[name]) - len(ids) * (frame_bytes + mean_bytes)
    if at < 0:
        return None
    means_at = at - len(ids) * frame_bytes
    return ids[at // frame_bytes if means_at < 0 else means_at // mean_bytes]


def _found(bench: Bench, name: str, broken: bytes, crop_id: str | None) -> str:
    """Whether reading all crops finds the damage where it is, and only there."""
    folder = bench.features / bench.spec.id
    (folder / name).write_bytes(broken)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        store = FeatureStore(bench.features, bench.spec)
    complaints = dict(store.damaged)
    for one in bench.reference.crop_ids():
        for read, expected in ((store.frames, bench.reference.frames), (store.means, bench.reference.means)):
            try:
                if one in store and not np.array_equal(read([one])[0], expected([one])[0]):
                    return f"crop {one} was read wrong"
            except DamagedError as reason:
                complaints[one] = str(reason)
    if crop_id is None:
        return "" if list(complaints) == [name] else f"the shard was not set aside: {complaints}"
    named = list(complaints) == [crop_id] and name in complaints[crop_id] and crop_id in complaints[crop_id]
    return "" if named else f"crop {crop_id} of {name} was not named: {complaints}"


def races(bench: Bench, count: int) -> Iterator[Injected]:
    """Two extractions into one folder at once, with shards of different sizes."""
    for number in range(count):
        bench.clear()
        sizes = (SHARD_CROPS, 1 + int(bench.rng.integers(2 * SHARD_CROPS)))
        writers = [start(bench.corpus, bench.features, None, size) for size in sizes]
        for writer in writers:
            writer.join()
        failure = "" if all(writer.exitcode == 0 for writer in writers) else "a writer failed"
        if not failure:
            found = verify(bench.features / bench.spec.id, fraction=1.0, table=bench.corpus.table)
            whole = found.outcome == "clean" and not found.duplicates
            failure = (
                "" if whole and bench.agrees(FeatureStore(bench.features, bench.spec)) else f"left {found}"
            )
        yield Injected("race", f"{number}: shards of {sizes}", failure)


def readers(bench: Bench, count: int) -> Iterator[Injected]:
    """One who opens and reads everything again and again while an extraction writes."""
    for number in range(count):
        bench.clear()
        writer = start(bench.corpus, bench.features)
        failure, seen, looks = "", 0, 0
        held = FeatureStore(bench.features, bench.spec)
        while writer.is_alive() and not failure:
            held.refresh()
            for store in (held, FeatureStore(bench.features, bench.spec)):
                if len(store) < seen or store.damaged or not bench.agrees(store):
                    failure = f"look {looks}: {len(store)} crops after {seen}, {store.damaged}"
                seen, looks = max(seen, len(store)), looks + 1
        writer.join()
        yield Injected("reader", f"{number}: {looks} looks", failure or bench.resumed())


KINDS: dict[str, tuple[Callable[[Bench, int], Iterator[Injected]], int, int]] = {
    "kills": (kills, 200, 8),
    "file_calls": (file_calls, 1, 13),
    "flips": (flips, 200, 25),
    "truncations": (truncations, 50, 10),
    "races": (races, 20, 2),
    "readers": (readers, 10, 1),
}
"""Each kind with its number for the whole run and for the quick one (for file_calls: take each n-th)."""
