"""The fast resampled metrics against METRICS on arrays that really repeat the clips."""

from __future__ import annotations

import numpy as np
import pytest

from mmmos.heads.bootstrap import RESAMPLED, cluster_index, draw, interval, resample
from mmmos.heads.metrics import METRICS


@pytest.mark.parametrize("name", METRICS)
@pytest.mark.parametrize(("clips", "clusters"), [(40, 6), (12, 12), (400, 3)])
@pytest.mark.parametrize("ties", [False, True])
def test_equals_the_metric_on_repeated_arrays(name, clips, clusters, ties, rng):
    truth = rng.normal(500, 2, clips)
    pred = truth + rng.normal(0, 1, clips)
    if ties:
        truth, pred = np.round(truth), np.round(pred)
    index = np.r_[np.arange(clusters), rng.integers(0, clusters, clips - clusters)]
    counts = draw(clusters, 25, seed=1)
    got = resample(name, pred, truth, index, counts)
    for row, value in zip(counts, got, strict=True):
        repeated = np.repeat(np.arange(clips), row[index].astype(int))
        expected = METRICS[name](pred[repeated], truth[repeated])
        assert (expected is None and np.isnan(value)) or value == pytest.approx(expected, abs=1e-10)


def test_a_metric_without_a_formula_is_computed_on_the_repeated_arrays(monkeypatch, rng):
    pred, truth, index = rng.normal(5, 1, 30), rng.normal(5, 1, 30), np.arange(30) % 6
    counts = draw(6, 20, seed=1)
    for name in tuple(RESAMPLED):
        fast = resample(name, pred, truth, index, counts)
        monkeypatch.delitem(RESAMPLED, name)
        np.testing.assert_allclose(resample(name, pred, truth, index, counts), fast, atol=1e-10)


@pytest.mark.parametrize("name", [name for name, metric in METRICS.items() if metric.varied])
def test_a_resample_of_one_value_is_undefined(name):
    pred, truth, index = np.array([1.0, 2.0, 3.0]), np.array([2.0, 1.0, 4.0]), np.arange(3)
    values = resample(name, pred, truth, index, np.array([[3.0, 0.0, 0.0], [1.0, 1.0, 1.0]]))
    assert np.isnan(values[0])
    assert np.isfinite(values[1])
    assert interval(values) is None


def test_draws_keep_the_number_of_clusters_and_repeat_with_the_seed():
    counts = draw(7, 500, seed=3)
    assert counts.shape == (500, 7)
    assert (counts.sum(axis=1) == 7).all()
    np.testing.assert_array_equal(counts, draw(7, 500, seed=3))
    assert (counts != draw(7, 500, seed=4)).any()
    assert counts.mean() == 1.0


def test_clusters_are_numbered_in_alphabetical_order():
    assert cluster_index(["b", "a", "b", "c"]).tolist() == [1, 0, 1, 2]


def test_interval_covers_the_truth_about_as_often_as_it_says(rng):
    """Clusters with a common error: the cluster bootstrap covers, the clip bootstrap does not."""
    covered = {"cluster": 0, "clip": 0}
    trials = 150
    for trial in range(trials):
        index = np.repeat(np.arange(25), 10)
        truth = rng.normal(0, 1, 250)
        pred = truth + rng.normal(1, 1, 25)[index] + rng.normal(0, 0.3, 250)
        for kind, members in (("cluster", index), ("clip", np.arange(250))):
            low, high = interval(resample("mse", pred, truth, members, draw(members.max() + 1, 300, trial)))
            covered[kind] += low <= 1 + 1 + 0.09 <= high
    assert covered["cluster"] / trials > 0.85
    assert covered["clip"] / trials < 0.7
