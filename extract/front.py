"""The encoders' side of scoring: audio in, features of its windows out, nothing stored.

The one file of `extract` that heads.scoring imports: it offers everything that scoring needs.  Frames are
rounded to half precision, as the feature store does, so that a head sees here what it saw in training.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from mmmos.extract.audio import AUDIO_RECIPE, WHOLE_RECIPE
from mmmos.extract.audio_info import AudioError, AudioInfo, Samples
from mmmos.extract.cluster import Machines, machines
from mmmos.extract.compute import AUTO, Compute
from mmmos.extract.decoding import Listening, Sound, open_file, open_wave
from mmmos.extract.encoders import Encoder, WeightsMissing, columns_of, find_weights, load_encoder
from mmmos.extract.encoders.audiobox import Audiobox, read_audiobox
from mmmos.extract.encoders.encoder import Fence, staged
from mmmos.extract.encoders.own import source_of
from mmmos.extract.encoders.weights import WeightsMismatch
from mmmos.extract.encoding import encode_batches
from mmmos.extract.loudness import normalised
from mmmos.extract.perturb import PERTURBATIONS, open_perturbed
from mmmos.extract.stream import Event, Window, listen
from mmmos.extract.tensors import Cut, cut
from mmmos.store.device import BatchSize, choose_device
from mmmos.store.schema import EncoderSpec

__all__ = [
    "AUTO",
    "PERTURBATIONS",
    "AudioError",
    "AudioInfo",
    "Audiobox",
    "Compute",
    "Encoded",
    "Encoder",
    "Event",
    "Fence",
    "Front",
    "Listening",
    "Machines",
    "Sound",
    "WeightsMismatch",
    "WeightsMissing",
    "Window",
    "columns_of",
    "load_audiobox",
    "machines",
    "normalised",
    "open_file",
    "open_perturbed",
    "open_up_to",
    "open_wave",
    "rebuild",
    "source_of",
]

LISTENING_THREADS = 2
"""Sounds that are decoded at the same time on a CPU, where `Compute` gives no number of workers."""
IN_FLIGHT = 2
"""Batches that a card has in its queue while the results of an earlier one are read."""

Encoded = dict[str, tuple[Tensor, Tensor]]
"""Spec id -> frames [B, T, frame_dim] float16, time means [B, L, D] float32, on the encoders' device."""


class Front:
    """Encoders on one device; `batch` is the number of windows that they take at a time."""

    def __init__(self, encoders: Sequence[Encoder], compute: Compute = AUTO) -> None:
        self.encoders = tuple(encoders)
        self.device = self.encoders[0].device
        self.size = BatchSize(compute.batch_on(self.device))
        self.workers = compute.threads(self.device, LISTENING_THREADS)
        self.in_flight = 0 if self.device.type == "cpu" else IN_FLIGHT
        recipes = {encoder.spec.audio for encoder in self.encoders}
        if len(recipes) > 1 and WHOLE_RECIPE in recipes:
            raise ValueError("these encoders want different windows of the audio: they cannot share them")
        self.whole = recipes == {WHOLE_RECIPE}

    @property
    def batch(self) -> int:
        return self.size.crops

    @property
    def specs(self) -> tuple[EncoderSpec, ...]:
        return tuple(encoder.spec for encoder in self.encoders)

    def listen(self, sounds: Sequence[Listening], hop_s: float | None = None) -> Iterator[tuple[int, Event]]:
        """The windows of sounds at the rates of all encoders, each cut once; see `stream.listen`."""
        rates_hz = sorted({spec.sample_rate_hz for spec in self.specs})
        at_once = min(self.workers, self.batch)
        stage = partial(staged, device=self.device)
        return listen(sounds, rates_hz, hop_s, self.workers, whole=self.whole, at_once=at_once, stage=stage)

    def cut(self, waves: Sequence[Tensor], rate_hz: int) -> Iterator[Cut]:
        """The windows of tensors [channels, n], cut on the encoders' device; see `tensors.cut`."""
        rates_hz = sorted({spec.sample_rate_hz for spec in self.specs})
        return cut(waves, rate_hz, rates_hz, self.device, batch=self.batch, whole=self.whole)

    def upload(self, values: NDArray[Any]) -> Tensor:
        """An array on the encoders' device."""
        return self.encoders[0].upload([staged(values, self.device)])[0]

    def to_host(self, result: Tensor) -> Tensor:
        """A result in memory that NumPy reads, once the work of a later `fence` is done."""
        if self.device.type == "cpu":
            return result
        host = torch.empty(result.shape, dtype=result.dtype, pin_memory=torch.cuda.is_available())
        return host.copy_(result, non_blocking=True)

    def fence(self) -> Fence | None:
        """The work queued so far; see `Encoder.fence`."""
        return self.encoders[0].fence()

    def encode(self, windows: Sequence[Window]) -> Encoded:
        """The windows through every encoder, in batches that fit into memory."""
        return {encoder.spec.id: self._encode(encoder, windows) for encoder in self.encoders}

    def _encode(self, encoder: Encoder, windows: Sequence[Window]) -> tuple[Tensor, Tensor]:
        waves, valid_s = [window.waves for window in windows], [window.valid_s for window in windows]
        batches = list(encode_batches(encoder, waves, valid_s, self.size))
        if len(batches) == 1:
            return batches[0]
        return torch.cat([frames for frames, _ in batches]), torch.cat([means for _, means in batches])


