"""Predictions: the scores that one run gives the clips of one split, kept as Parquet."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mmmos.store import files, sealed
from mmmos.store.schema import AES_AXES, MAX_AXES, Axes

if TYPE_CHECKING:
    import pyarrow as pa

FORMAT = "mmmos-predictions-1"
MAX_BYTES = 1 << 30
MAGIC = b"PAR1"
"""What a Parquet file begins and ends with."""
MAX_FOOTER_BYTES = 1 << 18
"""A longer one can only be made to be nested deeply or to name columns without end."""
COMPRESSIONS = {"SNAPPY", "UNCOMPRESSED"}
"""What is written, and nothing that unpacks to thousands of times its size."""


@dataclass(frozen=True)
class Predictions:
    """values [N, A] float64 on the labels' own scale, finite; columns as in `axes`, rows as in `clip_ids`.

    An axis that nobody rated in training is absent from `axes`.
    """

    run: str
    split: str
    clip_ids: tuple[str, ...]
    values: np.ndarray
    axes: tuple[str, ...] = AES_AXES.names
    caveats: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.values.shape != (len(self.clip_ids), len(self.axes)):
            raise ValueError(
                f"{self.run}: values of shape {self.values.shape} for {len(self.clip_ids)} clips "
                f"and {len(self.axes)} axes"
            )
        Axes(self.axes)  # refuses what cannot be names of axes
        if len(set(self.clip_ids)) != len(self.clip_ids):
            raise ValueError(f"{self.run}: a clip was predicted twice")
        if self.values.dtype != np.float64:
            raise ValueError(f"{self.run}: values are {self.values.dtype}, not float64")
        bad = np.flatnonzero(~np.isfinite(self.values).all(axis=1))
        if bad.size:
            raise ValueError(
                f"{self.run}: predictions of {bad.size} clips are not finite, first {self.clip_ids[bad[0]]}"
            )

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Predictions):
            return NotImplemented
        mine = (self.run, self.split, self.clip_ids, self.axes, self.caveats)
        theirs = (other.run, other.split, other.clip_ids, other.axes, other.caveats)
        return mine == theirs and np.array_equal(self.values, other.values)

    __hash__ = None  # type: ignore[assignment]

    def of(self, clip_ids: Sequence[str]) -> np.ndarray:
        """values [N, A] of these clips, in this order; ValueError names a clip that was not predicted."""
        row = {clip_id: n for n, clip_id in enumerate(self.clip_ids)}
        missing = [clip_id for clip_id in clip_ids if clip_id not in row]
        if missing:
            raise ValueError(f"{self.run} has no prediction for clip {missing[0]!r} on {self.split!r}")
        return self.values[[row[clip_id] for clip_id in clip_ids]]

    def save(self, path: Path) -> None:
        """Write Parquet, atomically: a clip_id column, one column an axis, the rest as metadata."""
        import pyarrow as pa  # late: scoring needs predictions' names, and no Parquet
        import pyarrow.parquet as pq

        meta = {"format": FORMAT, "run": self.run, "split": self.split, "caveats": self.caveats}
        columns = {"clip_id": pa.array(self.clip_ids, pa.string())}
        columns |= {axis: pa.array(self.values[:, i]) for i, axis in enumerate(self.axes)}
        table = pa.table(columns)
        sink = pa.BufferOutputStream()
        # Without statistics and a second copy of the schema: the seal's place must stand in the file once.
        with pq.ParquetWriter(sink, table.schema, store_schema=False, write_statistics=False) as writer:
            writer.write_table(table)
            writer.add_key_value_metadata(
                {"mmmos": json.dumps(meta, ensure_ascii=False), sealed.KEY: sealed.BLANK}
            )
        files.write_atomic(Path(path), sealed.seal(sink.getvalue().to_pybytes()))

    @classmethod
    def load(cls, path: Path) -> Predictions:
        """Read what `save` wrote; ValueError names the file and what is wrong with it."""
        import pyarrow as pa

        if files.ends(Path(path), len(MAGIC)) != MAGIC * 2:  # before a file that is none is read as a whole
            raise sealed.DamagedFileError(f"{path} is damaged, or does not hold predictions: no Parquet file")
        data = sealed.read_bytes(Path(path), MAX_BYTES)
        try:
            table = _table(data)
            meta = sealed.parse_json((table.schema.metadata or {})[b"mmmos"], "its metadata")
            if meta["format"] != FORMAT:
                raise ValueError(f"format {meta['format']!r}, where {FORMAT!r} is known")
            if not isinstance(meta["run"], str) or not isinstance(meta["split"], str):
                raise ValueError("run and split are not text")
            axes = tuple(table.column_names[1:])
            columns = [table.column(axis).to_numpy() for axis in axes]
            return cls(
                run=meta["run"],
                split=meta["split"],
                clip_ids=tuple(table.column("clip_id").to_pylist()),
                values=np.array(columns, dtype=np.float64).reshape(len(axes), table.num_rows).T.copy(),
                axes=axes,
                caveats=tuple(map(str, meta["caveats"])),
            )
        except (pa.ArrowException, ValueError, KeyError, TypeError, OSError, MemoryError) as reason:
            said = f"{type(reason).__name__}: {reason}".splitlines()[0]
            raise ValueError(f"{path} does not hold predictions: {said}") from None

    def to_csv(self, path: Path) -> None:
        """Write `id`, one column an axis, and, where there are any, the caveats in every row."""
        notes = ["; ".join(self.caveats)] if self.caveats else []
        columns = ["id", *self.axes, *(["caveats"] if notes else [])]
        rows = zip(self.clip_ids, self.values.tolist(), strict=True)
        files.write_csv(Path(path), columns, ([clip_id, *row, *notes] for clip_id, row in rows))


def _table(data: bytes) -> pa.Table:
    """A Parquet file's table; ValueError before anything is unpacked that is more than the file can hold."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    if int.from_bytes(data[-8:-4], "little") > MAX_FOOTER_BYTES:
        raise ValueError(f"its footer is longer than {MAX_FOOTER_BYTES} bytes")
    file = pq.ParquetFile(pa.BufferReader(data))
    about, schema = file.metadata, file.schema_arrow
    if len(schema) != about.num_columns or not 1 < len(schema) <= MAX_AXES + 1:
        raise ValueError(f"it has {len(schema)} columns; clip_id and 1 to {MAX_AXES} axes were expected")
    wrong = [f.name for f in schema if f.type != (pa.float64() if f.name != "clip_id" else pa.string())]
    if wrong:
        raise ValueError(f"column {wrong[0]!r} is {schema.field(wrong[0]).type}")
    # Ids differ from clip to clip, so that a row takes a byte at least.
    if about.num_rows > len(data):
        raise ValueError(f"it says {about.num_rows} rows in {len(data)} bytes")
    chunks = (about.row_group(g).column(c) for g in range(about.num_row_groups) for c in range(len(schema)))
    if odd := {chunk.compression for chunk in chunks} - COMPRESSIONS:
        raise ValueError(f"it is compressed by {sorted(odd)[0]}")
    return file.read()


