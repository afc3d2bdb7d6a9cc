"""Stored features to batches: layer rules, order, statistics, memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from mmmos.heads.grids import configure
from mmmos.heads.network.aggregators import AGGREGATORS
from mmmos.heads.network.reading import Reading
from mmmos.heads.training.data import Features
from mmmos.store.clips import load_table, save_table
from mmmos.store.features import FeatureStore
from tests.heads.small import M2D, MUQ, WAVLM, work_folder

SPECS = (WAVLM, MUQ, M2D)


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return work_folder(tmp_path_factory.mktemp("data"), count=18)


def reading_of(aggregator: str) -> Reading:
    return Reading(AGGREGATORS[aggregator].reads, 6.25)


def test_the_pooled_aggregators_never_touch_frames(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object, **named: object) -> None:
        raise AssertionError("frames were read")

    monkeypatch.setattr(FeatureStore, "frames", refuse)
    features = Features.open(work)
    for aggregator in ("mlp", "blstm_h", "layermix"):
        features.batch(SPECS, reading_of(aggregator), np.array([3, 1]))
    with pytest.raises(AssertionError, match="frames were read"):
        features.batch(SPECS, reading_of("blstm_t"), np.array([3, 1]))


def test_clips_and_crops_are_counted_in_the_order_of_ids(work: Path, tmp_path: Path) -> None:
    features = Features.open(work)
    table = load_table(work / "clips.json")
    turned = Features(replace(table, clips=table.clips[::-1]), features.stores.values())
    assert turned.table.id == features.table.id
    assert [c.id for c in turned.crops] == [c.id for c in features.crops]
    for number, clip in enumerate(features.clips):
        rows = features.rows(np.array([number]))
        assert {features.crops[row].audio for row in rows} == {clip.audio}
    assert sum(len(features.of(split)) for split in ("train", "dev", "pam", "test")) == len(features.clips)


@pytest.mark.parametrize("aggregator", AGGREGATORS)
def test_memory_or_disk_give_the_same_batch(work: Path, aggregator: str) -> None:
    held, streamed = Features.open(work), Features.open(work, limit_bytes=0)
    reading = reading_of(aggregator)
    rows = np.array([5, 0, 9])
    first, second = held.batch(SPECS, reading, rows), streamed.batch(SPECS, reading, rows)
    assert torch.equal(first.valid_s, second.valid_s)
    for one, two in zip(first.features, second.features, strict=True):
        assert torch.equal(one, two)
    one, two = (each.statistics(SPECS, reading, rows)[0] for each in (held, streamed))
    assert one.mean.equal(two.mean)
    assert one.high.equal(two.high)


@pytest.mark.parametrize("aggregator", ["mlp", "blstm_t", "layermix"])
def test_statistics_are_those_of_the_valid_train_features(work: Path, aggregator: str) -> None:
    features = Features.open(work)
    reading = reading_of(aggregator)
    rows = features.rows(features.of("train"))
    batch = features.batch(SPECS, reading, rows)
    for index, one in enumerate(SPECS):
        x = batch.features[index].double()
        if reading.kind == "frames":
            rate = min(6.25, one.frame_rate_hz)
            x = torch.cat(
                [x[k, : max(1, int(s * rate + 1e-6))] for k, s in enumerate(batch.valid_s.tolist())]
            )
        found = features.statistics(SPECS, reading, rows)[index]
        mean, deviation = found.mean, found.deviation
        assert torch.equal(found.low.double(), x.amin(0))
        assert torch.equal(found.high.double(), x.amax(0))
        torch.testing.assert_close(mean.double(), x.mean(0), atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(deviation.double(), x.std(0, correction=0), atol=1e-5, rtol=1e-5)
        assert deviation.max() < 100  # the loud padding is not among them


def test_missing_features_say_what_to_do(work: Path, tmp_path: Path) -> None:
    table = load_table(work / "clips.json")
    more = replace(table.clips[0], id="other", audio="f" * 32)
    save_table(replace(table, clips=(*table.clips, more)), tmp_path / "clips.json")
    features = Features(load_table(tmp_path / "clips.json"), Features.open(work).stores.values())
    with pytest.raises(ValueError, match=r"have no features of wavlm.*run `extract`"):
        features.specs_of(configure(features.table.id, [WAVLM.id]))
    config = configure(features.table.id, ["wavlm-000000000000"])
    with pytest.raises(ValueError, match="unknown features 'wavlm-000000000000'; known: m2d"):
        features.specs_of(config)


def test_a_bank_over_the_limit_is_not_held(work: Path) -> None:
    features = Features.open(work, limit_bytes=0)
    features.batch(SPECS, reading_of("mlp"), np.array([0]))
    banks: list[Callable[..., object] | object] = list(features._banks.values())
    assert all(bank.held is None for bank in banks)  # type: ignore[attr-defined]
