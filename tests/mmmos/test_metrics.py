"""The metric, against the real torchmetrics."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

torchmetrics = pytest.importorskip("torchmetrics", reason="the extra `metrics` is not installed")

from mmmos.extract.audio import AUDIO_RECIPE  # noqa: E402
from mmmos.extract.compute import Compute  # noqa: E402
from mmmos.extract.encoders import load_encoder  # noqa: E402
from mmmos.extract.front import Front  # noqa: E402
from mmmos.heads.scoring.scorer import Scorer  # noqa: E402
from mmmos.metrics import MIN_CLIPS, MMMOSMetric  # noqa: E402
from tests.heads.scoring.made_bundle import made_bundle  # noqa: E402

RATE_HZ = 24000


@pytest.fixture(scope="module")
def scorer() -> Scorer:
    encoder = load_encoder("logmel", audio_recipe=AUDIO_RECIPE)
    return Scorer(made_bundle([encoder.spec]), Front([encoder], Compute(device="cpu")))


def clips(count: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    loudness = 0.3 * torch.rand(count, 1, generator=generator)
    return loudness * torch.randn(count, RATE_HZ // 4, generator=generator)


def test_means_and_intervals_are_those_of_all_clips_whatever_the_batches(scorer: Scorer) -> None:
    waves, metric = clips(25), MMMOSMetric(scorer)
    for batch in (waves[:1], list(waves[1:13]), waves[13:13], waves[13:]):
        metric.update(batch, RATE_HZ)
    found, scores = metric.compute(), scorer.scores(waves, RATE_HZ).numpy()
    assert list(found) == [f"{axis}{end}" for axis in scorer.axes for end in ("", "_low", "_high")]
    for number, axis in enumerate(scorer.axes):
        column = scores[:, number].astype(np.float64)
        low, high = stats.t.interval(0.95, 24, column.mean(), stats.sem(column))
        expected = torch.tensor([column.mean(), low, high], dtype=torch.float32)
        ours = torch.stack([found[axis], found[f"{axis}_low"], found[f"{axis}_high"]])
        torch.testing.assert_close(ours, expected, atol=1e-5, rtol=0)
        assert low < high


def test_few_clips_have_no_interval_and_none_no_mean(scorer: Scorer) -> None:
    metric = MMMOSMetric(scorer)
    with pytest.warns(UserWarning, match="before the ``update``"):
        assert all(value.isnan() for value in metric.compute().values())
    metric.reset()
    metric.update(clips(MIN_CLIPS - 1), RATE_HZ)
    assert metric.compute()["PQ"].isfinite()
    assert metric.compute()["PQ_low"].isnan()
    metric.update(clips(1), RATE_HZ)
    assert metric.compute()["PQ_low"].isfinite()


def test_a_reset_forgets_and_a_batch_has_values_of_its_own(scorer: Scorer) -> None:
    metric = MMMOSMetric(scorer)
    metric.update(clips(3, seed=1), RATE_HZ)
    metric.reset()
    first, second = metric(clips(10), RATE_HZ), metric(clips(12, seed=2), RATE_HZ)
    alone = MMMOSMetric(scorer)
    alone.update(clips(12, seed=2), RATE_HZ)
    assert second["PQ"] == alone.compute()["PQ"] != first["PQ"]
    both = (10 * first["PQ"] + 12 * second["PQ"]) / 22
    torch.testing.assert_close(metric.compute()["PQ"], both)


def test_processes_share_their_clips(scorer: Scorer) -> None:
    """As torchmetrics gathers states, with another process that holds five clips more."""
    other = scorer.scores(clips(15, seed=3), RATE_HZ)

    def gather(state: Tensor, group: Any = None) -> list[Tensor]:
        return [state, other]

    metric = MMMOSMetric(scorer, dist_sync_fn=gather, distributed_available_fn=lambda: True)
    metric.update(clips(10), RATE_HZ)
    everything = torch.cat((scorer.scores(clips(10), RATE_HZ), other))
    torch.testing.assert_close(metric.compute()["PQ"], everything.mean(dim=0)[scorer.axes.index("PQ")])
    assert sum(map(len, metric.clips)) == 10, "what a process adds next is its own again"


def test_it_works_in_a_collection_and_copies_share_the_scorer(scorer: Scorer) -> None:
    metric = MMMOSMetric(scorer)
    collection = torchmetrics.MetricCollection({"mmmos": metric}, prefix="val_")
    collection.update(clips(10), RATE_HZ)
    assert collection.compute().keys() == {f"val_{name}" for name in metric.compute()}
    other = copy.deepcopy(metric)
    assert other.scorer is scorer
    assert not any(True for _ in metric.parameters())
    assert metric.state_dict() == {}
