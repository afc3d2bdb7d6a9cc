"""MMMOS as a metric of VERSA: copy this file to `versa/utterance_metrics/` (see docs/harnesses.md)."""

from __future__ import annotations

from typing import Any

import numpy as np
from versa.definition import BaseMetric, MetricCategory, MetricMetadata, MetricType

from mmmos import load_bundle


class MMMOSMetric(BaseMetric):
    """Scores of every axis of a bundle, each with the ends of its 95 % interval.

    Configuration: `bundle` (a folder, or the id of a repository on the hub), `weights` (a folder with the
    encoders' weights, optional), `use_gpu`, `intervals` (default true).
    """

    def _setup(self) -> None:
        if not self.config.get("bundle"):
            raise ValueError("the metric mmmos needs `bundle`: a folder, or owner/name on the hub")
        self.scorer = load_bundle(
            self.config["bundle"],
            device="cuda" if self.config.get("use_gpu") else "cpu",
            weights=self.config.get("weights"),
        )

    def compute(
        self, predictions: Any, references: Any = None, metadata: dict[str, Any] | None = None
    ) -> dict[str, float]:
        """Scores of one waveform [n] at `metadata["sample_rate"]`; the reference is not used."""
        if predictions is None:
            raise ValueError("a predicted signal is needed")
        if not metadata or "sample_rate" not in metadata:
            raise ValueError("metadata['sample_rate'] is needed: MMMOS does not guess a sample rate")
        answer = self.scorer(np.asarray(predictions), int(metadata["sample_rate"]))
        ends = ("", "_95_low", "_95_high") if self.config.get("intervals", True) else ("",)
        names = [axis + end for axis in self.scorer.axes for end in ends]
        return {f"mmmos_{name}": answer[name] for name in names if answer.get(name) is not None}

    def get_metadata(self) -> MetricMetadata:
        return METADATA


METADATA = MetricMetadata(
    name="mmmos",
    category=MetricCategory.INDEPENDENT,
    metric_type=MetricType.DICT,
    requires_reference=False,
    requires_text=False,
    gpu_compatible=True,
    auto_install=False,
    dependencies=["mmmos", "numpy"],
    description="Predicted listeners' ratings on several axes, without a reference",
    paper_reference="https://arxiv.org/abs/2507.04094",
)


def register_mmmos_metric(registry: Any) -> None:
    """Make the metric known to VERSA under the name `mmmos`."""
    registry.register(MMMOSMetric, METADATA, aliases=["MMMOS"])
