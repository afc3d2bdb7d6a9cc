"""The files for other tools do what those tools ask, held to the interfaces that their repositories show."""

from __future__ import annotations

import csv
import importlib.util
import sys
import types
from abc import ABC, abstractmethod
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from mmmos.heads.scoring.loading import load_bundle
from tests.conftest import ROOT
from tests.heads.scoring.experiment import Experiment, scoring_experiment

HARNESSES = ROOT / "docs" / "harnesses"


@pytest.fixture(scope="module")
def experiment() -> Experiment:
    return scoring_experiment()


def loaded(path: Path) -> types.ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class MetricCategory(Enum):
    INDEPENDENT = "independent"


class MetricType(Enum):
    DICT = "dict"


@dataclass
class MetricMetadata:
    """The fields of VERSA's `versa.definition.MetricMetadata`."""

    name: str
    category: MetricCategory
    metric_type: MetricType
    requires_reference: bool
    requires_text: bool
    gpu_compatible: bool
    auto_install: bool
    dependencies: list[str]
    description: str
    paper_reference: str | None = None
    implementation_source: str | None = None


class BaseMetric(ABC):
    """The abstract methods of VERSA's `versa.definition.BaseMetric`, and how it is constructed."""

    def __init__(self, config: dict[str, Any] | None = None) -> None:
        self.config = config or {}
        self._setup()

    @abstractmethod
    def _setup(self) -> None: ...

    @abstractmethod
    def compute(self, predictions: Any, references: Any = None, metadata: Any = None) -> Any: ...

    @abstractmethod
    def get_metadata(self) -> MetricMetadata: ...


class Registry:
    """VERSA's `MetricRegistry.register`."""

    def __init__(self) -> None:
        self.metrics: dict[str, type] = {}

    def register(
        self, metric_class: type, metadata: MetricMetadata, aliases: list[str] | None = None
    ) -> None:
        self.metrics |= dict.fromkeys([metadata.name, *(aliases or [])], metric_class)


@pytest.fixture
def versa(monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    definition = types.ModuleType("versa.definition")
    for noun in (BaseMetric, MetricCategory, MetricMetadata, MetricType):
        setattr(definition, noun.__name__, noun)
    monkeypatch.setitem(sys.modules, "versa", types.ModuleType("versa"))
    monkeypatch.setitem(sys.modules, "versa.definition", definition)
    return loaded(HARNESSES / "versa" / "mmmos_score.py")


def test_versa_makes_the_metric_from_its_yaml_and_gets_what_the_scorer_says(
    versa: types.ModuleType, experiment: Experiment
) -> None:
    registry = Registry()
    versa.register_mmmos_metric(registry)
    (entry,) = yaml.safe_load((HARNESSES / "versa" / "mmmos.yaml").read_text())
    metric = registry.metrics[entry["name"]](entry | {"bundle": str(experiment.bundle)})
    wave = 0.1 * np.random.default_rng(0).standard_normal(3 * 16000).astype(np.float32)
    found = metric.compute(wave, None, metadata={"sample_rate": 16000})
    expected = load_bundle(experiment.bundle, device="cpu")(wave, 16000)
    assert found == {
        f"mmmos_{name}": expected[name] for name in (key.removeprefix("mmmos_") for key in found)
    }
    assert {"mmmos_PQ", "mmmos_PQ_95_low", "mmmos_PQ_95_high"} <= found.keys()
    assert metric.get_metadata().requires_reference is False


def test_versa_is_told_what_the_metric_needs(versa: types.ModuleType, experiment: Experiment) -> None:
    with pytest.raises(ValueError, match="needs `bundle`"):
        versa.MMMOSMetric({})
    metric = versa.MMMOSMetric({"bundle": str(experiment.bundle), "intervals": False})
    with pytest.raises(ValueError, match="does not guess a sample rate"):
        metric.compute(np.zeros(16000, np.float32))
    wave = np.full(16000, 0.1, np.float32)
    assert not [name for name in metric.compute(wave, metadata={"sample_rate": 16000}) if "95" in name]


def test_sheet_s_results_are_its_own_rows_with_our_score_as_answer(tmp_path: Path) -> None:
    sheet = loaded(HARNESSES / "sheet_results.py")
    ratings, scores = tmp_path / "ratings.csv", tmp_path / "scores.csv"
    ratings.write_text("wav_path,score,system_id,sample_id\nb.wav,3.5,s2,2\na.wav,4.0,s1,1\n")
    scores.write_text("row,path,PQ\nfile,a.wav,7.25\nwindow,a.wav,1.0\nfile,b.wav,2.5\n")
    assert sheet.results(scores, ratings, "PQ") == [
        {"wav_path": "b.wav", "score": "3.5", "system_id": "s2", "sample_id": "2", "answer": "2.5"},
        {"wav_path": "a.wav", "score": "4.0", "system_id": "s1", "sample_id": "1", "answer": "7.25"},
    ]
    scores.write_text("row,path,PQ\nfile,a.wav,7.25\n")
    with pytest.raises(SystemExit, match=r"no PQ for 1 of 2 clips, the first one b\.wav"):
        sheet.results(scores, ratings, "PQ")
    with scores.open() as file:
        assert next(csv.reader(file)) == ["row", "path", "PQ"]
