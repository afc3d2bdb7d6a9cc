"""What a large table and a large list cost beside their audio; parts of `python -m tests.bench.scale`.

1. A clip table of a million rows (CSV), read with its audio root and planned against empty stores of three
   encoders: seconds, and the most memory that the process held at any time for it, in bytes a clip.
2. One part of 64 of a table of ten million rows, as CSV and as Parquet: read and planned in the same way.
3. Two thousand files of two seconds, scored by the paper's eight-member ensemble behind simulated encoders
   with the shapes of the full-size ones, which take 20 ms a window: milliseconds a file beside the encoders,
   as the processor time of the thread that runs heads and makes answers, less what the simulated encoders
   take of it (others decode while encoders run), and in wall time, which other work on the machine lengthens.

Nothing is said of audio: the tables' files do not exist, and their lengths are made up.
"""

from __future__ import annotations

import gc
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mmmos.extract.audio import AUDIO_RECIPE, write_audio
from mmmos.extract.audio_info import Samples
from mmmos.extract.compute import Compute
from mmmos.extract.encoders import Encoder
from mmmos.extract.front import Front
from mmmos.extract.tasks import plan
from mmmos.heads.scoring.requests import list_requests
from mmmos.heads.scoring.scorer import Scorer
from mmmos.store.clips import ClipTable, read_clips
from mmmos.store.features import FeatureStore
from mmmos.store.parts import WHOLE, Part
from mmmos.store.schema import EncoderSpec
from tests.bench.predict import bundle_of

PARTS = 64
ENCODER_S = 0.02
SHAPES = {"wavlm": (16000, 50.0, 499, 768, 13), "muq": (24000, 25.0, 250, 1024, 13),
          "m2d": (16000, 6.25, 62, 3840, 12)}  # fmt: skip
"""Rate, frame rate, frames, width and layers of the full-size encoders."""


def write_table(path: Path, rows: int) -> None:
    """Ids, paths, words and scores as tables have them; Parquet from the CSV beside it."""
    if path.suffix == ".parquet":
        import pyarrow.csv
        import pyarrow.parquet

        batches = pyarrow.csv.open_csv(path.with_suffix(".csv"))
        with pyarrow.parquet.ParquetWriter(path, batches.schema) as writer:
            for batch in batches:
                writer.write_batch(batch)
        return
    with path.open("w", encoding="utf-8") as file:
        file.write("id,path,domain,system,split,CE,CU,PC,PQ\n")
        for n in range(rows):
            file.write(
                f"clip-{n:08d},audio/{n // 1000:05d}/clip-{n:08d}.flac,music,system-{n % 50},train,"
                f"{n % 90 / 10 + 1:.1f},5.5,3.2,7.1\n"
            )


def specs() -> list[EncoderSpec]:
    return [
        EncoderSpec(name, "none", "random:0", "full", "mean", rate_hz, frame_rate_hz, frames, dim, layers,
                    "fp32", 1, AUDIO_RECIPE)
        for name, (rate_hz, frame_rate_hz, frames, dim, layers) in SHAPES.items()
    ]  # fmt: skip


