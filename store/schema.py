"""The nouns that both stages share, and the few constants of the whole project.

Everything here is a frozen value without behaviour beyond naming itself.  No torch, no files.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import Any

from mmmos.store.names import signature

COMPOSITE = "composite"
"""The mean of the rated axes of one clip, reported beside them (paper IV)."""

MAX_AXES = 32
MAX_AXIS_LETTERS = 40


@dataclass(frozen=True)
class Axes:
    """What listeners rated, in the order of every array; `titles` are the names in words.

    Raises
    ------
    ValueError
        For no names, repeated names, names that are empty, not printable or too long, or the name
        "composite", which is that of the mean over the axes.
    """

    names: tuple[str, ...]
    titles: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.titles:
            object.__setattr__(self, "titles", self.names)
        if not 1 <= len(self.names) <= MAX_AXES or len(set(self.names)) != len(self.names):
            raise ValueError(f"axes {list(self.names)}: 1 to {MAX_AXES} different names are needed")
        for name in self.names:
            if not name.strip() or not name.isprintable() or len(name) > MAX_AXIS_LETTERS:
                raise ValueError(f"an axis' name has 1 to {MAX_AXIS_LETTERS} printable letters, not {name!r}")
        if COMPOSITE in self.names:
            raise ValueError(f"no axis may be named {COMPOSITE!r}: that is the mean over the axes")
        if len(self.titles) != len(self.names):
            raise ValueError(f"{len(self.titles)} titles for {len(self.names)} axes")

    def __len__(self) -> int:
        return len(self.names)

    def __iter__(self) -> Iterator[str]:
        return iter(self.names)

    def title(self, name: str) -> str:
        """The name in words: "Production Quality" for "PQ"; the composite's and unknown names as they are."""
        return dict(zip(self.names, self.titles, strict=True)).get(name, name)


AES_AXES = Axes(
    ("CE", "CU", "PC", "PQ"),
    ("Content Enjoyment", "Content Usefulness", "Production Complexity", "Production Quality"),
)
"""The four axes of the paper (arXiv 2502.05139), which a clip table has where it names no others."""

SPLITS = ("train", "dev", "pam", "test", "none")
"""`dev` holds real recordings, `pam` mostly synthetic ones; the paper scores them apart."""

OOF = "oof"  # the rated clips of `train`, each predicted by heads that saw none of its group
CROP_SECONDS = 10.0
"""Every encoder sees exactly this much audio at a time (paper III-A)."""


@dataclass(frozen=True)
class Scale:
    """The range that ratings live on, kept with the data so that predictions come back on it.

    ends: (low, high) of each axis where they differ; `low` and `high` then hold all of them.
    """

    low: float = 0.0
    high: float = 10.0
    ends: tuple[tuple[float, float], ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "ends", tuple((low, high) for low, high in self.ends))
        for low, high in ((self.low, self.high), *self.ends):
            if not all(isinstance(end, int | float) and math.isfinite(end) for end in (low, high)):
                raise ValueError(f"a scale runs from low to high, finite, not {low!r:.40}, {high!r:.40}")
            if not low < high:
                raise ValueError(f"a scale runs from low to high, not from {low} to {high}")

    @staticmethod
    def of_axes(ends: Sequence[tuple[float, float]]) -> Scale:
        """The scale of axes with these (low, high); a plain one where they are all the same."""
        lows, highs = zip(*ends, strict=True)
        return Scale(min(lows), max(highs), tuple(ends) if len(set(ends)) > 1 else ())

    def axis(self, number: int) -> Scale:
        """The scale of one axis, by its place among the axes."""
        return Scale(*self.ends[number]) if self.ends else self

    def only(self, numbers: Iterable[int]) -> Scale:
        return Scale.of_axes([self.ends[number] for number in numbers]) if self.ends else self

    @property
    def lows(self) -> float | tuple[float, ...]:
        """What values [..., A] can be clipped by, from below."""
        return tuple(low for low, _ in self.ends) if self.ends else self.low

    @property
    def highs(self) -> float | tuple[float, ...]:
        return tuple(high for _, high in self.ends) if self.ends else self.high

    def to_json(self) -> dict[str, Any]:
        """Its fields as JSON values, for `Scale(**values)`; ids are made from them."""
        values: dict[str, Any] = {"low": self.low, "high": self.high}
        return {**values, "ends": [list(pair) for pair in self.ends]} if self.ends else values


@dataclass(frozen=True, slots=True)
class Clip:
    """One rated (or unrated) piece of audio.

    scores:  one value per axis of `axes`, None where the axis was not rated; () stands for no scores.
    ratings: the single ratings behind each score, one row per axis; empty where unknown.
    audio:   content id of the file (a hash of its bytes, hex), "" until the audio has been surveyed.
    duration_s: length without trailing digital silence, 0.0 until surveyed.
    """

    id: str
    path: str
    domain: str = ""
    source: str = ""
    system: str = ""
    group: str = ""
    split: str = "none"
    scores: tuple[float | None, ...] = ()
    ratings: tuple[tuple[float, ...], ...] = ()
    audio: str = ""
    duration_s: float = 0.0
    axes: tuple[str, ...] = AES_AXES.names
    """Names of the axes that `scores` and `ratings` are about: those of the clip's table."""

    def __post_init__(self) -> None:
        if not self.scores:
            object.__setattr__(self, "scores", (None,) * len(self.axes))
        if not self.ratings:
            object.__setattr__(self, "ratings", ((),) * len(self.axes))
        if not len(self.scores) == len(self.ratings) == len(self.axes):
            raise ValueError(
                f"clip {self.id!r}: {len(self.scores)} scores and {len(self.ratings)} rows of ratings "
                f"for {len(self.axes)} axes ({', '.join(self.axes)})"
            )


