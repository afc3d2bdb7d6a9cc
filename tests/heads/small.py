"""A work folder small enough for tests: clips with random features in which scores can be found."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mmmos.store.clips import DEFAULT_SCALE, ClipTable, save_table
from mmmos.store.crops import crops_of
from mmmos.store.features import FeatureStore
from mmmos.store.schema import AES_AXES, Axes, Clip, EncoderSpec, Scale

SPLIT_CYCLE = ("train", "train", "train", "dev", "pam", "test")


def spec(
    name: str, frame_rate_hz: float = 25.0, dim: int = 6, layers: int = 3, layer: str = "mean"
) -> EncoderSpec:
    frames = int(10 * frame_rate_hz) - (frame_rate_hz == 50.0)
    return EncoderSpec(
        name,
        "random",
        "random:0",
        "tiny",
        layer,
        16000,
        frame_rate_hz,
        frames,
        dim,
        layers,
        "fp32",
        1,
        "test",
    )


WAVLM = spec("wavlm", 50.0, 8)
MUQ = spec("muq", 25.0, 6)
M2D = spec("m2d", 6.25, 10, 2)


def clips(
    count: int,
    rng: np.random.Generator,
    axes: int = len(AES_AXES.names),
    ratings: bool = False,
    names: tuple[str, ...] = AES_AXES.names,
) -> list[Clip]:
    """Clips of 1.5 to 24 s in the splits of SPLIT_CYCLE, five systems, groups of two.

    The first `axes` of the axes `names` are rated.
    """
    made = []
    for n in range(count):
        scores = [float(x) for x in np.clip(rng.normal(5.5, 1.5, len(names)), 1, 10)]
        single = [[float(x) for x in np.clip(np.round(s + rng.normal(0, 1, 5)), 1, 10)] for s in scores]
        rated = [n_axis < axes for n_axis in range(len(names))]
        made.append(
            Clip(
                id=f"clip{n:04d}",
                path=f"{n}.wav",
                domain=("speech", "music", "sound")[n % 3],
                system=f"s{n % 5}",
                group=f"g{n // 2}",
                split=SPLIT_CYCLE[n % len(SPLIT_CYCLE)],
                scores=tuple(s if there else None for s, there in zip(scores, rated, strict=True)),
                ratings=tuple(
                    tuple(r) if there and ratings else () for r, there in zip(single, rated, strict=True)
                ),
                audio=f"{n:032x}",
                duration_s=float(rng.uniform(1.5, 24.0)),
                axes=names,
            )
        )
    return made


def work_folder(
    root: Path,
    count: int = 72,
    specs: tuple[EncoderSpec, ...] = (WAVLM, MUQ, M2D),
    axes: int = len(AES_AXES.names),
    seed: int = 0,
    scale: Scale = DEFAULT_SCALE,
    ratings: bool = False,
    splits: tuple[str, ...] | None = None,
    names: tuple[str, ...] = AES_AXES.names,
) -> Path:
    """Write clips.json and a feature store per spec, the scores linear in the features plus noise."""
    rng = np.random.default_rng(seed)
    made = clips(count, rng, min(axes, len(names)), ratings, names)
    if splits is not None:
        made = [clip for clip in made if clip.split in splits]
    axes_of_table = AES_AXES if names == AES_AXES.names else Axes(names)
    save_table(ClipTable(tuple(made), scale, ("synthetic audio",), axes_of_table), root / "clips.json")
    for one in specs:
        ways = rng.normal(size=(len(names), one.layers, one.dim))
        store = FeatureStore(root / "features", one)
        for clip in made:
            score = np.array([0.0 if s is None else s - 5.5 for s in clip.scores])
            crops = crops_of(clip)
            centre = np.einsum("a,ald->ld", score, ways) / 2
            shape = (len(crops), one.layers, one.frames, one.dim)
            hidden = rng.normal(size=shape) + centre[:, None]
            valid = [one.valid_frames(crop.valid_s) for crop in crops]
            means = np.stack([h[:, :v].mean(1) for h, v in zip(hidden, valid, strict=True)])
            if one.layer == "all":
                frames = hidden.transpose(0, 2, 1, 3).reshape(len(crops), one.frames, -1)
            else:
                frames = hidden.mean(1) if one.layer == "mean" else hidden[:, -1]
            # What lies beyond the audio must not matter: make it loud.
            for row, v in enumerate(valid):
                frames[row, v:] = 1000.0
            store.append(crops, frames.astype(np.float16), means.astype(np.float32))
    return root
