"""Ensembles and runs scored: the test split once, and the paper's rules side by side (Table IV)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mmmos.heads.ensemble import FURTHER, TABLE4, Ensemble, choose_ensemble
from mmmos.heads.results.evaluation import Row, rows
from mmmos.heads.results.experiment import Experiment
from mmmos.heads.results.nested import predict
from mmmos.heads.runs import Run
from mmmos.store import sealed
from mmmos.store.console import kept_if_writable
from mmmos.store.shape import require, shape_of

STATISTICS = 2
"""Raised whenever the same predictions get other figures or intervals; older kept rows are computed anew."""

SEEN = "seen.json"
"""Id of each single run that was scored on test in passing (Table III) -> when it was first."""

SEEN_SHAPE = {str: {"data": str, "at": str}}
SHAPE = (
    {"data": str, "scored_at": str, "statistics?": int, "intervals?": bool, "rows": [dict]},
    {"ensemble": {"data": str}, "scored_at": str, "rows": [dict]},
)
"""Of what is kept of a scoring; the second is that of 0.1."""


@dataclass(frozen=True)
class Scored:
    """Rows of an ensemble or a run on one split, and when they were made first."""

    subject: Ensemble | Run
    split: str
    rows: tuple[Row, ...]
    scored_at: str


def score(subject: Ensemble | Run, experiment: Experiment, split: str, intervals: bool = True) -> Scored:
    """Rows of an ensemble or a run on `split`.

    The test split is scored once: the first call keeps the rows and the time in work/test-scores/, later
    calls read them back, so every figure on test has one date and looking again changes nothing.
    """
    kept = _kept(experiment) / f"{subject.id}.json"
    before: dict[str, Any] = {}
    if split == "test" and kept.is_file():
        before = sealed.read_object(kept)
        require(before, SHAPE, kept)
        if before.get("statistics") == STATISTICS and (before.get("intervals") or not intervals):
            require(before["rows"], [shape_of(Row)], kept)
            return Scored(subject, split, tuple(Row(**row) for row in before["rows"]), before["scored_at"])
    if isinstance(subject, Run):
        predictions = subject.predictions(split)
    else:
        predictions = predict(subject, experiment, split)
    found = experiment.shown(rows(predictions, experiment.table.of(split), intervals))
    at = str(before.get("scored_at", _now()))
    if split == "test":
        what = {"run": subject.id} if isinstance(subject, Run) else {"ensemble": asdict(subject)}
        content = {**what, "data": experiment.table.id, "scored_at": at, "statistics": STATISTICS}
        content |= {"intervals": intervals, "rows": [asdict(row) for row in found]}
        with kept_if_writable(kept):
            sealed.write_json(kept, content)
    return Scored(subject, split, tuple(found), at)


def note_seen(experiment: Experiment, runs: Sequence[Run]) -> None:
    """Note that these runs were scored on the test split without keeping their rows."""
    path = _kept(experiment) / SEEN
    before = sealed.read_object(path) if path.is_file() else {}
    require(before, SEEN_SHAPE, path)
    new = {run.id: {"data": run.config.data, "at": _now()} for run in runs if run.id not in before}
    if new:
        with kept_if_writable(path):
            sealed.write_json(path, {**before, **new})


def times_test_was_scored(experiment: Experiment) -> tuple[int, int]:
    """How many different ensembles and single runs were scored on the test split of this table so far."""
    ensembles: set[str] = set()
    runs: set[str] = set()
    for path in _kept(experiment).glob("*.json"):
        content = sealed.read_object(path)
        require(content, SEEN_SHAPE if path.name == SEEN else SHAPE, path)
        if path.name == SEEN:
            runs |= {run for run, seen in content.items() if seen["data"] == experiment.table.id}
        elif (content.get("data") or content["ensemble"]["data"]) == experiment.table.id:
            (runs if "run" in content else ensembles).add(path.stem)
    return len(ensembles), len(runs)


def _kept(experiment: Experiment) -> Path:
    return experiment.work / "test-scores"


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def contenders(
    experiment: Experiment, rules: Sequence[str] = (*TABLE4, *FURTHER)
) -> dict[str, Ensemble | str]:
    """Rule -> its ensemble, or the reason why it cannot be followed here."""
    result: dict[str, Ensemble | str] = {}
    for rule in rules:
        try:
            result[rule] = choose_ensemble(experiment.pool, experiment.table.id, rule, experiment.run_set)
        except ValueError as reason:
            result[rule] = str(reason)
    return result
