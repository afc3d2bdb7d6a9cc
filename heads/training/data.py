"""Stored features to batches: every crop of a clip table, encoder by encoder, in the form a head reads.

The pooled aggregators read the stored layer means (fp32, under the spec's layer rule) and never
touch frames.  Features stay on the device where they fit, else in memory, else they are read from the store
each time; the numbers are the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from mmmos.heads.config import HeadConfig
from mmmos.heads.network.alignment import held_rate, valid_steps
from mmmos.heads.network.model import Statistics
from mmmos.heads.network.reading import Batch, Reading, as_read
from mmmos.heads.training.memory import spare_device_bytes, spare_memory_bytes
from mmmos.store.clips import ClipTable, load_table
from mmmos.store.crops import crops_of
from mmmos.store.features import FeatureStore, list_stores
from mmmos.store.names import choose
from mmmos.store.schema import Clip, EncoderSpec

Indices = NDArray[np.int64]
"""Numbers of clips or of crops, in the order that `Features` has them."""

CPU = torch.device("cpu")

CHUNK = 64
"""Crops read at a time while a bank is filled: 110 MB of frames at the real widths."""


class Bank:
    """One encoder's features of every crop.

    From the first use on they are held at the first of `places` that has room for them.

    Parameters
    ----------
    device
        Where batches are wanted.
    places
        Devices, each with the bytes that may be used there.
    """

    def __init__(
        self,
        read: Callable[[Sequence[str]], Tensor],
        crop_ids: Sequence[str],
        device: torch.device,
        places: Mapping[torch.device, int],
    ) -> None:
        self.read, self.crop_ids, self.device = read, list(crop_ids), device
        one = read(self.crop_ids[:1])
        self.bytes = one.numel() * one.element_size() * len(self.crop_ids)
        roomy = (place for place, limit_bytes in places.items() if self.bytes <= limit_bytes)
        self.place: torch.device | None = next(roomy, None)
        self.held: Tensor | None = None

    def __getitem__(self, rows: Indices) -> Tensor:
        if self.place is None:
            return sent(self.read([self.crop_ids[row] for row in rows]), self.device)
        if self.held is None:
            self.held = self._load(self.place)
        return sent(self.held[sent(torch.from_numpy(rows), self.place)], self.device)

    def _load(self, place: torch.device) -> Tensor:
        parts = (self.read(self.crop_ids[at : at + CHUNK]) for at in range(0, len(self.crop_ids), CHUNK))
        first = next(parts)
        held = first.new_empty((len(self.crop_ids), *first.shape[1:]), device=place)
        held[: len(first)] = first
        at = len(first)
        for part in parts:
            held[at : at + len(part)] = part
            at += len(part)
        return held


class Features:
    """The features of every clip of a table that has a split, and what batches are made from.

    Clips and crops (rows) are numbered in the order of `clips` everywhere below.

    Attributes
    ----------
    clips
        [N] in the order of their ids, without those of split "none".  A table's order of rows is not part of
        its id, so nothing may depend on it.
    counts, first
        [N] number of crops of each clip, and the row of its first.
    valid_s
        [R] seconds of audio in each crop.
    truth
        [N, A] scores on the axes of the table, NaN where not rated.
    device
        Where batches are wanted.
    """

    def __init__(
        self,
        table: ClipTable,
        stores: Iterable[FeatureStore],
        limit_bytes: int | None = None,
        device: torch.device = CPU,
    ) -> None:
        self.table, self.device = table, device
        self.stores = {store.spec.id: store for store in stores}
        self.clips: tuple[Clip, ...] = tuple(
            sorted((clip for clip in table.clips if clip.split != "none"), key=lambda clip: clip.id)
        )
        crops = [crops_of(clip) for clip in self.clips]
        self.counts: Indices = np.array([len(of_clip) for of_clip in crops], dtype=np.int64)
        self.first: Indices = np.concatenate(([0], np.cumsum(self.counts)))[:-1].astype(np.int64)
        self.crops = [crop for of_clip in crops for crop in of_clip]
        self.valid_s = np.array([crop.valid_s for crop in self.crops], dtype=np.float32)
        self.truth = table.scores(self.clips)
        self.limit_bytes = limit_bytes if limit_bytes is not None else spare_memory_bytes() // 2
        self.resident_bytes = 0 if device == CPU else spare_device_bytes(device) // 2
        self._host: Features | None = None
        self._banks: dict[tuple[str, Reading], Bank] = {}
        self._statistics: dict[tuple[str, Reading, bytes], Statistics] = {}

    @staticmethod
    def open(work: Path, limit_bytes: int | None = None, device: torch.device = CPU) -> Features:
        """The clip table and every feature store of a work folder."""
        work = Path(work)
        return Features(load_table(work / "clips.json"), list_stores(work / "features"), limit_bytes, device)

    def on_host(self) -> Features:
        """The same for heads in closed form, which are solved on the CPU."""
        if self.device == CPU:
            return self
        if self._host is None:
            self._host = Features(self.table, self.stores.values(), self.limit_bytes)
        return self._host

    def give_way(self) -> bool:
        """Hold nothing on a card from now on, as its memory is needed; whether anything was held there."""
        there = [key for key, bank in self._banks.items() if bank.place not in (None, CPU)]
        for key in there:
            del self._banks[key]
        self.resident_bytes = 0
        return bool(there)

    @property
    def specs(self) -> tuple[EncoderSpec, ...]:
        return tuple(store.spec for store in self.stores.values())

    def of(self, split: str) -> Indices:
        """Numbers of the clips of a split."""
        return np.array([n for n, clip in enumerate(self.clips) if clip.split == split], dtype=np.int64)

    def rows(self, clips: Indices) -> Indices:
        """Numbers of all crops of these clips, clip by clip."""
        return np.concatenate(
            [np.arange(self.first[n], self.first[n] + self.counts[n]) for n in clips]
            or [np.empty(0, np.int64)]
        )

    def specs_of(self, config: HeadConfig) -> tuple[EncoderSpec, ...]:
        """The specs of a config's encoders; ValueError where features are not stored, with what to do."""
        for spec_id in config.encoders:
            store = self.stores[choose("features", spec_id, self.stores)]
            if missing := store.missing(self.crops):
                raise ValueError(
                    f"{len(missing)} of {len(self.crops)} crops have no features of {spec_id} yet; "
                    "run `extract` to the end first"
                )
        return tuple(self.stores[spec_id].spec for spec_id in config.encoders)

    def batch(self, specs: Sequence[EncoderSpec], reading: Reading, rows: Indices) -> Batch:
        """The features of crops by these encoders, in the order asked."""
        banks = [self._bank(spec.id, reading) for spec in specs]
        valid_s = sent(torch.from_numpy(self.valid_s[rows]), self.device)
        return Batch(tuple(bank[rows] for bank in banks), valid_s)

    def statistics(self, specs: Sequence[EncoderSpec], reading: Reading, rows: Indices) -> list[Statistics]:
        """Statistics of each encoder's features over these crops, frames beyond `valid_s` left out.

        Computed once per set of crops and kept, since every head of a grid asks for the same.
        """
        found = []
        for spec in specs:
            key = (spec.id, reading, rows.tobytes())
            if key not in self._statistics:
                self._statistics[key] = _moments(self._parts(spec, reading, rows))
            found.append(self._statistics[key])
        return found

    def _parts(self, spec: EncoderSpec, reading: Reading, rows: Indices) -> Iterator[Tensor]:
        bank = self._bank(spec.id, reading)
        for at in range(0, len(rows), CHUNK):
            some = rows[at : at + CHUNK]
            part = bank[some].cpu()  # the same sums whatever the device
            if reading.kind == "frames":
                valid = valid_steps(torch.from_numpy(self.valid_s[some]), held_rate(spec, reading.rate_hz))
                part = part[torch.arange(part.shape[1]) < valid[:, None]]
            yield part.double()

    def _bank(self, spec_id: str, reading: Reading) -> Bank:
        if (spec_id, reading) not in self._banks:
            read = partial(_as_read, self.stores[spec_id], reading)
            limits = {self.device: self.resident_bytes, CPU: self.limit_bytes}
            held = {place: [b.bytes for b in self._banks.values() if b.place == place] for place in limits}
            places = {place: limit - sum(held[place]) for place, limit in limits.items()}
            crop_ids = [crop.id for crop in self.crops]
            self._banks[spec_id, reading] = Bank(read, crop_ids, self.device, places)
        return self._banks[spec_id, reading]


