"""Which shard holds which crop, from the listing of a folder and the heads of its shards.

For large stores the crop ids are also kept in one text file (a cache), so that opening a million crops reads
one file and not four thousand.  An entry of the cache counts only while a shard of that name and size is
listed, and every shard is checked against it before its first row is read.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Sequence
from pathlib import Path

import xxhash

from mmmos.store import files
from mmmos.store.schema import EncoderSpec
from mmmos.store.shard_check import read_shard
from mmmos.store.shards import NAME_PATTERN, DamagedError

CACHE_FILE = "index-cache"
CACHE_FORMAT = "mmmos-index-1"
CACHE_FROM = 64
"""The cache is written when at least so many shards had to be read one by one."""
LINE_BYTES = 20_480
"""The most that it says of a shard: up to 255 crop ids of 48 hex digits and a number."""


class CropIndex:
    """Crop ids of one store's folder, and where each lies.

    damaged: shard name -> reason, of shards that cannot be used; their crops count as missing.
    ids:     shard name -> its crop ids, in row order.
    """

    def __init__(self, folder: Path, spec: EncoderSpec) -> None:
        self.folder, self.spec = folder, spec
        self.damaged: dict[str, str] = {}
        self.ids: dict[str, Sequence[str]] = {}
        self.place: dict[str, int] = {}  # crop id -> shard's number << 8 | row
        self.numbered: list[str] = []
        self.twice: dict[str, str] = {}  # crop id -> an earlier shard that holds it as well

    def find(self, crop_id: str) -> tuple[str, int] | None:
        """Shard name and row of a crop."""
        place = self.place.get(crop_id)
        return None if place is None else (self.numbered[place >> 8], place & 255)

    def add(self, name: str, crop_ids: Sequence[str]) -> None:
        if not self.place.keys().isdisjoint(crop_ids):
            old = {crop_id: self.find(crop_id) for crop_id in crop_ids}
            self.twice.update({crop_id: found[0] for crop_id, found in old.items() if found})
        first = len(self.numbered) << 8
        self.numbered.append(name)
        self.ids[name] = crop_ids
        self.place.update(zip(crop_ids, range(first, first + len(crop_ids)), strict=True))

    def refresh(self) -> None:
        """Take in what was added to or removed from the folder since the last look."""
        listing = files.listing(self.folder)
        present = {name: size for name, size in listing.items() if NAME_PATTERN.fullmatch(name)}
        if not present.keys() >= self.ids.keys():
            self._forget()
        self.damaged = {name: reason for name, reason in self.damaged.items() if name in present}
        new = sorted(present.keys() - self.ids.keys() - self.damaged.keys())
        if not new:
            return
        cached = self._read_cache(present) if CACHE_FILE in listing and len(new) > 1 else {}
        for name in new:
            self._take(name, cached.get(name))
        if len(self.ids.keys() - cached.keys()) >= CACHE_FROM and len(new) >= CACHE_FROM:
            self._write_cache(present)

    def rebuild(self) -> None:
        """Read every shard's head anew: the cache says other crops than a shard holds."""
        self._warn("says other crops than a shard holds")
        self._forget()
        with contextlib.suppress(OSError):  # a store may be read-only
            files.remove(self.folder / CACHE_FILE)
        present = {name: s for name, s in files.listing(self.folder).items() if NAME_PATTERN.fullmatch(name)}
        for name in sorted(present):
            self._take(name, None)
        self._write_cache(present)

    def _forget(self) -> None:
        self.ids, self.place, self.numbered, self.twice = {}, {}, [], {}

    def _warn(self, what: str) -> None:
        warnings.warn(f"{self.folder / CACHE_FILE} {what}; it is made anew from the shards", stacklevel=5)

    def _take(self, name: str, crop_ids: Sequence[str] | None) -> None:
        try:
            self.add(name, crop_ids or read_shard(self.folder, name, self.spec).crop_ids)
        except FileNotFoundError:
            return  # removed since it was listed
        except (DamagedError, ValueError, EOFError) as reason:
            self.damaged[name] = str(reason)
            warnings.warn(f"{self.folder}: set aside {reason}", stacklevel=5)

    def _read_cache(self, present: dict[str, int]) -> dict[str, Sequence[str]]:
        """What the cache says of shards that are there; {} from one that is not as it was written."""
        cached: dict[str, Sequence[str]] = {}
        try:
            most = LINE_BYTES * (len(present) + CACHE_FROM)  # of shards that have gone, it may speak still
            data = files.read_bytes(self.folder / CACHE_FILE, most)
            first, _, text = data.decode("ascii").partition("\n")
            if first != f"{CACHE_FORMAT} {xxhash.xxh3_64_hexdigest(text.encode())}":
                raise ValueError("its checksum does not match")
            for line in text.splitlines():
                name, size, *crop_ids = line.split(" ")
                match = NAME_PATTERN.fullmatch(name)
                if match and present.get(name) == int(size) and len(crop_ids) == int(match["count"]):
                    cached[name] = crop_ids
        except (OSError, ValueError, EOFError) as reason:
            self._warn(f"is not as it was written ({reason})")
            with contextlib.suppress(OSError):
                files.remove(self.folder / CACHE_FILE)
            return {}
        return cached

    def _write_cache(self, present: dict[str, int]) -> None:
        text = "".join(f"{name} {present[name]} {' '.join(ids)}\n" for name, ids in self.ids.items())
        first = f"{CACHE_FORMAT} {xxhash.xxh3_64_hexdigest(text.encode())}\n"
        with contextlib.suppress(OSError):  # a store may be read-only, and works without the cache
            files.write_text(self.folder / CACHE_FILE, first + text)
