"""What extraction costs beside the encoders: decoding, resampling, summarising, storing.

    python -m tests.bench.extraction [--quick] [--crops N]

Encodes 10 s crops of a 44.1 kHz stereo FLAC file with full-size WavLM, MuQ and M2D (random weights; the
arithmetic does not depend on them), in turns with the encoders alone on the same waves in memory.  Wall time
is what a user waits for; CPU time is steadier on a machine that does other things, too.  --quick takes
logmel and the tiny networks, where the encoders cost next to nothing and the overhead is most of it.
Ends with one JSON line: `overhead` and `overhead_cpu` (fractions of the encoders' own time), and
`read_s` and `write_s`, the seconds per crop that reading and storing take by themselves.
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from mmmos.extract.audio import AUDIO_RECIPE, write_audio
from mmmos.extract.decoding import read_crop, survey_file
from mmmos.extract.encoders import Encoder, load_encoder
from mmmos.extract.extraction import extract
from mmmos.store.clips import ClipTable
from mmmos.store.crops import crops_of
from mmmos.store.features import FeatureStore
from mmmos.store.schema import Clip

NAMES = ("wavlm", "muq", "m2d")


def timed(work: Callable[[], object]) -> np.ndarray:
    """[wall, CPU] seconds of one call."""

    def cpu_s() -> float:
        used = resource.getrusage(resource.RUSAGE_SELF)
        return used.ru_utime + used.ru_stime

    wall, cpu = time.perf_counter(), cpu_s()
    work()
    return np.array([time.perf_counter() - wall, cpu_s() - cpu])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--crops", type=int, help="crops per turn (default 4; 32 with --quick)")
    arguments = parser.parse_args()
    count = arguments.crops or (32 if arguments.quick else 4)
    names = ("logmel", *NAMES) if arguments.quick else NAMES
    size = "tiny" if arguments.quick else "full"
    encoders = [load_encoder(n, audio_recipe=AUDIO_RECIPE, random_seed=0, size=size) for n in names]
    with tempfile.TemporaryDirectory() as folder:
        measure(Path(folder), encoders, count, turns=3)


def measure(root: Path, encoders: list[Encoder], count: int, turns: int) -> None:
    noise = 0.1 * np.random.default_rng(0).standard_normal((441000 * count, 2))
    write_audio(root / "a.flac", noise, 44100)
    info = survey_file(root / "a.flac")
    clip = Clip("a", "a.flac", audio=info.audio, duration_s=info.duration_s)
    crops = crops_of(clip)
    rates_hz = {encoder.spec.sample_rate_hz for encoder in encoders}
    waves = [read_crop(root / "a.flac", crop, rates_hz) for crop in crops]

    def alone() -> None:
        for wave in waves:
            for encoder in encoders:
                encoder.hidden_states(torch.from_numpy(wave[encoder.spec.sample_rate_hz])[None])

    def whole() -> None:
        shutil.rmtree(root / "features", ignore_errors=True)
        extract(ClipTable((clip,)), root, encoders, root / "features", quiet=True)

    alone()
    spent = [(timed(alone), timed(whole)) for _ in range(turns)]
    overhead = np.median([ours / theirs - 1 for theirs, ours in spent], axis=0)
    read_s = timed(lambda: [read_crop(root / "a.flac", crop, rates_hz) for crop in crops])[0] / count
    write_s = sum(stored_s(root, encoder, waves[0]) for encoder in encoders)
    print(f"{count} crops, {turns} turns; encoders alone {spent[0][0][0] / count:.3f} s a crop")
    print(f"overhead: wall {overhead[0]:.1%}, CPU {overhead[1]:.1%}")
    print(f"read {read_s * 1e3:.1f} ms, write {write_s * 1e3:.1f} ms a crop")
    print(
        json.dumps(
            {
                "overhead": round(float(overhead[0]), 4),
                "overhead_cpu": round(float(overhead[1]), 4),
                "read_s": round(read_s, 5),
                "write_s": round(write_s, 5),
            }
        )
    )


def stored_s(root: Path, encoder: Encoder, wave: dict[int, np.ndarray], count: int = 64) -> float:
    """Seconds per crop that one shard of `count` crops takes to write."""
    frames, means = encoder.encode([wave[encoder.spec.sample_rate_hz]], [10.0])
    crops = [
        crop for i in range(count) for crop in crops_of(Clip("", "", audio=f"{i:032x}", duration_s=10.0))
    ]
    many, several = (np.repeat(part.numpy(), count, axis=0) for part in (frames.half(), means))
    store = FeatureStore(root / "written", encoder.spec)
    return float(timed(lambda: store.append(crops, many, several))[0]) / count


if __name__ == "__main__":
    main()
