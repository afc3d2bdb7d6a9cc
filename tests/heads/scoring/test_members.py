"""Every member scores every window, whatever stands beside it in the batch."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from mmmos.extract.audio import AUDIO_RECIPE
from mmmos.extract.compute import Compute
from mmmos.extract.encoders import load_encoder
from mmmos.extract.front import Front, Window
from mmmos.heads.scoring.members import Members
from tests.heads.scoring.made_bundle import made_bundle


def two_members() -> Members:
    front = Front([load_encoder("logmel", audio_recipe=AUDIO_RECIPE)], Compute(device="cpu"))
    made = [made_bundle(front.specs, seed=seed) for seed in (0, 3)]
    heads = {str(n): head for n, one in enumerate(made) for head in one.heads.values()}
    return Members(replace(made[0], heads=heads, weights=(0.5, 0.5)), front)


def three_windows() -> list[Window]:
    rng = np.random.default_rng(0)
    waves = rng.normal(0, 0.1, (3, 240000)).astype(np.float32)
    return [Window(0.0, s, True, False, {24000: w}) for s, w in zip((10, 4, 1), waves, strict=True)]


def test_a_window_has_the_scores_that_it_has_alone() -> None:
    members, windows = two_members(), three_windows()
    front = members.front
    with torch.inference_mode():
        together = members.scores(front.encode(windows), [10, 4, 1])
        alone = [members.scores(front.encode([w]), [w.valid_s]) for w in windows]
    assert together.shape == (3, 2, 4)
    torch.testing.assert_close(together, torch.cat(alone), atol=1e-4, rtol=0)
    assert not torch.allclose(together[:, 0], together[:, 1])


def test_where_memory_does_not_suffice_half_of_the_windows_are_scored_at_a_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    members = two_members()
    encoded = members.front.encode(three_windows())
    expected = members.scores(encoded, [10, 4, 1])
    plain, asked = members._scores, []

    def tight(of_part: dict, valid_s: list[float]) -> torch.Tensor:
        asked.append(len(valid_s))
        if len(valid_s) > 1:
            raise RuntimeError("CUDA error: out of memory")
        return plain(of_part, valid_s)

    monkeypatch.setattr(members, "_scores", tight)
    torch.testing.assert_close(members.scores(encoded, [10, 4, 1]), expected, atol=1e-4, rtol=0)
    assert asked == [3, 1, 1, 1]
