"""What a reproduction will cost: crops to encode at a measured rate, heads to train."""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from mmmos.extract.compute import Compute
from mmmos.extract.rate import seconds_a_crop
from mmmos.extract.request import ExtractRequest, load_encoders
from mmmos.extract.run import written_table
from mmmos.extract.survey import CoverageError, check_coverage, survey
from mmmos.extract.survey_cache import CACHE
from mmmos.extract.tasks import plan
from mmmos.heads.config import HeadConfig
from mmmos.heads.grids import TRI_ENC, grid
from mmmos.heads.results.printed import PRINTED_LEVELS
from mmmos.heads.results.reproduce import PAPER_CELLS, SUBSET_CELLS, cell_of
from mmmos.heads.runs import Run
from mmmos.store.clips import ClipTable
from mmmos.store.features import FeatureStore
from mmmos.store.schema import AES_AXES, EncoderSpec
from mmmos.store.specs import stored_specs
from mmmos.store.table import Table

CELLS = {"encoders": SUBSET_CELLS, "paper": PAPER_CELLS}
"""Grid -> its places in the paper.  "paper" is the last: it is then the grid that was trained last."""


@dataclass(frozen=True)
class EncoderCost:
    """What one encoder has to do.

    Parameters
    ----------
    spec
        Of its features.
    crops
        That its store is missing.
    seconds_a_crop
        As measured here; None where nothing is to be encoded, or no crop could be read.
    """

    spec: EncoderSpec
    crops: int
    seconds_a_crop: float | None

    @property
    def hours(self) -> float | None:
        """At the measured rate; 0 where nothing is missing."""
        if not self.crops:
            return 0.0
        return None if self.seconds_a_crop is None else self.crops * self.seconds_a_crop / 3600


@dataclass(frozen=True)
class Plan:
    """What is to be done, and what it costs.

    Parameters
    ----------
    table
        The clips that can be read.
    crops
        Distinct crops of these clips.
    encoders
        What each has to do.
    configs
        Grid -> the heads of it.
    seconds_a_head
        Of each head that is trained already, as its record says.
    """

    table: ClipTable
    crops: int
    encoders: tuple[EncoderCost, ...]
    configs: dict[str, tuple[HeadConfig, ...]]
    seconds_a_head: tuple[float, ...]

    @property
    def heads(self) -> tuple[HeadConfig, ...]:
        """Of all grids, each once."""
        return tuple(dict.fromkeys(config for configs in self.configs.values() for config in configs))

    def shown(self) -> Table:
        """For the terminal."""
        rows: list[tuple[str, int, float | None, float | None, float | None]] = []
        for one in self.encoders:
            gflop = None if one.spec.gflop is None else one.spec.gflop * one.crops
            rows.append((one.spec.name, one.crops, gflop, one.seconds_a_crop, one.hours))
        together = (
            "all", sum(row[1] for row in rows), _total(row[2] for row in rows), None,
            _total(row[4] for row in rows),
        )  # fmt: skip
        columns = ("encoder", "crops to encode", "GFLOP", "seconds a crop, measured", "hours")
        title = f"What it costs: {self.crops} crops of {len(self.table)} clips"
        return Table(title, columns, (*rows, together), self._notes())

    def _notes(self) -> tuple[str, ...]:
        left = len(self.heads) - len(self.seconds_a_head)
        heads = f"{len(self.heads)} heads, {left} of them to be trained"
        if self.seconds_a_head and left:
            mean_s = statistics.fmean(self.seconds_a_head)
            heads += (
                f": {left * mean_s / 3600:.2f} hours of one processor at the {mean_s:.1f} s of those that are"
            )
        elif left:
            heads += "; their time is not known before the first one is trained, and not in the hours above"
        random = any(one.spec.is_random for one in self.encoders)
        gflop = "GFLOP: of the full-size networks" + (
            ", which untrained tiny ones do not need." if random else "."
        )
        return f"{heads}.", gflop


def _total(values: Iterable[float | None]) -> float | None:
    """Their sum, None where one is not known."""
    found = list(values)
    known = [value for value in found if value is not None]
    return sum(known) if len(known) == len(found) else None


def plan_of(request: ExtractRequest, work: Path, compute: Compute, **choices: object) -> Plan:
    """Look at every audio file, and measure each encoder that is missing crops on a few of them.

    Parameters
    ----------
    choices
        Of `heads.grids.grid`: seeds, and fields of HeadConfig put over the paper's values.

    Raises
    ------
    ValueError
        For encoders that are not the paper's.
    RuntimeError
        Where too few clips can be read.
    """
    others = [name for name in map(str.strip, request.encoders.split(",")) if name not in TRI_ENC]
    if others:
        raise ValueError(
            f"the paper's tables are about {', '.join(TRI_ENC)}; {others[0]!r} has no place in them"
        )
    written = written_table(request)
    _refuse_other_tables(written)
    features = work / "features"
    encoders = load_encoders(request, compute, stored=stored_specs(features))
    table, rejects = survey(written, request.audio_root, work / CACHE, compute.workers)
    try:
        check_coverage(len(written), rejects, request.min_coverage)
    except CoverageError as error:
        raise RuntimeError(str(error)) from None
    crops, tasks = plan(table, [FeatureStore(features, encoder.spec) for encoder in encoders])
    costs = tuple(
        EncoderCost(encoder.spec, len(missing), seconds_a_crop(encoder, missing, request.audio_root, compute))
        for number, encoder in enumerate(encoders)
        for missing in [[task for task in tasks if number in task.stores]]
    )
    configs = configs_of(table.id, [cost.spec for cost in costs], **choices)
    runs = [Run.of(work, config) for config in dict.fromkeys(c for of in configs.values() for c in of)]
    seconds = tuple(float(run.record["seconds"]) for run in runs if run.is_whole)
    return Plan(table, crops, costs, configs, seconds)


def _refuse_other_tables(written: ClipTable) -> None:
    """ValueError for a table that the paper's tables cannot be made of."""
    if written.axes.names != AES_AXES.names:
        raise ValueError(
            f"the paper's tables are about {', '.join(AES_AXES.names)}; these clips are rated on "
            f"{', '.join(written.axes.names)}"
        )
    if not written.of("train") or not any(written.of(split) for split in PRINTED_LEVELS):
        raise ValueError(
            f"the paper trains on one split and scores {', '.join(PRINTED_LEVELS)}: the table needs a column "
            "split with train and some of these"
        )


def configs_of(
    data: str, specs: Iterable[EncoderSpec], **choices: object
) -> dict[str, tuple[HeadConfig, ...]]:
    """Grid -> the heads of the paper's tables that these encoders suffice for."""
    specs = tuple(specs)
    return {
        name: tuple(
            config
            for config in grid(name, specs, data, **choices)  # type: ignore[arg-type]
            if cell_of(config) in cells
        )
        for name, cells in CELLS.items()
    }