def memory_bytes(name: str) -> int:
    """Of this process: "VmRSS", what it holds now, or "VmHWM", the most that it held at once (Linux)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(name))


def count_anew() -> int:
    """What this process holds now; from now on "VmHWM" is the most since then, not since its start.

    The peak that getrusage gives cannot be set back, and a process begins with that of the one that made it.
    """
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5")
    return memory_bytes("VmRSS")


def read_and_plan(path: Path, part: Part) -> dict[str, float]:
    """Seconds and peak memory of one process that plans a table, or a part of one."""
    import pyarrow.parquet  # noqa: F401 - loaded before memory is counted

    stores = [FeatureStore(path.parent / "features", spec) for spec in specs()]
    before = count_anew()
    started_s = time.perf_counter()
    table = read_clips(path, audio_root=path.parent, part=part)
    read_s = time.perf_counter() - started_s
    # What a survey would add: a content id and a length for each clip.
    clips = tuple(replace(c, audio=f"{n:048x}", duration_s=10.0) for n, c in enumerate(table.clips))
    del table
    surveyed = ClipTable(clips)
    started_s = time.perf_counter()
    crops, tasks = plan(surveyed, stores)
    plan_s = time.perf_counter() - started_s
    assert crops == len(tasks) == len(clips)
    held = memory_bytes("VmHWM") - before
    return {
        "clips": crops,
        "read_s": read_s,
        "plan_s": plan_s,
        "held_mb": held / 1e6,
        "clip_bytes": held / crops,
    }


def tables(folder: Path, rows: int, many: int) -> dict[str, float]:
    """Figures 1 and 2, each in a process of its own."""
    found: dict[str, float] = {}
    with ProcessPoolExecutor(1, mp_context=get_context("spawn"), max_tasks_per_child=1) as pool:
        write_table(folder / "rows.csv", rows)
        whole = pool.submit(read_and_plan, folder / "rows.csv", WHOLE).result()
        found |= {f"table_{name}": value for name, value in whole.items()}
        found["read_plan_s"] = whole["read_s"] + whole["plan_s"]
        for suffix in ("csv", "parquet"):
            write_table(folder / f"many.{suffix}", many)
            one = pool.submit(read_and_plan, folder / f"many.{suffix}", Part(3, PARTS)).result()
            found[f"part_{suffix}_s"] = one["read_s"] + one["plan_s"]
            found[f"part_{suffix}_mb"] = one["held_mb"]
    return {**found, "part_of_rows": many}


class Slow(Encoder):
    """Noise of the spec's shape, its share of ENCODER_S after it was asked for; on the CPU."""

    def __init__(self, spec: EncoderSpec) -> None:
        self.spec, self.device = spec, torch.device("cpu")
        noise = torch.Generator().manual_seed(0)
        self.spent_s = 0.0
        self.frames = torch.randn(1, spec.frames, spec.frame_dim, generator=noise).half()
        self.means = torch.randn(1, spec.layers, spec.dim, generator=noise)

    def encode(self, waves: Sequence[Samples | Tensor], valid_s: Sequence[float]) -> tuple[Tensor, Tensor]:
        started_s = time.thread_time()
        time.sleep(ENCODER_S / len(SHAPES) * len(waves))
        encoded = self.frames.expand(len(waves), -1, -1), self.means.expand(len(waves), -1, -1)
        self.spent_s += time.thread_time() - started_s
        return encoded

    def upload(self, rows: Sequence[np.ndarray]) -> Tensor:
        return torch.stack([torch.from_numpy(row) for row in rows])


def short_files(folder: Path, files: int) -> dict[str, float]:
    """Figure 3."""
    rng = np.random.default_rng(0)
    for number in range(files):
        write_audio(folder / f"{number:05d}.wav", 0.1 * rng.standard_normal((2 * 44100, 2)), 44100)
    encoders = [Slow(spec) for spec in specs()]
    scorer = Scorer(bundle_of({one.spec.name: one.spec for one in encoders}), Front(encoders, Compute("cpu")))
    requests = list_requests([str(folder)])
    list(scorer.stream(requests[:20]))
    clocks = (time.thread_time, time.perf_counter, time.process_time)
    before_s, started = sum(one.spent_s for one in encoders), [clock() for clock in clocks]
    answers = list(scorer.stream(requests))
    own_s, wall_s, cpu_s = (clock() - start for clock, start in zip(clocks, started, strict=True))
    own_s -= sum(one.spent_s for one in encoders) - before_s
    assert not any("error" in answer for answer in answers)
    return {
        "short_files": files,
        "short_file_ms": 1e3 * own_s / files,
        "short_file_wall_ms": 1e3 * (wall_s / files - ENCODER_S),
        "short_file_cpu_ms": 1e3 * cpu_s / files,
    }


def growth(*, quick: bool) -> dict[str, Any]:
    rows, many, files = (20_000, 200_000, 200) if quick else (1_000_000, 10_000_000, 2_000)
    with tempfile.TemporaryDirectory() as folder:
        found = tables(Path(folder), rows, many)
    with tempfile.TemporaryDirectory() as folder:
        return found | short_files(Path(folder), files)
