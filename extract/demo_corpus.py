"""The demonstration corpus: clips of known quality made of `demo_sounds`, rated by simulated listeners.

It stands in for a real corpus so that the whole pipeline can be run and tested anywhere.  It can be learned
from, but scores measured on it say nothing about real audio: every table made from it carries CAVEAT.

Shape, after the paper's data: every content item (a group) lies in one split only; train and test mix all
eight systems, dev holds the two that stand for real recordings, pam the six that stand for generators.
"""

from __future__ import annotations

import json
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import numpy as np

from mmmos.extract.audio import write_audio
from mmmos.extract.demo_sounds import (
    CONTENTS,
    DEGRADATIONS,
    MAX_LAYERS,
    Generator,
    Wave,
    add_hiss,
    content,
    unit,
)
from mmmos.store.files import write_csv
from mmmos.store.schema import AES_AXES

CAVEAT = "synthetic audio"

DOMAINS = tuple(CONTENTS)
REAL_SYSTEMS = {"studio": 0.0, "field": 0.2}
"""Name to typical severity of what is added: a little noise."""
GENERATED_SYSTEMS = {
    "dropouts": 0.3,
    "quantisation": 0.45,
    "reverb": 0.55,
    "clipping": 0.65,
    "band": 0.75,
    "noise": 0.85,
}
"""Each of the degradations as a system of its own, with its typical severity."""
SYSTEMS = REAL_SYSTEMS | GENERATED_SYSTEMS
SEVERITY_SPREAD = 0.15

SPLITS = {
    "train": (44, 2, tuple(SYSTEMS)),
    "dev": (16, 1, tuple(REAL_SYSTEMS)),
    "pam": (16, 1, tuple(GENERATED_SYSTEMS)),
    "test": (24, 2, tuple(SYSTEMS)),
}
"""Split: (content items, renderings of each, the systems that render them in turn).  168 clips in all."""

DURATION_S = (3.0, 23.0)
RATES_HZ = (24000, 24000, 24000, 32000, 44100)
"""None below 24 kHz: a file's rate must not look like a band limit."""
STEREO_SHARE = 0.25

RATERS = 10
RATER_BIAS, RATER_NOISE = 0.5, 0.8
"""Standard deviations, in points: of a rater's leniency, and of one rating about it."""


@dataclass(frozen=True)
class Rendering:
    """One clip to be made: a content item through a system, and its true scores in AES_AXES order."""

    id: str
    split: str
    domain: str
    group: str
    system: str
    layers: int
    severity: float
    latent: tuple[float, ...]

    @property
    def path(self) -> str:
        return f"audio/{self.id}.{'flac' if int(self.id[-3:]) % 2 else 'wav'}"


def synthesise(folder: Path, seed: int = 0, *, workers: int | None = None) -> Path:
    """Write `folder`/audio/* (16-bit WAV and FLAC, 24-44.1 kHz, mono and stereo) and `folder`/clips.csv.

    The same seed writes the same samples.

    Returns
    -------
    Path
        Of clips.csv; its columns _layers, _severity and _latent hold what no listener would know.
    """
    clips = renderings(seed)
    items = [list(item) for _, item in groupby(clips, key=lambda clip: clip.group)]
    with ThreadPoolExecutor(workers or os.cpu_count() or 1) as pool:
        list(pool.map(lambda number: _render(folder, items[number], seed, number), range(len(items))))
    ratings = simulate_ratings(np.array([clip.latent for clip in clips]), np.random.default_rng([seed, 1]))
    path = folder / "clips.csv"
    _write_table(path, clips, ratings)
    return path


