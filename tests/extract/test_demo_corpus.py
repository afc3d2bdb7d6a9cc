"""The demonstration corpus has the paper's shape, and can be learned from."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pandas
import pytest

from mmmos.extract.audio import AUDIO_RECIPE
from mmmos.extract.decoding import survey_file
from mmmos.extract.demo_corpus import (
    GENERATED_SYSTEMS,
    REAL_SYSTEMS,
    latent_scores,
    renderings,
    simulate_ratings,
    synthesise,
)
from mmmos.extract.demo_sounds import CONTENTS, DEGRADATIONS, content, unit
from mmmos.extract.encoders import load_encoder
from mmmos.extract.extraction import extract
from mmmos.extract.survey import survey
from mmmos.store.clips import ClipTable, read_clips
from mmmos.store.crops import crops_of
from mmmos.store.features import FeatureStore
from mmmos.store.schema import AES_AXES, Clip
from mmmos.store.splits import shared_audio


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("demo")
    synthesise(path, seed=0)
    return path


@pytest.fixture(scope="module")
def table(folder: Path) -> ClipTable:
    surveyed, rejects = survey(read_clips(folder / "clips.csv", audio_root=folder), folder, quiet=True)
    assert rejects == []
    return surveyed


def test_splits_share_no_content_and_mix_systems_as_the_paper_does(table: ClipTable) -> None:
    assert 150 <= len(table.clips) <= 170
    groups = {split: {clip.group for clip in table.of(split)} for split in ("train", "dev", "pam", "test")}
    assert sum(map(len, groups.values())) == len(set().union(*groups.values()))
    assert shared_audio(table.clips) == []
    assert {clip.system for clip in table.of("dev")} == set(REAL_SYSTEMS)
    assert {clip.system for clip in table.of("pam")} == set(GENERATED_SYSTEMS)
    for split in ("train", "test"):
        systems = Counter(clip.system for clip in table.of(split))
        assert len(systems) == 8
        assert max(systems.values()) - min(systems.values()) <= 1
    domains = Counter(clip.domain for clip in table.clips)
    assert set(domains) == {"speech", "music", "sound"}
    assert max(domains.values()) - min(domains.values()) <= 6


def test_clips_are_short_and_long_at_several_rates_mono_and_stereo(table: ClipTable, folder: Path) -> None:
    lengths = [clip.duration_s for clip in table.clips]
    assert 2.5 < min(lengths) < 4
    assert 15 < max(lengths) < 23.1
    infos = [survey_file(folder / clip.path) for clip in table.clips[::4]]
    assert len({info.sample_rate_hz for info in infos}) >= 2
    assert {info.channels for info in infos} == {1, 2}
    assert min(info.sample_rate_hz for info in infos) >= 24000
    assert {Path(clip.path).suffix for clip in table.clips} == {".wav", ".flac"}
    assert max(info.clipped for info in infos) == 0.0


def test_ten_listeners_rate_in_whole_points_around_the_truth(table: ClipTable, folder: Path) -> None:
    assert all(len(single) == 10 for clip in table.clips for single in clip.ratings)
    points = np.array([clip.ratings for clip in table.clips])
    assert set(np.unique(points)) <= set(range(1, 11))
    np.testing.assert_allclose(table.scores(), points.mean(axis=2))
    latent = np.array([json.loads(cell) for cell in pandas.read_csv(folder / "clips.csv")["_latent"]])
    for axis in range(len(AES_AXES.names)):
        assert np.corrcoef(latent[:, axis], table.scores()[:, axis])[0, 1] > 0.95


def test_truth_moves_with_layers_severity_and_domain() -> None:
    plain, rich, spoilt = (
        latent_scores("music", 1, 0.2),
        latent_scores("music", 5, 0.2),
        latent_scores("music", 5, 0.8),
    )
    enjoyment, usefulness, complexity, quality = range(4)
    assert rich[complexity] > plain[complexity]
    assert rich[quality] == plain[quality]
    assert spoilt[quality] < rich[quality]
    assert spoilt[complexity] == rich[complexity]
    for axis in (enjoyment, usefulness):
        assert plain[axis] < rich[axis]
        assert spoilt[axis] < rich[axis]
    assert latent_scores("sound", 5, 0.2)[complexity] < rich[complexity]


def test_the_same_seed_makes_the_same_corpus_and_another_seed_another() -> None:
    assert renderings(3) == renderings(3)
    assert renderings(3) != renderings(4)
    latent = np.array([clip.latent for clip in renderings(3)])
    ratings = [simulate_ratings(latent, np.random.default_rng(seed)) for seed in (1, 1, 2)]
    assert (ratings[0] == ratings[1]).all()
    assert (ratings[0] != ratings[2]).any()
    for domain in CONTENTS:
        waves = [content(domain, 3, np.random.default_rng(seed), 24000, 24000) for seed in (1, 1, 2)]
        assert (waves[0] == waves[1]).all()
        assert (waves[0] != waves[2]).any()


@pytest.mark.parametrize("name", DEGRADATIONS)
def test_a_worse_rendering_is_farther_from_the_original(name: str, rng: np.random.Generator) -> None:
    clean = content("music", 3, rng, 72000, 24000)

    def likeness(severity: float) -> float:
        wave = unit(DEGRADATIONS[name](clean, severity, np.random.default_rng(0), 24000))
        assert wave.shape == clean.shape
        assert np.isfinite(wave).all()
        return float(np.mean(unit(clean) * wave))

    mild, middle, strong = likeness(0.0), likeness(0.5), likeness(1.0)
    assert mild > 0.97
    assert mild > middle > strong


def means(table: ClipTable, store: FeatureStore, clips: tuple[Clip, ...]) -> np.ndarray:
    rows = []
    for clip in clips:
        crops = crops_of(clip)
        features = store.means([crop.id for crop in crops])[:, 0]
        rows.append(np.average(features, axis=0, weights=[crop.valid_s for crop in crops]))
    return np.array(rows)


def srcc(ours: np.ndarray, theirs: np.ndarray) -> float:
    return float(pandas.Series(ours).corr(pandas.Series(theirs), method="spearman"))


def test_a_ridge_on_logmel_learns_it_and_learns_nothing_from_shuffled_labels(
    table: ClipTable, folder: Path, rng: np.random.Generator
) -> None:
    encoder = load_encoder("logmel", audio_recipe=AUDIO_RECIPE)
    extract(table, folder, [encoder], folder / "features", quiet=True)
    store = FeatureStore(folder / "features", encoder.spec)
    train, test = (means(table, store, table.of(split)) for split in ("train", "test"))
    centre, spread = train.mean(axis=0), train.std(axis=0) + 1e-6
    train, test = (train - centre) / spread, (test - centre) / spread
    labels, truth = (table.scores(table.of(split)) for split in ("train", "test"))
    solver = np.linalg.solve(train.T @ train + 30 * np.eye(train.shape[1]), train.T)

    def score(labels: np.ndarray) -> float:
        predicted = test @ (solver @ (labels - labels.mean(axis=0)))
        return srcc(predicted.mean(axis=1), truth.mean(axis=1))

    assert score(labels) >= 0.75
    # One shuffle alone scatters by 0.3: two clips of a system move together.
    assert abs(np.mean([score(labels[rng.permutation(len(labels))]) for _ in range(100)])) < 0.15