def average(
    predictions: Sequence[Predictions], weights: Sequence[float] | None = None, run: str = "ensemble"
) -> Predictions:
    """The weighted mean of several runs over the same clips, in the first one's order.

    Parameters
    ----------
    weights
        One per run, from 0 on; only their ratios matter.  Left out: all equal.

    Raises
    ------
    ValueError
        Where clips, splits or axes differ, or weights are negative, not finite or all zero.
    """
    if not predictions:
        raise ValueError("there are no predictions to average")
    first = predictions[0]
    for other in predictions[1:]:
        for what, ours, theirs in (
            ("clips", set(first.clip_ids), set(other.clip_ids)),
            ("splits", first.split, other.split),
            ("axes", first.axes, other.axes),
        ):
            if ours != theirs:
                raise ValueError(f"{first.run} and {other.run} predict different {what}: not averaged")
    share = np.ones(len(predictions)) if weights is None else np.asarray(weights, dtype=np.float64)
    if (
        share.shape != (len(predictions),)
        or not np.isfinite(share).all()
        or (share < 0).any()
        or not share.any()
    ):
        raise ValueError(f"{len(predictions)} runs cannot be averaged with weights {weights}")
    aligned = np.stack([one.of(first.clip_ids) for one in predictions])
    values = np.tensordot(share / share.sum(), aligned, axes=1)
    caveats = tuple(dict.fromkeys(caveat for p in predictions for caveat in p.caveats))
    return Predictions(run, first.split, first.clip_ids, values, first.axes, caveats)
