"""A published predictor beside one's own, in the paper's way: how much lower the MSE, how much higher KTAU.

Its predictions on the splits of a clip table lie in the work folder, in `predictions_path`; the option
`--baseline` has them made (`scoring.baseline`), so that results are read without encoders.  From then on the
predictor stands beside the runs in every evaluation, report, notebook and model card of that table.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from mmmos.heads.metrics import LEVELS
from mmmos.heads.results.evaluation import EVERYWHERE, Row, index_rows, rows
from mmmos.heads.results.experiment import Experiment
from mmmos.heads.runs import NotStoredError
from mmmos.store.predictions import Predictions
from mmmos.store.schema import COMPOSITE
from mmmos.store.table import Cell, Table

AGAINST = "Against "
"""How the title of `baseline_table` begins."""


def predictions_path(experiment: Experiment, name: str, split: str) -> Path:
    """Where the predictions of a published predictor on this very clip table are kept."""
    return experiment.work / "baselines" / f"{name}-{experiment.table.id}" / f"predictions-{split}.parquet"


def stored_baselines(experiment: Experiment) -> list[str]:
    """Names of the published predictors whose predictions on every split of an experiment are stored."""
    ending = f"-{experiment.table.id}"
    folders = sorted((experiment.work / "baselines").glob(f"*{ending}"))
    names = [folder.name.removesuffix(ending) for folder in folders]
    return [
        name
        for name in names
        if all(predictions_path(experiment, name, split).is_file() for split in experiment.splits)
    ]


def baseline_rows(experiment: Experiment, name: str) -> list[Row]:
    """Every figure of a published predictor on the splits of an experiment, without intervals.

    Its composite is left out where it does not predict every axis of the table.

    Raises
    ------
    NotStoredError
        Where its predictions on a split are missing.
    """
    found: list[Row] = []
    for split in experiment.splits:
        path = predictions_path(experiment, name, split)
        if not path.is_file():
            raise NotStoredError(f"{name} has no stored predictions on {split}: {path} is missing")
        said = Predictions.load(path)
        whole = set(said.axes) == set(experiment.table.axes)
        of_split = experiment.shown(rows(said, experiment.table.of(split), intervals=False))
        found += [row for row in of_split if whole or row.axis != COMPOSITE]
    return found


def caveats(experiment: Experiment, name: str) -> tuple[str, ...]:
    """What must be said beside its figures."""
    stored = (predictions_path(experiment, name, split) for split in experiment.splits)
    return tuple(dict.fromkeys(caveat for path in stored for caveat in Predictions.load(path).caveats))


def baseline_table(
    of_runs: Sequence[Row], of_baseline: Sequence[Row], name: str, labels: dict[str, str]
) -> Table:
    """MSE and KTAU of runs and of the baseline, the reduction of the MSE and the difference of KTAU.

    Parameters
    ----------
    of_runs, of_baseline
        Rows on the same clips.
    labels
        Run id -> what a reader calls it; those of `of_runs` that are shown.
    """
    found = index_rows(of_runs)
    beside = index_rows(of_baseline)
    body: list[tuple[Cell, ...]] = []
    for run, label in labels.items():
        for split in dict.fromkeys(row.split for row in of_baseline):
            for level in LEVELS:
                for axis in _shared_axes(of_runs, of_baseline, run, split):
                    place = (split, level, EVERYWHERE, axis)
                    figures = [
                        _value(index.get((who, *place, metric)))
                        for metric in ("mse", "ktau")
                        for index, who in ((found, run), (beside, name))
                    ]
                    if any(figure is not None for figure in figures):
                        body.append((label, split, level, axis, *_compared(*figures)))
    columns = ("run", "split", "level", "axis", "MSE", f"MSE {name}", "MSE lower by", "KTAU", f"KTAU {name}")
    notes = (
        f"MSE lower by: the reduction against {name}, in % of its MSE; negative where {name} is better.",
    )
    return Table(f"{AGAINST}{name}", (*columns, "KTAU higher by"), tuple(body), notes)


def _compared(
    mse: float | None, other_mse: float | None, ktau: float | None, other_ktau: float | None
) -> tuple[Cell, ...]:
    reduction = None if mse is None or not other_mse else f"{100 * (1 - mse / other_mse):+.1f} %"
    higher = None if ktau is None or other_ktau is None else f"{ktau - other_ktau:+.3f}"
    return mse, other_mse, reduction, ktau, other_ktau, higher


def _shared_axes(of_runs: Iterable[Row], of_baseline: Iterable[Row], run: str, split: str) -> list[str]:
    """Axes that both predict; their composite only where it is over the same axes."""
    ours = list(dict.fromkeys(row.axis for row in of_runs if (row.run, row.split) == (run, split)))
    theirs = {row.axis for row in of_baseline if row.split == split}
    same = {*ours} == theirs
    return [axis for axis in ours if axis in theirs and (same or axis != COMPOSITE)]


def _value(row: Row | None) -> float | None:
    return None if row is None else row.value