@dataclass(frozen=True, slots=True)
class Crop:
    """Ten seconds of one audio file; `valid_s` of them are audio, the rest is padding.

    The audio is named by its content, not by its path or clip, so experiments with other clip
    tables over the same audio share their features.
    """

    audio: str
    index: int
    start_s: float
    valid_s: float

    def __post_init__(self) -> None:
        if not 0.0 < self.valid_s <= CROP_SECONDS:
            raise ValueError(f"crop {self.id}: valid_s {self.valid_s} is outside (0, {CROP_SECONDS}]")

    @property
    def id(self) -> str:
        return f"{self.audio}-{self.index:05d}"


_OF_MUQ = "CC BY-NC 4.0 (https://huggingface.co/OpenMuQ/MuQ-large-msd-iter): not for commercial use"

FACTS_BEFORE: dict[str, tuple[float, str]] = {
    "wavlm": (148.0, "as its model card says (https://huggingface.co/microsoft/wavlm-base-plus)"),
    "muq": (426.0, _OF_MUQ),
    "muq16k": (284.0, _OF_MUQ),
    "m2d": (57.0, "NTT's own licence, in https://github.com/nttcslab/m2d"),
    "logmel": (0.1, "no weights"),
}
"""GFLOP a crop and licence of the encoders whose specs were stored before specs said so themselves.

Never to be extended: a new encoder says both in its own file.
"""


TENSORS = "tensors:"
"""Begins `EncoderSpec.weights` where it is a hash of tensors; a hash of a file stands there alone."""


@dataclass(frozen=True)
class EncoderSpec:
    """All that stored features depend on (`id` names their folder), and two facts about the encoder.

    checkpoint:     published name, "custom:<sha12>" or "random"; "none" for an encoder without weights.
                    Beside a hash of tensors it is a fact: neither compared nor part of the id.
    weights:        "tensors:" and a sha256 of all tensors, "random:SEED" or "none"; the sha256 of the weight
                    file in specs of earlier versions.
    size:           "full" or "tiny" (the same architecture in small, never pretrained).
    layer:          the rule for the stored frames: "mean", "last", "all" or a layer's number.
    sample_rate_hz: rate of the waveform that the encoder is given.
    frame_rate_hz:  stored frames per second; frames x dim is one crop's [T, D].
    layers:         number L of hidden states whose time means are stored, each [dim].
    precision:      arithmetic of the forward pass, "fp32", "tf32", "bf16" or "fp16".
    recipe:         number raised whenever the encoder's own code changes its output.
    audio:          the decoding, resampling and crop rule, spelled out.
    partial_frames: whether a frame that is only partly audio counts as valid.  False is not written into
                    the id, because specs of earlier versions lack the field.
    arithmetic:     whose forward pass it was, where that changes the features by more than 1e-4: below fp32,
                    "cuda", "stock", "cuda stock", or "" for ours on a CPU.  "" is not written into the id.

    The facts are neither part of the id nor compared:
    gflop:          arithmetic of the full-size encoder on one crop; None where unknown.
    licence:        terms of the published weights in words; "" where unknown.
    """

    name: str
    checkpoint: str = field(compare=False)
    weights: str
    size: str
    layer: str
    sample_rate_hz: int
    frame_rate_hz: float
    frames: int
    dim: int
    layers: int
    precision: str
    recipe: int
    audio: str
    partial_frames: bool = False
    arithmetic: str = ""
    gflop: float | None = field(default=None, compare=False)
    licence: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        if self.gflop is None and not self.licence and self.name in FACTS_BEFORE:
            gflop, licence = FACTS_BEFORE[self.name]
            object.__setattr__(self, "gflop", gflop)
            object.__setattr__(self, "licence", licence)

    @property
    def settings(self) -> dict[str, Any]:
        """What the features depend on: all fields but the facts, in the form that the id is made of."""
        settings = {f.name: getattr(self, f.name) for f in fields(self) if f.compare}
        for name in ("partial_frames", "arithmetic"):
            if not settings[name]:
                del settings[name]
        if not self.weights.startswith(TENSORS):
            settings["checkpoint"] = self.checkpoint
        return settings

    @cached_property
    def id(self) -> str:
        """Name and 12 hex digits of the signature, e.g. "wavlm-0a1b2c3d4e5f"."""
        return signature(self.name, self.settings)

    @property
    def is_random(self) -> bool:
        """True for untrained weights: results from such features must say so."""
        return self.weights.startswith("random")

    @property
    def frame_dim(self) -> int:
        """Width of one stored frame: the "all" rule lays the layers side by side."""
        return self.dim * self.layers if self.layer == "all" else self.dim

    def valid_frames(self, valid_s: float) -> int:
        """How many leading frames lie inside `valid_s` seconds of audio, wholly or (`partial_frames`) in
        part; at least one."""
        frames = valid_s * self.frame_rate_hz
        count = math.ceil(frames - 1e-6) if self.partial_frames else int(frames + 1e-6)
        return min(self.frames, max(1, count))
