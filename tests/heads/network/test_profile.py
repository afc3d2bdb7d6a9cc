"""The statistics of a crop's frames."""

from __future__ import annotations

import numpy as np
import torch

from mmmos.heads.network.profile import READINGS, STATISTICS, names_of, profile


def test_it_is_what_numpy_says_of_the_valid_frames() -> None:
    frames = torch.randn(3, 20, 4, generator=torch.Generator().manual_seed(0))
    valid = [20, 7, 1]
    found = profile(frames, torch.tensor(valid)).unflatten(1, (len(STATISTICS), 4)).numpy()
    for row, count in enumerate(valid):
        x = frames[row, :count].numpy()
        step = np.abs(np.diff(x, axis=0)).mean(axis=0) if count > 1 else np.zeros(4)
        expected = [x.std(axis=0), step, *np.percentile(x, (5, 25, 50, 75, 95), axis=0)]
        np.testing.assert_allclose(found[row], np.stack(expected), atol=1e-5)


def test_padding_cannot_change_it() -> None:
    frames = torch.randn(1, 20, 4, generator=torch.Generator().manual_seed(0))
    loud = frames.clone()
    loud[:, 9:] = 1e4
    assert torch.equal(profile(frames, torch.tensor([9])), profile(loud, torch.tensor([9])))


def test_every_number_has_a_name() -> None:
    names = names_of("profile", ["a", "b"])
    assert names[:3] == ("mean of a", "mean of b", "deviation of a")
    assert len(set(names)) == 2 * (1 + len(STATISTICS))
    assert names_of("statistics", ["a", "b"]) == names[:4]
    assert names_of("means", ["a", "b"]) == names[:2]
    assert set(READINGS) == {"means", "statistics", "profile"}
