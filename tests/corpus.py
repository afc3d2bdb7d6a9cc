"""A corpus of a few seconds to make: tones in noise, rated by how little noise there is."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

from mmmos.extract.audio import write_audio

RATE_HZ = 16000
SPLITS = ("train",) * 14 + ("dev",) * 5 + ("pam",) * 5 + ("test",) * 6


def small_corpus(folder: Path, *, with_split: bool = True, high: float = 10.0) -> Path:
    """Thirty clips of 2-12 s from three systems; PQ falls with the noise, PC is unrated on every third."""
    rng = np.random.default_rng(0)
    path = folder / "clips.csv"
    folder.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        columns = ["id", "path", "domain", "system", "group", *(["split"] if with_split else [])]
        writer.writerow([*columns, "CE", "CU", "PC", "PQ"])
        for number, split in enumerate(SPLITS):
            noise = rng.uniform()
            time_s = np.arange(int(rng.uniform(2, 12) * RATE_HZ)) / RATE_HZ
            wave = 0.3 * np.sin(2 * np.pi * rng.uniform(200, 800) * time_s)
            wave = (1 - noise) * wave + 0.2 * noise * rng.standard_normal(len(time_s))
            name = f"audio/c{number:02d}.wav"
            write_audio(folder / name, wave[:, None], RATE_HZ)
            score = high * (1 - noise)
            row = [
                f"c{number:02d}",
                name,
                "sound",
                f"s{number % 3}",
                f"g{number}",
                *([split] if with_split else []),
            ]
            pc = "" if number % 3 == 0 else f"{high / 2:.2f}" if number % 2 else f"{high / 3:.2f}"
            writer.writerow([*row, f"{score:.2f}", f"{score:.2f}", pc, f"{score:.2f}"])
    return path