def renderings(seed: int = 0) -> list[Rendering]:
    """The plan of the corpus: which content through which system in which split."""
    rng = np.random.default_rng([seed, 0])
    clips: list[Rendering] = []
    for split, (items, turns, systems) in SPLITS.items():
        for item in range(items):
            domain = DOMAINS[item % len(DOMAINS)]
            layers = int(rng.integers(1, MAX_LAYERS + 1))
            for turn in range(turns):
                # An item meets systems far apart; over the items every system has its share of each domain.
                system = systems[(item + turn * len(systems) // turns + item // len(systems)) % len(systems)]
                severity = float(np.clip(SYSTEMS[system] + rng.normal(0, SEVERITY_SPREAD), 0, 1))
                clips.append(
                    Rendering(
                        id=f"{split}-{len(clips):03d}",
                        split=split,
                        domain=domain,
                        group=f"{split}-item-{item:02d}",
                        system=system,
                        layers=layers,
                        severity=severity,
                        latent=latent_scores(domain, layers, severity),
                    )
                )
    return clips


def latent_scores(domain: str, layers: int, severity: float) -> tuple[float, ...]:
    """The true scores of a clip, 1-10, in AES_AXES order.

    Complexity follows the layers, quality the severity, enjoyment and usefulness both; the domain shifts all
    of them a little.
    """
    richness = (layers - 1) / (MAX_LAYERS - 1)
    music, sound = domain == "music", domain == "sound"
    complexity = 2.0 + 5.0 * richness + 1.0 * music
    quality = 9.0 - 7.0 * severity + 0.3 * music - 0.3 * sound
    enjoyment = 0.5 + 0.65 * quality + 0.25 * complexity + 0.5 * music - 0.5 * sound
    usefulness = 1.0 + 0.75 * quality + 0.1 * complexity - 0.5 * sound
    return tuple(float(np.clip(value, 1.0, 10.0)) for value in (enjoyment, usefulness, complexity, quality))


def simulate_ratings(latent: np.ndarray, rng: Generator) -> np.ndarray:
    """Latent scores [N, A] to whole ratings 1-10 [N, A, RATERS] by listeners of constant leniency."""
    bias = rng.normal(0, RATER_BIAS, RATERS)
    heard = latent[:, :, None] + bias + rng.normal(0, RATER_NOISE, (*latent.shape, RATERS))
    return np.clip(np.rint(heard), 1, 10).astype(int)


def degrade(wave: Wave, system: str, severity: float, rng: Generator, rate_hz: int) -> Wave:
    """A system's rendering of clean content: [samples]; the real ones add a little noise."""
    spoil = DEGRADATIONS["noise" if system in REAL_SYSTEMS else system]
    return add_hiss(spoil(wave, severity, rng, rate_hz), severity, rng, rate_hz)


def _render(folder: Path, clips: list[Rendering], seed: int, number: int) -> None:
    """Write one content item through each of its systems."""
    rng = np.random.default_rng([seed, 2, number])
    rate_hz = int(rng.choice(RATES_HZ))
    low_s, high_s = DURATION_S
    samples = round(low_s * (high_s / low_s) ** (rng.uniform() ** 1.5) * rate_hz)
    clean = content(clips[0].domain, clips[0].layers, rng, samples, rate_hz)
    stereo = rng.uniform() < STEREO_SHARE
    level = 10 ** (rng.uniform(-25, -22) / 20)
    for clip in clips:
        wave = unit(degrade(clean, clip.system, clip.severity, rng, rate_hz))
        wave *= min(level, 0.99 / max(float(np.abs(wave).max()), 1e-9))
        frames = np.outer(wave, rng.uniform(0.7, 1.0, 2)) if stereo else wave[:, None]
        write_audio(folder / clip.path, frames, rate_hz)


def _write_table(path: Path, clips: list[Rendering], ratings: np.ndarray) -> None:
    columns = ["id", "path", "domain", "source", "system", "group", "split", *AES_AXES]
    columns += [*(f"{axis}_ratings" for axis in AES_AXES), "_layers", "_severity", "_latent"]
    rows = (
        [
            *(clip.id, clip.path, clip.domain, CAVEAT, clip.system, clip.group, clip.split),
            *(f"{value:.1f}" for value in rated.mean(axis=1)),
            *(json.dumps(row.tolist()) for row in rated),
            *(clip.layers, f"{clip.severity:.4f}", json.dumps([round(value, 4) for value in clip.latent])),
        ]
        for clip, rated in zip(clips, ratings, strict=True)
    )
    write_csv(path, columns, rows)
