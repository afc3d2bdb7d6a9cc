"""audiobox-aesthetics' own code against ours: audio files in, scores out, the same full-size random weights.

    pip install --no-deps audiobox_aesthetics torchaudio
    python -m tests.bench.audiobox [--quick] [--turns N] [--files N]

In turns, in one process, each loaded once: one 10 s file at a time, and all files in one call with their
default batch of 100.  Theirs is `AesPredictor.forward`, ours the scorer of `mmmos predict`.  Their reading of
files needs torchcodec, which torchaudio no longer brings: here libsndfile reads for both.  Both must give the
same scores on 16 kHz files; for other rates, where the resamplers differ, the largest difference is printed.
The arithmetic does not depend on the weights.  The last line is JSON: `speedup_vs_audiobox` for one file at a
time, `speedup_vs_audiobox_batch` for all at once, medians over the turns, and both in CPU time, which is
steadier where the machine does other things.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch

from mmmos import load_bundle
from mmmos.heads.scoring.scorer import Scorer

THEIR_BATCH = 100
AXES = ("CE", "CU", "PC", "PQ")
SCALES = {
    "CE": {"mean": 4.7, "std": 1.6},
    "CU": {"mean": 5.4, "std": 1.7},
    "PC": {"mean": 3.4, "std": 1.9},
    "PQ": {"mean": 6.9, "std": 1.3},
}
RATES_HZ = (8000, 11025, 22050, 24000, 32000, 44100, 48000, 96000)


def made_up(folder: Path, seed: int) -> Path:
    """The published layout, full size, with random numbers: written by their own class."""
    from audiobox_aesthetics.model.aes import AesMultiOutput

    torch.manual_seed(seed)
    model = AesMultiOutput(
        proj_num_layer=5, proj_ln=True, nth_layer=13, precision="bf16", target_transform=SCALES
    )
    for axis in AXES:
        torch.nn.init.normal_(model.layer_weights[axis])
    model.save_pretrained(folder)
    return folder


def their_predictor(folder: Path) -> Any:
    """Their predictor with the weights of `folder`, reading files by libsndfile."""
    import torchaudio
    from audiobox_aesthetics import infer

    def load(path: str, frame_offset: int = 0, num_frames: int = -1) -> tuple[torch.Tensor, int]:
        samples, rate_hz = soundfile.read(
            path, start=frame_offset, frames=num_frames, dtype="float32", always_2d=True
        )
        return torch.from_numpy(samples.T), rate_hz

    torchaudio.load = load
    published = infer.AesMultiOutput.from_pretrained
    infer.AesMultiOutput.from_pretrained = lambda name: published(folder)
    return infer.initialize_predictor()


def sound(rng: np.random.Generator, seconds: float, rate_hz: int, channels: int) -> np.ndarray:
    """Something with pitch, noise and pauses [n, channels]."""
    t = np.arange(round(seconds * rate_hz)) / rate_hz
    pitch = 2 * np.pi * rng.uniform(80, 400) * t + 2 * np.sin(2 * np.pi * rng.uniform(1, 4) * t)
    tone = sum(np.sin(k * pitch) / k for k in range(1, 8))
    noise = rng.standard_normal((len(t), channels))
    gate = np.clip(np.sin(2 * np.pi * rng.uniform(0.2, 1.5) * t) + 0.5, 0, 1)
    mixed = 0.1 * gate[:, None] * (tone[:, None] + rng.uniform(0.05, 1) * noise)
    return mixed.astype(np.float32)


def write_files(folder: Path, lengths_s: Sequence[float], rates_hz: Sequence[int]) -> list[str]:
    rng = np.random.default_rng(0)
    paths = []
    for number, (seconds, rate_hz) in enumerate(zip(lengths_s, rates_hz, strict=True)):
        path = folder / f"{number:03d}-{rate_hz}.wav"
        soundfile.write(path, sound(rng, seconds, rate_hz, 1 + number % 2), rate_hz, "PCM_16")
        paths.append(str(path))
    return paths


def theirs(predictor: Any, paths: Sequence[str], batch: int) -> np.ndarray:
    """Scores [N, 4] by their code, `batch` files a call."""
    rows = [{"path": path} for path in paths]
    found = [row for at in range(0, len(rows), batch) for row in predictor.forward(rows[at : at + batch])]
    return np.array([[row[axis] for axis in AXES] for row in found])


def ours(scorer: Scorer, paths: Sequence[str], batch: int) -> np.ndarray:
    """Scores [N, 4] by ours, `batch` files a call."""
    found = [row for at in range(0, len(paths), batch) for row in scorer.files(paths[at : at + batch])]
    return np.array([[row[axis] for axis in AXES] for row in found])


def in_turns(calls: Sequence[Callable[[], np.ndarray]], turns: int) -> tuple[np.ndarray, float]:
    """[turns, 2 calls, (wall, CPU)] seconds of calls that begin in turns; how far apart their results are."""
    seconds, apart = np.empty((turns, 2, 2)), 0.0
    for turn in range(turns):
        results: dict[int, np.ndarray] = {}
        for which in (0, 1) if turn % 2 else (1, 0):
            started = time.perf_counter(), time.process_time()
            results[which] = calls[which]()
            ended = time.perf_counter(), time.process_time()
            seconds[turn, which] = np.subtract(ended, started)
        apart = max(apart, float(np.abs(results[0] - results[1]).max()))
    return seconds, apart


def speedups(what: str, seconds: np.ndarray, files: int) -> dict[str, float]:
    """Print seconds [turns, 2 calls, (wall, CPU)] as times a file; the median ratios by their JSON keys."""
    per_file = np.median(seconds, axis=0) / files
    ratios = seconds[:, 0] / seconds[:, 1]
    print(f"{'all at once' if what else 'one at a time'}: theirs {per_file[0, 0]:.3f} s a file, ", end="")
    print(f"ours {per_file[1, 0]:.3f}; ratio of each turn (CPU): ", end="")
    print(" ".join(f"{wall:.3f} ({cpu:.3f})" for wall, cpu in ratios))
    wall, cpu = np.median(ratios, axis=0)
    return {f"speedup_vs_audiobox{what}": wall, f"speedup_vs_audiobox{what}_cpu": cpu}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="four files, two turns, two other rates")
    parser.add_argument("--turns", type=int)
    parser.add_argument("--files", type=int, help="10 s files in the call with all of them")
    parser.add_argument("--package", type=Path, help="folder with audiobox_aesthetics, where not installed")
    options = parser.parse_args()
    if options.package:
        sys.path.append(str(options.package))
    if importlib.util.find_spec("audiobox_aesthetics") is None:
        sys.exit("their code is not installed: pip install --no-deps audiobox_aesthetics")
    turns = options.turns or (2 if options.quick else 5)
    count = options.files or (4 if options.quick else 64)
    rates_hz = RATES_HZ[::5] if options.quick else RATES_HZ
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        weights = made_up(folder / "aes", 0)
        their, our = their_predictor(weights), load_bundle("audiobox", weights=weights)
        paths = write_files(folder, [10.0] * count, [16000] * count)
        theirs(their, paths[:1], 1)  # both warm up
        ours(our, paths[:1], 1)
        alone = paths[: min(count, 4)]
        single, apart = in_turns([lambda: theirs(their, alone, 1), lambda: ours(our, alone, 1)], turns)
        many, apart_many = in_turns(
            [lambda: theirs(their, paths, THEIR_BATCH), lambda: ours(our, paths, THEIR_BATCH)],
            max(1, turns // 2) if count > 16 else turns,
        )
        lengths_s = [4.2, 25.53] if options.quick else [4.2, 25.53, 0.3, 30.02]
        odd = write_files(folder, lengths_s, [16000] * len(lengths_s))
        apart_odd = float(np.abs(theirs(their, odd, 1) - ours(our, odd, 1)).max())
        other = write_files(folder, [12.5] * len(rates_hz), rates_hz)
        by_rate = np.abs(theirs(their, other, 1) - ours(our, other, 1)).max(axis=1)
        spread = float(theirs(their, alone, 1).std(axis=0).max())
    print(f"{torch.get_num_threads()} threads, {os.cpu_count()} CPUs, {turns} turns, {count} files")
    found = speedups("", single, len(alone)) | speedups("_batch", many, count)
    print(f"largest difference of the scores: {max(apart, apart_many):.1e}, other lengths {apart_odd:.1e}")
    print("other rates: " + ", ".join(f"{r} Hz {d:.1e}" for r, d in zip(rates_hz, by_rate, strict=True)))
    print(f"(between files the scores vary by {spread:.1e}: the weights are random)")
    found["largest_difference"] = max(apart, apart_many, apart_odd)
    found["largest_difference_other_rates"] = by_rate.max()
    print(json.dumps({name: round(float(value), 6) for name, value in found.items()}))


if __name__ == "__main__":
    main()
