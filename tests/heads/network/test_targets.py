"""Targets: z-scored with the head's own statistics, NaN where not rated; and the line back to the scale."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from mmmos.heads.grids import configure
from mmmos.heads.network.losses import RATING_LEVELS
from mmmos.heads.network.targets import Targets
from mmmos.heads.training.data import Features
from mmmos.heads.training.start import fresh_head
from tests.heads.small import WAVLM, work_folder


def test_targets_are_z_scores_or_level_probabilities_of_the_rated_axes(tmp_path: Path) -> None:
    features = Features.open(work_folder(tmp_path, count=18, specs=(WAVLM,), axes=3, ratings=True))
    train = features.of("train")
    every = np.arange(len(features.clips), dtype=np.int64)
    for loss in ("ut", "listeners"):
        config = configure(features.table.id, [WAVLM.id], "mlp", loss)
        targets = Targets(fresh_head(config, features, train), features.clips)
        values = targets[torch.from_numpy(every)]
        assert targets.rated.all()
        assert torch.isfinite(values).all()
        if loss == "ut":
            assert values.shape == (18, 3)
            np.testing.assert_allclose(values[torch.from_numpy(train)].mean(0), 0, atol=1e-6)
            np.testing.assert_allclose(values[torch.from_numpy(train)].std(0, correction=0), 1, atol=1e-5)
        else:
            assert values.shape == (18, 3, RATING_LEVELS)
            torch.testing.assert_close(values.sum(-1), torch.ones(18, 3))
