"""Ensembles scored: the test split once, and the paper's rules side by side (Table IV)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime

from mmmos.heads.bootstrap import RESAMPLES
from mmmos.heads.ensemble import FURTHER, TABLE4, Ensemble, choose_ensemble
from mmmos.heads.results.evaluation import Row, rows
from mmmos.heads.results.experiment import Experiment
from mmmos.store import sealed


@dataclass(frozen=True)
class Scored:
    """Rows of an ensemble on one split, and when they were made."""

    ensemble: Ensemble
    split: str
    rows: tuple[Row, ...]
    scored_at: str


def score(ensemble: Ensemble, experiment: Experiment, split: str, resamples: int = RESAMPLES) -> Scored:
    """Rows of the ensemble on `split`.

    The test split is scored once: the first call keeps the rows and the time in work/test-scores/, later
    calls read them back, so every figure on test has one date and looking again changes nothing.
    """
    clips = experiment.table.of(split)
    kept = experiment.work / "test-scores" / f"{ensemble.id}.json"
    if split == "test" and kept.is_file():
        content = sealed.read_object(kept)
        return Scored(ensemble, split, tuple(Row(**row) for row in content["rows"]), content["scored_at"])
    found = rows(ensemble.predict(experiment.runs, split), clips, resamples)
    now = datetime.now(UTC).isoformat(timespec="seconds")
    if split == "test":
        content = {"ensemble": asdict(ensemble), "scored_at": now, "resamples": resamples}
        content["rows"] = [asdict(row) for row in found]
        sealed.write_json(kept, content)
    return Scored(ensemble, split, tuple(found), now)


def times_test_was_scored(experiment: Experiment) -> int:
    """How many different ensembles have been scored on the test split of this table so far."""
    kept = (experiment.work / "test-scores").glob("ensemble-*.json")
    return sum(sealed.read_object(path)["ensemble"]["data"] == experiment.table.id for path in kept)


def contenders(
    experiment: Experiment, rules: Sequence[str] = (*TABLE4, *FURTHER)
) -> dict[str, Ensemble | str]:
    """Rule -> its ensemble, or the reason why it cannot be followed here."""
    result: dict[str, Ensemble | str] = {}
    for rule in rules:
        try:
            result[rule] = choose_ensemble(experiment.pool, experiment.table.id, rule)
        except ValueError as reason:
            result[rule] = str(reason)
    return result
