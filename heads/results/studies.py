"""What a sweep has left of its studies, read as the file of a stranger."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mmmos.heads.metrics import METRICS
from mmmos.store import sealed
from mmmos.store.names import choose
from mmmos.store.shape import NOTHING, NUMBER, require

TRIAL = {"number": int, "state": str, "value": (*NUMBER, NOTHING)}
STUDY = {
    **dict.fromkeys(("study", "objective", "reason"), str),
    **dict.fromkeys(("difference", "low", "high"), (*NUMBER, NOTHING)),
    **dict.fromkeys(("first", "best"), (TRIAL, NOTHING)),
    "trials": [TRIAL],
}
"""What is taken for granted of `tuning.study.Result`."""


def read_study(path: Path) -> dict[str, Any]:
    """The results of a study; ValueError with file and place where they are none."""
    study = sealed.read_object(path)
    require(study, STUDY, path)
    try:
        metric_of(study)
    except ValueError as reason:
        raise ValueError(f"{path}: {reason}") from None
    return study


def metric_of(study: dict[str, Any]) -> str:
    """The metric of its objective, SPLIT:METRIC[:AXIS]."""
    return choose("metric", study["objective"].partition(":")[2].partition(":")[0], METRICS)
