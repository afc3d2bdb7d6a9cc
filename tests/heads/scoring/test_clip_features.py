"""Features of whole clips from stored crops, and the reference that they make."""

from __future__ import annotations

import numpy as np
import pytest

from mmmos.heads.results.experiment import Experiment
from mmmos.heads.scoring import clip_features as module
from mmmos.heads.scoring.clip_features import clip_features, reference_features, reference_of
from mmmos.store.clips import load_table
from mmmos.store.crops import crops_of
from mmmos.store.features import FeatureStore
from tests.heads.small import M2D, MUQ, work_folder


@pytest.fixture(scope="module")
def experiment(tmp_path_factory: pytest.TempPathFactory) -> Experiment:
    work = work_folder(tmp_path_factory.mktemp("work"), specs=(MUQ, M2D))
    return Experiment(work, load_table(work / "clips.json"), ())


def test_crops_are_weighted_by_their_seconds(experiment: Experiment, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CHUNK", 5)
    clips = experiment.table.clips[::-1]
    assert {len(crops_of(clip)) for clip in clips} == {1, 2, 3}
    store = FeatureStore.open(experiment.work / "features" / MUQ.id)
    found = clip_features(experiment, clips, MUQ)
    assert found.dtype == np.float32
    for clip, row in zip(clips, found, strict=True):
        crops = crops_of(clip)
        means = store.means([crop.id for crop in crops]).mean(axis=1)  # MUQ's rule: the mean of all layers
        expected = np.average(means, axis=0, weights=[crop.valid_s for crop in crops])
        np.testing.assert_allclose(row, expected, atol=1e-5)
    assert clip_features(experiment, [], MUQ).shape == (0, MUQ.frame_dim)


def test_the_reference_rests_on_training_clips_and_its_limit_on_others(
    experiment: Experiment, monkeypatch: pytest.MonkeyPatch
) -> None:
    reference = reference_of(experiment, (MUQ, M2D))
    train, others = experiment.table.of("train"), (*experiment.table.of("dev"), *experiment.table.of("pam"))
    assert reference.domains == ("music", "sound", "speech")
    features = clip_features(experiment, train, M2D)
    speech = np.array([clip.domain == "speech" for clip in train])
    np.testing.assert_allclose(reference.means[M2D.id][2], features[speech].mean(axis=0), atol=1e-4)
    assert reference.clips == len(others)
    nearest = reference.distances(reference_features(experiment, others, reference)).min(axis=1)
    assert reference.limit == pytest.approx(nearest.max(), rel=1e-6), (
        "fewer than a hundred clips: the farthest"
    )
    monkeypatch.setattr(module, "REFERENCE_CLIPS", 7)
    assert reference_of(experiment, (MUQ,)).clips == 7
