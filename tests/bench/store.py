"""How fast the feature store is, in turns with the plainest alternative, in one run.

    python -m tests.bench.store [--quick] [--folder DIR]

Reading: random batches of 32 crops of the three real shapes, as fractions of the speed of numpy.memmap
over one raw file on one thread; `warm_2` is two threads that each read their own batches, as loaders do,
and `machine_2` is memmap itself on two threads: what the machine's memory allows for.
Writing: against writing and syncing the same bytes raw.  Cold: both out of the page cache.
Everything is done in turns; warm figures are from each one's fastest turn, cold ones from the median.
Ends with one JSON line.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import psutil

from mmmos.store.features import FeatureStore
from mmmos.store.index import CACHE_FILE
from mmmos.store.schema import Crop, EncoderSpec

SHAPES = {"wavlm": (499, 768, 13), "muq": (250, 1024, 13), "m2d": (62, 3840, 12)}
GOALS = {"warm_1": 0.5, "warm_2": 0.9, "cold": 0.9, "write": 0.5}
BATCH = 32
SHARD = 256


def spec_of(name: str, frames: int, dim: int, layers: int) -> EncoderSpec:
    rate = frames / 10
    return EncoderSpec(
        name, "none", "none", "full", "mean", 16000, rate, frames, dim, layers, "fp32", 1, "bench"
    )


def crops_of(count: int) -> list[Crop]:
    return [Crop(f"{number:032x}", 0, 0.0, 10.0) for number in range(count)]


def timed(action: Callable[[], object]) -> float:
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def write_raw(path: Path, *arrays: np.ndarray) -> None:
    with path.open("xb") as file:
        for array in arrays:
            file.write(array.data)
        file.flush()
        os.fsync(file.fileno())


def write_both(folder: Path, name: str, count: int) -> tuple[FeatureStore, Path, float, float]:
    """The same features as a store and as one raw file of frames; seconds spent on store and raw shards."""
    rng = np.random.default_rng(0)
    spec = spec_of(name, *SHAPES[name])
    store, crops = FeatureStore(folder, spec), crops_of(count)
    frames = rng.normal(size=(SHARD, spec.frames, spec.dim)).astype(np.float16)
    means = rng.normal(size=(SHARD, spec.layers, spec.dim)).astype(np.float32)
    raw_all = folder / f"{name}.raw"
    spent = {"store": 0.0, "raw": 0.0}
    for number, start in enumerate(range(0, count, SHARD)):
        part = crops[start : start + SHARD]
        some_frames, some_means = frames[: len(part)], means[: len(part)]
        some_frames[:, 0, 0] = np.arange(start, start + len(part)) % 2048
        raw = folder / f"{name}-{number}.raw"
        turns = [
            ("store", lambda p=part, f=some_frames, m=some_means: store.append(p, f, m)),
            ("raw", lambda r=raw, f=some_frames, m=some_means: write_raw(r, f, m)),
        ]
        for what, action in turns if number % 2 else turns[::-1]:
            spent[what] += timed(action)
        raw.unlink()
        with raw_all.open("ab") as file:
            file.write(some_frames.data)
    os.sync()
    return store, raw_all, spent["store"], spent["raw"]


def forget(paths: list[Path]) -> None:
    """Drop these files from the page cache."""
    for path in paths:
        fd = os.open(path, os.O_RDONLY)
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(fd)


def read_both(store: FeatureStore, raw: Path, count: int, batches: int, cold: bool) -> dict[str, float]:
    """Seconds a batch of each way, "memmap" or "store" on 1 or 2 threads: the least warm, the median cold."""
    shape, ids = (count, store.spec.frames, store.spec.dim), [crop.id for crop in crops_of(count)]
    rng = np.random.default_rng(1)
    files = [raw, *store.folder.glob("*.h5")]
    pool = ThreadPoolExecutor(2)
    memmap = np.memmap(raw, np.float16, "r", shape=shape)

    # Both give a new array for each batch, as training gets it: clearing its pages is part of the time.
    def copy(rows: np.ndarray) -> np.ndarray:
        return np.asarray(memmap[rows])

    def read(rows: np.ndarray) -> np.ndarray:
        return store.frames([ids[row] for row in rows])[0]

    turns = [(name, way, threads) for name, way in (("memmap", copy), ("store", read)) for threads in (1, 2)]
    spent: dict[str, list[float]] = {f"{name}_{threads}": [] for name, _, threads in turns}
    for number in range(batches):
        rows, first = rng.integers(count, size=(2, BATCH)), number % len(turns)
        for name, way, threads in turns[first:] + turns[:first]:
            if cold:
                del memmap  # mapped pages do not leave the cache
                forget(files)
                memmap = np.memmap(raw, np.float16, "r", shape=shape)
            each = map if threads == 1 else pool.map
            started = time.perf_counter()
            for _ in each(way, rows[:threads]):
                pass
            spent[f"{name}_{threads}"].append((time.perf_counter() - started) / threads)
    pool.shutdown()
    if not np.array_equal(copy(rows[0]), read(rows[0])):
        raise SystemExit("memmap and store disagree")
    # The fastest warm turn, because the others also measure what else the machine was doing.
    typical = statistics.median if cold else min
    return {turn: typical(seconds) for turn, seconds in spent.items()}


def open_many(folder: Path, count: int) -> tuple[float, float]:
    """Seconds to open a store of `count` tiny crops: without, then with its index cache (best of three)."""
    spec = spec_of("tiny", 2, 2, 1)
    store, crops = FeatureStore(folder, spec), crops_of(count)
    for start in range(0, count, SHARD):
        part = crops[start : start + SHARD]
        store.append(part, np.zeros((len(part), 2, 2), np.float16), np.zeros((len(part), 1, 2), np.float32))
    (store.folder / CACHE_FILE).unlink(missing_ok=True)
    first = timed(lambda: FeatureStore.open(store.folder))
    again = min(timed(lambda: FeatureStore.open(store.folder)) for _ in range(3))
    if len(FeatureStore.open(store.folder)) != count:
        raise SystemExit("the store does not hold what was written")
    return first, again


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="fewer crops and batches, under a minute")
    parser.add_argument("--folder", type=Path, help="on which disk to work (default: the system's)")
    options = parser.parse_args()
    count, warm, cold = (256, 24, 6) if options.quick else (2000, 60, 15)
    folder = Path(tempfile.mkdtemp(prefix="bench-store-", dir=options.folder))
    totals: dict[str, float] = {}
    growth_mb = 0.0
    try:
        for name in SHAPES:
            store, raw, store_s, raw_s = write_both(folder, name, count)
            read_both(store, raw, count, 3, cold=False)  # fills the page cache
            before = psutil.Process().memory_info().rss
            warm_s = read_both(store, raw, count, warm, cold=False)
            growth_mb = max(
                growth_mb, (psutil.Process().memory_info().rss - before - raw.stat().st_size) / 1e6
            )
            cold_s = read_both(store, raw, count, cold, cold=True)
            found = {"write_store": store_s, "write_raw": raw_s}
            found |= {f"warm_{k}": v for k, v in warm_s.items()} | {f"cold_{k}": v for k, v in cold_s.items()}
            print(name, {k: round(v, 4) for k, v in found.items()}, flush=True)
            totals = {key: totals.get(key, 0.0) + value for key, value in found.items()}
            shutil.rmtree(store.folder)
            raw.unlink()
        first_s, again_s = open_many(folder, 100_000)
    finally:
        shutil.rmtree(folder)
    figures = {
        "warm_1": totals["warm_memmap_1"] / totals["warm_store_1"],
        "warm_2": totals["warm_memmap_1"] / totals["warm_store_2"],
        "machine_2": totals["warm_memmap_1"] / totals["warm_memmap_2"],
        "cold": totals["cold_memmap_1"] / totals["cold_store_1"],
        "write": totals["write_raw"] / totals["write_store"],
    }
    for key, value in figures.items():
        print(f"{key:8s} {value:.2f}  " + (f"(goal {GOALS[key]})" if key in GOALS else ""))
    print(f"opening 100,000 crops: {again_s:.3f} s, the first time {first_s:.3f} s  (goal 1 s)")
    figures |= {"open_100k_s": again_s, "open_100k_first_s": first_s, "rss_growth_mb": max(growth_mb, 0.0)}
    print(json.dumps({key: round(value, 3) for key, value in figures.items()} | {"quick": options.quick}))


if __name__ == "__main__":
    main()
