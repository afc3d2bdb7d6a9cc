"""What a part of a table left in its work folder, and all parts put together into one.

    work/parts/part-3-of-64/            a work folder like any other, of every 64th row of the clip table
    work/parts/part-3-of-64/part.json   written last: which part of which table, and how it was extracted

`merge_parts` makes the work folder that one run over the whole table would have made.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from mmmos.store import files, noted, sealed
from mmmos.store.clips import MAX_BYTES, ClipTable, load_table, save_table
from mmmos.store.crops import crops_of
from mmmos.store.features import FeatureStore
from mmmos.store.maintenance import Merged, merge
from mmmos.store.names import differences
from mmmos.store.parts import REQUEST, Part, PartError, complete, in_name
from mmmos.store.schema import Clip
from mmmos.store.shape import require
from mmmos.store.specs import store_folders

FOLDER = "parts"
RECORD = "part.json"
FORMAT = "mmmos-part-1"
MAX_RECORD_BYTES = 1 << 28
SHAPE = {
    **{"format": str, "part": str, "table": str, "request": dict, "rows": int, "clips": str},
    "rejects": [[(int, str)]],
}
OWN = ("part", "clips", "audio_root", "weights")
"""Options that may differ between parts: paths may on other machines.  What lies there is compared itself."""


@dataclass(frozen=True)
class PartRecord:
    """What is known of a finished part.

    table:   digest of the whole table's file.
    request: the options of the extraction.
    rows:    of the part, those of rejected clips included.
    rejects: (row, from 0, id, path, reason) of each rejected clip.
    clips:   id of the clip table that was written.
    """

    part: str
    table: str
    request: Mapping[str, Any]
    rows: int
    rejects: Sequence[Sequence[Any]]
    clips: str

    def save(self, work: Path) -> None:
        sealed.write_json(work / RECORD, {"format": FORMAT, **asdict(self)}, indent=None)

    @staticmethod
    def load(work: Path) -> PartRecord:
        content = sealed.read_object(work / RECORD, MAX_RECORD_BYTES, '"format"')
        require(content, SHAPE, work / RECORD)
        try:
            if content.pop("format") != FORMAT:
                raise KeyError("format")
            return PartRecord(**content)
        except (KeyError, TypeError) as reason:
            raise PartError(f"{work / RECORD} is no record of a part: {reason}") from None


def part_folder(work: Path, part: str) -> Path:
    """The work folder of a part ("3/64") of what is extracted into `work`; `work` itself for ""."""
    return work / FOLDER / Part.parse(part).name if part else work


@dataclass(frozen=True)
class MergedParts:
    """What `merge_parts` did: for each store of each part, and the whole table that it wrote.

    table is None where a part has damaged features; rejects: how many clips; twice: clips in several parts.
    """

    stores: Sequence[Merged]
    table: ClipTable | None
    rejects: int = 0
    twice: int = 0


def part_folders(source: Path) -> dict[Part, Path]:
    """The folders of parts that lie in `source`."""
    found = {in_name(path.name): path for path in sorted(source.iterdir()) if path.is_dir()}
    return {part: path for part, path in found.items() if part is not None}


def merge_parts(source: Path, work: Path) -> MergedParts:
    """Put all parts in `source` together: features, clip table, rejects and options; safe to repeat.

    Raises
    ------
    PartError, ValueError
        Parts are missing, unfinished or damaged, of another table or extracted with other options, or their
        whole table is more than a work folder can hold.  No clip table was written.
    """
    folders = part_folders(source)
    parts = complete(folders, str(source))
    if unfinished := [str(part) for part in parts if not (folders[part] / RECORD).exists()]:
        raise PartError(f"{source}: {', '.join(unfinished)} did not end: run them again, and merge then")
    size = sum((folders[part] / "clips.json").stat().st_size for part in parts)
    if size > MAX_BYTES:
        raise PartError(
            f"{source}: the whole clip table takes {size / 2**30:.1f} GiB, and a work folder holds "
            f"{MAX_BYTES / 2**30:.1f}: train on some of the parts, each of which is a work folder"
        )
    records = {part: PartRecord.load(folders[part]) for part in parts}
    tables = {part: load_table(folders[part] / "clips.json") for part in parts}
    for part in parts:
        _check(part, parts[0], records, tables, folders)
    clips, twice = _in_order(records, tables)
    table = replace(tables[parts[0]], clips=clips)
    stores = [store for part in parts for store in store_folders(folders[part] / "features")]
    done = [merge(store, work / "features") for store in stores]
    if any(one.damaged for one in done):
        return MergedParts(done, None)
    specs = {one.spec.id: one.spec for one in done}
    _check_stored(table, [FeatureStore(work / "features", spec) for spec in specs.values()])
    first, rejects = records[parts[0]], _rejects(records)
    with noted.noting(work, "rejects.csv"):
        files.write_csv(work / "rejects.csv", ("id", "path", "reason"), rejects)
    sealed.write_json(work / REQUEST, {**first.request, "part": ""})
    save_table(table, work / "clips.json")
    return MergedParts(done, table, len(rejects), twice)


def _check(
    part: Part,
    first: Part,
    records: Mapping[Part, PartRecord],
    tables: Mapping[Part, ClipTable],
    folders: Mapping[Part, Path],
) -> None:
    """PartError unless a part is what its folder says, and belongs to the first one."""
    mine, theirs = records[part], records[first]
    if mine.part != str(part):
        raise PartError(f"{folders[part]} holds part {mine.part}, not {part}: give the folder its name back")
    if mine.clips != tables[part].id or mine.rows != len(tables[part]) + len(mine.rejects):
        raise PartError(f"part {part} did not end: run it again, and merge then")
    if mine.table != theirs.table:
        raise PartError(f"part {part} is of another clip table than part {first}: run one of them again")
    shared = [{name: v for name, v in one.request.items() if name not in OWN} for one in (theirs, mine)]
    said = differences(*shared)
    if replace(tables[part], clips=()) != replace(tables[first], clips=()):
        said.append("scale, axes or caveats of the clip table")
    ids = [{path.name for path in store_folders(folders[one] / "features")} for one in (first, part)]
    if ids[0] != ids[1] and len(tables[part]) and not said:
        said = [f"features {', '.join(sorted(ids[0]))} here, {', '.join(sorted(ids[1]))} there"]
    if said:
        raise PartError(f"part {part} was extracted otherwise than part {first}: {'; '.join(said)}")


def _in_order(
    records: Mapping[Part, PartRecord], tables: Mapping[Part, ClipTable]
) -> tuple[tuple[Clip, ...], int]:
    """The clips of all parts in the order of the whole table, each once, and how many stood in several."""
    placed: list[tuple[int, Clip]] = []
    for part, table in tables.items():
        lost = {reject[0] for reject in records[part].rejects}
        rows = (row for row in range(records[part].rows) if row not in lost)
        placed += ((row * part.of + part.number, clip) for row, clip in zip(rows, table, strict=True))
    placed.sort(key=lambda one: one[0])
    known: dict[str, Clip] = {}
    for place, clip in placed:
        if known.setdefault(clip.id, clip) != clip:
            of = next(iter(tables)).of
            raise PartError(
                f"clip {clip.id!r} stands in the clip table twice, with different values, the second time in "
                f"part {(place - 1) % of + 1}/{of}: give each row an id of its own"
            )
    return tuple(known.values()), len(placed) - len(known)


def _rejects(records: Mapping[Part, PartRecord]) -> list[tuple[str, str, str]]:
    """id, path, reason in the order of the whole table."""
    found = [
        (row * part.of + part.number, clip_id, path, reason)
        for part, record in records.items()
        for row, clip_id, path, reason in record.rejects
    ]
    return [(clip_id, path, reason) for _, clip_id, path, reason in sorted(found)]


def _check_stored(table: ClipTable, stores: Sequence[FeatureStore]) -> None:
    """PartError where features of a clip are not there: a part lost them since it ended."""
    lacking = sum(any(crop.id not in store for store in stores for crop in crops_of(clip)) for clip in table)
    if lacking:
        raise PartError(
            f"features of {lacking} of {len(table)} clips are in no part: `store verify --work PART` says in "
            "which they should be; run that part again, and merge then"
        )
