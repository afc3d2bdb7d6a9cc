"""What a second worker is worth, and what a million crops, rows and files cost beside their bytes.

    python -m tests.bench.scale [--quick]

1. Extraction by one worker process and by two, in turns, on clusters that are up and have loaded their
   encoder: full-size M2D with random weights (the arithmetic does not depend on them), one thread a worker.
2. A simulated store of a million crops, one number each, in shards of 64, on the disk of the temporary
   folder: listed, opened (first by the shards' heads, then by the index cache), asked what a table of a
   million crops is missing when every shard of the last tenth is gone, read in random batches of 32, and
   appended to, shard by shard (`append_1m_ms`; `append_empty_ms` in an empty store on
   the same disk).
3. Large tables, parts of them, and many short files: see `growth`.
4. A greedy choice among 1,000 runs by their predictions of 100,000 clips, which fill 4 GB.

--quick takes tiny M2D, 64,000 crops, and 100 runs of 10,000 clips; `crops` says how many the figures ending
in 1m_s are for.
Ends with one JSON line: `efficiency_2` = seconds of one worker / (2 x seconds of two), the median of turns;
`machine_2` is what the machine allows: the seconds that an encoder alone takes for waves in memory in one
process, divided by those that it takes while a second process does the same.
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
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mmmos.extract.audio import write_audio
from mmmos.extract.cluster import extract_on, machines
from mmmos.extract.compute import Compute
from mmmos.extract.extraction import SHARD_CROPS
from mmmos.extract.request import ExtractRequest, load_encoders
from mmmos.extract.survey import survey
from mmmos.extract.tasks import plan
from mmmos.heads.pool import Pool, agreement
from mmmos.heads.selectors import select
from mmmos.store import files, shards
from mmmos.store.clips import ClipTable
from mmmos.store.cluster import workers_of
from mmmos.store.crops import crops_of
from mmmos.store.features import FeatureStore
from mmmos.store.index import CACHE_FILE
from mmmos.store.schema import Clip, Crop, EncoderSpec
from mmmos.store.specs import write_spec
from tests.bench.growth import growth

BLOCKS = 8
CLIP_CROPS = 10
BATCH, BATCHES = 32, 200
APPENDS = 50


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    started_s = time.perf_counter()
    result = work()
    return time.perf_counter() - started_s, result


def encode_alone(request: ExtractRequest, crops: int) -> float:
    """Seconds for so many crops of noise, one at a time, once the encoder is loaded and warm."""
    (encoder,) = load_encoders(request, Compute("cpu"))
    wave = torch.from_numpy(np.random.default_rng(0).standard_normal((1, 160_000)).astype(np.float32))
    encoder.hidden_states(wave)
    return timed(lambda: [encoder.hidden_states(wave) for _ in range(crops)])[0]


def efficiency(folder: Path, size: str, block: int, turns: int) -> dict[str, float]:
    """Seconds by one and by two workers for 8 blocks, in turns."""
    rng = np.random.default_rng(0)
    clips = []
    for number in range(BLOCKS * block):
        write_audio(folder / f"{number}.wav", 0.1 * rng.standard_normal((160_000, 1)), 16_000)
        clips.append(Clip(f"c{number}", f"{number}.wav", split="train"))
    table = survey(ClipTable(tuple(clips)), folder, quiet=True)[0]
    request = ExtractRequest(folder / "none.csv", folder, encoders="m2d", random_weights=0, size=size)
    specs = tuple(encoder.spec for encoder in load_encoders(request, Compute("cpu")))
    seconds: dict[int, list[float]] = {1: [], 2: []}
    alone: dict[int, list[float]] = {1: [], 2: []}
    os.environ["OMP_NUM_THREADS"] = "1"
    with workers_of("local:1") as one, workers_of("local:2") as two:
        for turn in range(turns + 1):
            for count, workers in ((1, one), (2, two)):
                address = workers.client.scheduler.address
                with machines(address, Compute("cpu")) as there:
                    taken_s, done = timed(
                        lambda there=there: extract_on(
                            there, table, request, folder / "out", specs, shard_crops=block, quiet=True
                        )
                    )
                assert done.encoded == {"m2d": len(clips)}
                shutil.rmtree(folder / "out")
                if turn:  # the first turn loads the encoders
                    seconds[count].append(taken_s)
                    alone[count] += workers.each(encode_alone, [(request, len(clips) // 2)] * count)
    one_s, two_s = (statistics.median(seconds[count]) for count in (1, 2))
    return {
        "efficiency_2": one_s / (2 * two_s),
        "machine_2": statistics.median(alone[1]) / statistics.median(alone[2]),
        "workers_1_s": one_s,
        "workers_2_s": two_s,
        "crops": len(clips),
    }


def million(folder: Path, clips: int) -> dict[str, float]:
    """A store of 10 x clips crops: seconds to list, open, plan and sample."""
    table = ClipTable(
        tuple(
            Clip(f"c{n}", f"{n}.wav", split="train", audio=f"{n:032x}", duration_s=10.0 * CLIP_CROPS)
            for n in range(clips)
        )
    )
    spec = EncoderSpec(
        "tiny", "random", "random:0", "tiny", "mean", 16000, 0.1, 1, 1, 1, "fp32", 1, "simulated"
    )
    place = folder / spec.id
    files.make_folder(place)
    write_spec(place, spec)
    crop_ids = [crop.id for clip in table.clips for crop in crops_of(clip)]
    count = len(crop_ids)

    def write() -> list[Path]:
        made = []
        for start in range(0, count, SHARD_CROPS):
            some = crop_ids[start : start + SHARD_CROPS]
            values = np.arange(start, start + len(some), dtype=np.float32)
            rows = shards.CropFeatures(
                some,
                np.ones(len(some), "<i4"),
                (values % 2048).astype(np.float16)[:, None, None],
                values[:, None, None],
            )
            name, parts = shards.build(spec, shards.storable(spec, rows))
            # Not FeatureStore.append, which syncs each file: this is about the store that results.
            with (place / name).open("xb") as file:
                for part in parts:
                    file.write(part)
            made.append(place / name)
        return made

    write_s, made = timed(write)
    list_s, _ = timed(lambda: files.listing(place))
    first_s, _ = timed(lambda: FeatureStore(folder, spec))
    open_s, store = timed(lambda: FeatureStore(folder, spec))
    refresh_s, _ = timed(store.refresh)
    rng = np.random.default_rng(0)
    ids = [[crop_ids[n] for n in rng.integers(0, count, BATCH)] for _ in range(BATCHES)]
    cold_s, _ = timed(lambda: [store.means(batch) for batch in ids])
    warm_s, values = timed(lambda: [store.means(batch) for batch in ids])
    expected = [int(crop_id[:32], 16) * CLIP_CROPS + int(crop_id[33:]) for crop_id in ids[-1]]
    assert values[-1][:, 0, 0].tolist() == expected
    cache = (place / CACHE_FILE).stat().st_size
    more = [Crop(f"{clips + n:032x}", 0, 0.0, 10.0) for n in range(APPENDS)]
    append_ms = appended(store, more)
    empty_ms = appended(FeatureStore(folder / "empty", spec), more)
    gone = made[-(len(made) // 10) :]
    for path in gone:
        path.unlink()
    plan_s, (planned, tasks) = timed(lambda: plan(table, [store]))
    assert planned == count
    assert count - len(tasks) == SHARD_CROPS * (len(made) - len(gone))
    return {
        "crops": count,
        "shards": len(made),
        "write_1m_s": write_s,
        "list_1m_s": list_s,
        "first_open_1m_s": first_s,
        "open_1m_s": open_s,
        "refresh_1m_s": refresh_s,
        "plan_1m_s": plan_s,
        "append_1m_ms": append_ms,
        "append_empty_ms": empty_ms,
        "batch_first_ms": 1e3 * cold_s / BATCHES,
        "batch_ms": 1e3 * warm_s / BATCHES,
        "index_cache_mb": cache / 1e6,
    }


def greedy_selection(runs: int, clips: int) -> dict[str, float]:
    """Processor seconds of choosing greedily, in twenty rounds, among runs with out-of-fold predictions."""
    rng = np.random.default_rng(0)
    truth = rng.normal(5.5, 1.5, (clips, 4))
    predictions = {f"run-{n}": truth + rng.normal(0, 1.5, (clips, 4)) for n in range(runs)}
    scores = {"oof": {run: agreement(pred, truth) for run, pred in predictions.items()}}
    pool = Pool(scores, {"oof": predictions}, {"oof": truth})
    started_s = time.process_time()
    chosen = select("greedy:oof:20", pool)
    return {
        "greedy_runs": runs,
        "greedy_clips": clips,
        "greedy_s": time.process_time() - started_s,
        "greedy_members": len(chosen),
    }


def appended(store: FeatureStore, crops: list[Crop]) -> float:
    """Milliseconds, the median, of an append of one crop."""
    frames, means = np.zeros((1, 1, 1), np.float16), np.zeros((1, 1, 1), np.float32)
    return 1e3 * statistics.median(
        timed(lambda c=crop: store.append([c], frames, means))[0] for crop in crops
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true")
    quick = parser.parse_args().quick
    selection = greedy_selection(*((100, 10_000) if quick else (1_000, 100_000)))
    print("selection:", selection, flush=True)
    with tempfile.TemporaryDirectory() as folder:
        store = million(Path(folder), 6_400 if quick else 100_000)
        print("store:", {name: round(value, 3) for name, value in store.items()}, flush=True)
    with tempfile.TemporaryDirectory() as folder:
        scaling = efficiency(Path(folder), *(("tiny", 4, 1) if quick else ("full", 2, 3)))
        print("scaling:", {name: round(value, 3) for name, value in scaling.items()}, flush=True)
    scaling["crops_encoded"] = scaling.pop("crops")
    large = growth(quick=quick)
    print("growth:", {name: round(value, 3) for name, value in large.items()}, flush=True)
    print(
        json.dumps(
            {name: round(value, 4) for name, value in {**scaling, **store, **large, **selection}.items()}
        )
    )


if __name__ == "__main__":
    main()