def rebuild(
    specs: Sequence[EncoderSpec], weights: Path | None = None, compute: Compute = AUTO
) -> list[Encoder]:
    """Encoders built as specs say, on the device of `compute`.

    Their own specs may still differ (another weight file, newer code): the caller has to compare.

    Parameters
    ----------
    weights : Path, optional
        Folder or file with pretrained weights; None takes them from the hub or its cache.  Not used for
        random weights, which come from the spec's seed.

    Raises
    ------
    WeightsMissing
        Before anything is fetched; the message says which files to put where.
    """
    given = find_weights([spec.name for spec in specs if not spec.is_random], weights)
    return [
        load_encoder(
            source_of(spec),
            audio_recipe=WHOLE_RECIPE if spec.audio == WHOLE_RECIPE else AUDIO_RECIPE,
            weights=given.get(spec.name),
            random_seed=int(spec.weights.partition(":")[2]) if spec.is_random else None,
            size=spec.size,
            layer=spec.layer,
            precision=spec.precision,
            device=choose_device(compute.device),
            stock=compute.stock,
            forced=True,  # the heads were trained on it
            stored=[spec],
        )
        for spec in specs
    ]


def open_up_to(path: Path, start_s: float | None = None, end_s: float | None = None) -> Sound:
    """`open_file` with an end that may lie beyond that of the file, which then ends the sound."""
    sound = open_file(path, start_s)
    if end_s is None:
        return sound
    count = round(end_s * sound.rate_hz) - round((start_s or 0.0) * sound.rate_hz)
    if count < 1:
        raise AudioError(f"there is no sample from {start_s or 0:g} s to {end_s:g} s")
    return replace(sound, blocks=_first(sound.blocks, count))


def _first(blocks: Iterator[Samples], count: int) -> Iterator[Samples]:
    """The first `count` frames of blocks [n, channels]."""
    for block in blocks:
        yield block[:count]
        count -= len(block)
        if count <= 0:
            return


def load_audiobox(weights: Path | None = None, compute: Compute = AUTO) -> tuple[Encoder, Audiobox]:
    """The published audiobox-aesthetics: its encoder, ready to run on its own windows, and its heads.

    Raises
    ------
    WeightsMissing, WeightsMismatch
        The messages say which files to put where, or how to fetch them.
    """
    given = find_weights(["aes"], weights)["aes"]
    encoder = load_encoder(
        "aes",
        audio_recipe=WHOLE_RECIPE,
        weights=given,
        layer="last",  # the heads read the time means of all layers; frames are not read
        device=choose_device(compute.device),
        stock=compute.stock,
    )
    return encoder, read_audiobox(given)
