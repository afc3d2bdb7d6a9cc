"""Leaving out all clusters at once gives what METRICS gives on the clips that are left."""

from __future__ import annotations

import numpy as np
import pytest

from mmmos.heads import left_out as module
from mmmos.heads.left_out import left_out
from mmmos.heads.metrics import METRICS


@pytest.mark.parametrize("name", METRICS)
@pytest.mark.parametrize(("clips", "clusters"), [(40, 6), (12, 12), (300, 3), (4, 2)])
@pytest.mark.parametrize("ties", [False, True])
def test_equals_the_metric_on_what_is_left(name, clips, clusters, ties, rng):
    truth = rng.normal(500, 2, clips)
    pred = truth + rng.normal(0, 1, clips)
    if ties:
        truth, pred = np.round(truth), np.round(pred)
    index = np.r_[np.arange(clusters), rng.integers(0, clusters, clips - clusters)]
    for cluster, got in enumerate(left_out(name, pred, truth, index)):
        kept = index != cluster
        expected = METRICS[name](pred[kept], truth[kept])
        assert (expected is None and np.isnan(got)) or got == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("name", METRICS)
def test_many_items_are_left_to_the_metric(name, rng, monkeypatch):
    truth = rng.normal(5, 1, 200)
    pred, index = truth + rng.normal(0, 1, 200), np.arange(200) % 20
    at_once = left_out(name, pred, truth, index)
    monkeypatch.setattr(module, "MAX_MATRIX", 100)
    np.testing.assert_allclose(left_out(name, pred, truth, index), at_once, atol=1e-12)


@pytest.mark.parametrize("name", [name for name, metric in METRICS.items() if metric.varied])
def test_what_is_left_of_one_value_is_undefined(name):
    pred, truth = np.r_[np.zeros(11), 1.0], np.arange(12.0)
    values = left_out(name, pred, truth, np.arange(12))
    assert np.isnan(values[11])
    assert np.isfinite(values[:11]).all()
