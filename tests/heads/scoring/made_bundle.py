"""Bundles whose numbers come from a formula, for tests that need no experiment."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mmmos.extract.audio import AUDIO_RECIPE
from mmmos.extract.encoders import load_encoder
from mmmos.heads.config import HeadConfig
from mmmos.heads.network.model import Head
from mmmos.heads.scoring.bundle import ABOUT, Bundle
from mmmos.heads.scoring.intervals import CONFIDENCE_LEVELS, Intervals
from mmmos.heads.scoring.reference import Reference
from mmmos.store import sealed
from mmmos.store.schema import AES_AXES, Axes, EncoderSpec, Scale

SPEECH_AXES = Axes(("MOS", "SIG"), ("Overall Quality", "Quality of the <Signal> | alone"))
"""Axes of another listening test, with a title that HTML and Markdown must escape."""


@lru_cache(maxsize=1)
def logmel() -> EncoderSpec:
    return load_encoder("logmel", audio_recipe=AUDIO_RECIPE).spec


def unsealed(folder: Path) -> Path:
    """The bundle without the seal of bundle.json, as a stranger's or one of 0.1: only checks are left."""
    about = sealed.read_object(folder / ABOUT)
    (folder / ABOUT).write_text(json.dumps(about))
    return folder


def made_bundle(specs: Sequence[EncoderSpec], axes: Axes = AES_AXES, seed: int = 0) -> Bundle:
    """A bundle of one untrained head whose numbers come from a formula, the same on every machine."""
    config = HeadConfig("data-000000000000", tuple(spec.id for spec in specs), "mlp", "ut", hidden=8)
    head = Head(config, specs, axes.names, Scale(1, 10))
    with torch.no_grad():
        for number, parameter in enumerate(head.parameters(), seed):
            wave = np.sin(1.7 * np.arange(parameter.numel()) + number) / np.sqrt(parameter.shape[-1])
            parameter.copy_(torch.from_numpy(wave.astype(np.float32)).view_as(parameter))
        head.target_mean.fill_(5.5)
    count = len(axes)
    quantiles = {"": dict.fromkeys(CONFIDENCE_LEVELS, (1.5,) * count)}
    intervals = Intervals(axes.names, (1.0,) * count, quantiles, {"": 50}, "nothing")
    reference = Reference(
        ("sound",),
        {spec.id: np.zeros((1, spec.frame_dim), np.float32) for spec in specs},
        {spec.id: np.ones(spec.frame_dim, np.float32) for spec in specs},
        10.0,
        1,
    )
    about: dict[str, Any] = {"rule": "one"}
    if axes != AES_AXES:
        about["titles"] = list(axes.titles)
    return Bundle({config.id: head.eval()}, (1.0,), intervals, reference, ("made up",), about)
