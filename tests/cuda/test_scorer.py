"""The scorer on a card: batches are queued one behind the other, and results come back without a wait."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch

from mmmos.extract.compute import Compute
from mmmos.extract.encoders import load_encoder
from mmmos.extract.front import Front, Window
from mmmos.heads.config import CLOSED_FORM
from mmmos.heads.grids import configure
from mmmos.heads.network.aggregators import AGGREGATORS
from mmmos.heads.network.model import Head
from mmmos.heads.scoring.members import Members
from mmmos.heads.scoring.scorer import Scorer
from mmmos.store.schema import AES_AXES, EncoderSpec
from tests.cuda.fake import CARD, Card
from tests.heads.scoring.made_bundle import made_bundle

TRAINED = [name for name in AGGREGATORS if name not in CLOSED_FORM]
NAMES = ("wavlm", "muq", "m2d")


def test_a_batch_of_windows_is_scored_without_a_wait(card: Card) -> None:
    encoders = [
        load_encoder(name, audio_recipe="test", random_seed=0, size="tiny", device=CARD) for name in NAMES
    ]
    specs = [encoder.spec for encoder in encoders]
    scorer = Scorer(made_bundle(specs), Front(encoders, Compute(batch=2)))
    made = {head.config.id: head for head in heads(specs)}
    every = replace(scorer.bundle, heads=made, weights=(1 / len(made),) * len(made))
    scorer.members = Members(every, scorer.front)
    windows = [window(10.0), window(0.5)]
    with card.running():
        scorer.members.scores(scorer.front.encode(windows), [10.0, 0.5])
    with card.running() as traffic, torch.inference_mode():
        encoded = scorer.front.encode(windows)
        scores = scorer.members.scores(encoded, [w.valid_s for w in windows])
        on_host = scorer.front.to_host(scores)
    assert scores.device == CARD
    assert on_host.device.type == "cpu"
    assert scores.shape == (2, len(TRAINED), len(AES_AXES.names))
    assert traffic.waits == {}
    waves = [4 * encoder.samples for encoder in encoders for _ in windows]
    lengths = [8 * 2] * len(encoders)
    seconds_and_frames = 8 * 2 * (1 + len(specs))
    assert sorted(size for size, _ in traffic.up) == sorted([*waves, *lengths, seconds_and_frames])


def heads(specs: Sequence[EncoderSpec]) -> list[Head]:
    """One untrained head of every kind."""
    ids = [spec.id for spec in specs]
    configs = [configure("data", ids, aggregator, "listeners") for aggregator in TRAINED]
    return [Head(config, specs, AES_AXES.names) for config in configs]


def window(valid_s: float) -> Window:
    waves = {rate_hz: np.zeros(10 * rate_hz, np.float32) for rate_hz in (16000, 24000)}
    return Window(0.0, valid_s, grid=True, hop=False, waves=waves)


@pytest.mark.parametrize("rate_hz", [16000, 44100])
def test_a_batch_on_the_card_is_scored_there(card: Card, rate_hz: int) -> None:
    """Lengths and peaks come down, once; gains and places go up; no audio does either."""
    encoders = [
        load_encoder(name, audio_recipe="test", random_seed=0, size="tiny", device=CARD) for name in NAMES
    ]
    specs = [encoder.spec for encoder in encoders]
    scorer = Scorer(made_bundle(specs), Front(encoders, Compute(batch=2)))
    waves = card.take(torch.zeros(3, 25 * rate_hz))
    with card.running():
        scorer.scores(waves, rate_hz)
    with card.running() as traffic:
        scores = scorer.scores(waves, rate_hz)
    assert scores.device == CARD
    assert scores.shape == (3, len(AES_AXES.names))
    lines = {place.partition(":")[0] for _, place in traffic.waits}
    assert lines == {"extract/tensors.py"}
    assert sum(traffic.waits.values()) == 2 * len(waves), "two copies of one number a clip"
    gains = 4 * (11 * 24000 // 2 + 1)
    assert max(size for size, _ in traffic.up) <= gains < 4 * 10 * rate_hz
