"""The mean score of a set of clips as a metric of torchmetrics (the extra `metrics`).

from mmmos import load_bundle
from mmmos.metrics import MMMOSMetric

metric = MMMOSMetric(load_bundle("bundle"))
metric.update(waves, 24000)
self.log_dict(metric.compute())
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

try:
    from torchmetrics import Metric
    from torchmetrics.utilities import dim_zero_cat
except ImportError:
    raise ImportError("mmmos.metrics needs torchmetrics: pip install 'mmmos[metrics]'") from None

from mmmos.heads.scoring.ab import reach_of_mean
from mmmos.heads.scoring.scorer import Scorer
from mmmos.heads.scoring.waveforms import Waves

MIN_CLIPS = 10
"""With fewer clips the interval of a mean does not hold what it says: of 70 % low and 30 % high scores, the
95 % intervals of 5 clips hold the mean in 84 % of studies, those of 10 in 94 %."""


class MMMOSMetric(Metric):
    """Mean scores over all clips since the last reset, with 95 % intervals of the means.

    The interval says how far the mean may be from that of all clips like these (Student's t over clips).  It
    knows nothing of the predictor's own error on such audio, which more clips do not make smaller, and it is
    too narrow where clips depend on each other, as many clips of one speaker do.

    Parameters
    ----------
    scorer
        From `load_bundle`.  It stays on its own device, is shared by copies of the metric, and is no part of
        a checkpoint.
    options
        Those of `torchmetrics.Metric`, such as `sync_on_compute`.
    """

    is_differentiable = False
    higher_is_better = True
    full_state_update = False

    clips: list[Tensor] | Tensor

    def __init__(self, scorer: Scorer, **options: Any) -> None:
        super().__init__(**options)
        self.scorer = scorer
        self.add_state("clips", default=[], dist_reduce_fx="cat")

    def update(self, waves: Waves, sample_rate: int, *, channels: bool = False) -> None:
        """Score clips; see `Scorer.scores`."""
        scores = self.scorer.scores(waves, sample_rate, channels=channels)
        if len(scores):
            self.clips.append(scores.to(self.device))  # type: ignore[union-attr]

    def compute(self) -> dict[str, Tensor]:
        """Scalars: for each axis its mean ("PQ") and the interval's ends ("PQ_low", "PQ_high").

        The ends are NaN for fewer than `MIN_CLIPS` clips; all are NaN where there is no clip, or one whose
        scores are beyond belief (see `Scorer.scores`).
        """
        axes = self.scorer.axes
        clips = dim_zero_cat(self.clips) if len(self.clips) else torch.empty(0, len(axes), device=self.device)
        scores = clips.double()
        reach = torch.full((len(axes),), torch.nan, dtype=scores.dtype)
        if len(scores) >= MIN_CLIPS:
            reach = torch.from_numpy(reach_of_mean(scores.cpu().numpy()))
        mean, reach = scores.mean(dim=0), reach.to(scores.device)
        columns = {"": mean, "_low": mean - reach, "_high": mean + reach}
        return {
            f"{axis}{end}": values[number].float()
            for number, axis in enumerate(axes)
            for end, values in columns.items()
        }
