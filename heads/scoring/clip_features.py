"""Stored features of whole clips, and the reference that a work folder's training clips make of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from mmmos.heads.network.reading import layer_rule, weighted_mean
from mmmos.heads.results.experiment import Experiment
from mmmos.heads.scoring.reference import Reference, make_reference
from mmmos.store.crops import crops_of
from mmmos.store.features import FeatureStore
from mmmos.store.schema import Clip, EncoderSpec

REFERENCE_CLIPS = 2000
"""At most so many clips are read for means and deviations: enough for both, and read in seconds."""
CHUNK = 256


def reference_of(experiment: Experiment, specs: Sequence[EncoderSpec]) -> Reference:
    """The training domains in the features of these encoders; the limit is taken from dev and PAM."""
    rng = np.random.default_rng(0)
    table = experiment.table

    def some(clips: Sequence[Clip]) -> list[Clip]:
        chosen = sorted(rng.permutation(len(clips))[:REFERENCE_CLIPS])
        return [clips[n] for n in chosen]

    train, held_out = some(table.of("train")), some([*table.of("dev"), *table.of("pam")])
    features = {spec.id: clip_features(experiment, train, spec) for spec in specs}
    other = {spec.id: clip_features(experiment, held_out, spec) for spec in specs}
    return make_reference(features, [clip.domain for clip in train], other)


def reference_features(
    experiment: Experiment, clips: Sequence[Clip], reference: Reference
) -> Mapping[str, NDArray[np.float32]]:
    """Features of clips as `reference` takes them: spec id -> [N, D]."""
    folder = experiment.work / "features"
    return {
        spec_id: clip_features(experiment, clips, FeatureStore.open(folder / spec_id).spec)
        for spec_id in reference.means
    }


def clip_features(experiment: Experiment, clips: Sequence[Clip], spec: EncoderSpec) -> NDArray[np.float32]:
    """Time means of clips under the spec's layer rule [N, frame_dim], their crops weighted by `valid_s`."""
    store = FeatureStore.open(experiment.work / "features" / spec.id)
    crops = [crops_of(clip) for clip in clips]
    ids = [crop.id for of_clip in crops for crop in of_clip]
    chunks = (torch.from_numpy(store.means(ids[at : at + CHUNK])) for at in range(0, len(ids), CHUNK))
    parts = [layer_rule(means, spec) for means in chunks]
    if not parts:
        return np.empty((0, spec.frame_dim), np.float32)
    owner = np.repeat(np.arange(len(clips)), [len(of_clip) for of_clip in crops])
    seconds = np.array([crop.valid_s for of_clip in crops for crop in of_clip])
    owners, weights = map(torch.from_numpy, (owner, seconds))
    return weighted_mean(torch.cat(parts), owners, weights, len(clips)).float().numpy()
