"""Every member scores every window, whatever stands beside it in the batch."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from mmmos.extract.audio import AUDIO_RECIPE
from mmmos.extract.compute import Compute
from mmmos.extract.encoders import load_encoder
from mmmos.extract.front import Front, Window
from mmmos.heads.scoring.members import Members
from tests.heads.scoring.made_bundle import made_bundle


def test_a_window_has_the_scores_that_it_has_alone() -> None:
    front = Front([load_encoder("logmel", audio_recipe=AUDIO_RECIPE)], Compute(device="cpu"))
    made = [made_bundle(front.specs, seed=seed) for seed in (0, 3)]
    heads = {str(n): head for n, one in enumerate(made) for head in one.heads.values()}
    members = Members(replace(made[0], heads=heads, weights=(0.5, 0.5)), front)
    rng = np.random.default_rng(0)
    waves = rng.normal(0, 0.1, (3, 240000)).astype(np.float32)
    windows = [Window(0.0, s, True, False, {24000: w}) for s, w in zip((10, 4, 1), waves, strict=True)]
    with torch.inference_mode():
        together = members.scores(front.encode(windows), [10, 4, 1])
        alone = [members.scores(front.encode([w]), [w.valid_s]) for w in windows]
    assert together.shape == (3, 2, 4)
    torch.testing.assert_close(together, torch.cat(alone), atol=1e-4, rtol=0)
    assert not torch.allclose(together[:, 0], together[:, 1])