def sent(tensor: Tensor, device: torch.device) -> Tensor:
    """A tensor on a device; from the host to a card the copy is queued, not awaited."""
    if tensor.device == device:
        return tensor
    pinned = tensor.pin_memory() if torch.cuda.is_available() else tensor
    return pinned.to(device, non_blocking=True)


def _as_read(store: FeatureStore, reading: Reading, crop_ids: Sequence[str]) -> Tensor:
    return as_read(
        reading,
        store.spec,
        frames=lambda: map(torch.from_numpy, store.frames(crop_ids)),
        means=lambda: torch.from_numpy(store.means(crop_ids)),
    )


def _moments(parts: Iterable[Tensor]) -> Statistics:
    """Statistics over the first axis of all parts together, computed in fp64, as fp32."""
    total, square, count = torch.zeros(()), torch.zeros(()), 0
    low, high = torch.tensor(torch.inf), torch.tensor(-torch.inf)
    for part in parts:
        total, square, count = total + part.sum(0), square + part.square().sum(0), count + len(part)
        low, high = torch.minimum(low, part.amin(0)), torch.maximum(high, part.amax(0))
    mean = total / count
    deviation = (square / count - mean.square()).clamp(min=0).sqrt()
    return Statistics(mean.float(), deviation.float(), low.float(), high.float())
