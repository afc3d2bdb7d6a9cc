"""What the mean squared error of the paper's configurations is made of: level, spread and rest."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Iterator, Sequence

from mmmos.heads.metrics import METRICS, mse_parts
from mmmos.heads.results.evaluation import EVERYWHERE, Part, parts, predicted
from mmmos.heads.results.printed import PRINTED_LEVELS
from mmmos.store.clips import ClipTable
from mmmos.store.predictions import Predictions
from mmmos.store.schema import COMPOSITE
from mmmos.store.table import Cell, Table

NOTE = (
    "Mean over the seeds. Level: the squared difference of the means; spread: of the standard deviations; "
    "rest: what no shift and no other scale mends."
)


def in_paper(part: Part, split: str) -> bool:
    """Whether the paper's Tables II to IV show figures of this part."""
    return (part.axis, part.domain, part.level) == (COMPOSITE, EVERYWHERE, PRINTED_LEVELS[split])


def mse_table(table: ClipTable, subjects: Iterable[tuple[str, str, Sequence[Predictions]]]) -> Table:
    """MSE in parts, mean over the seeds, see `metrics.mse_parts`.

    Parameters
    ----------
    table
        The rated clips.
    subjects
        Name, split and the predictions of every seed; what is not predicted has no row.
    """
    body: list[tuple[Cell, ...]] = []
    for name, split, predictions in subjects:
        found = [parted for one in predictions for parted in _parted(table, one, split)]
        if found:
            body.append((name, split, *(statistics.fmean(column) for column in zip(*found, strict=True))))
    columns = ("name", "split", "MSE", "level", "spread", "rest")
    return Table("What the MSE is made of", columns, tuple(body), (NOTE,))


def _parted(table: ClipTable, one: Predictions, split: str) -> Iterator[tuple[float, float, float, float]]:
    """MSE, level, spread and rest at the paper's level; nothing where no clip is rated."""
    clips = table.of(split)
    for part in parts(clips, one.axes):
        if in_paper(part, split):
            pred = part.items(predicted(one, clips)[COMPOSITE])
            whole, three = METRICS["mse"](pred, part.truth), mse_parts(pred, part.truth)
            if whole is not None and three is not None:
                yield whole, *three
