"""Training on a card: one reading feeds all heads, and inside an epoch nobody waits."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from mmmos.heads.config import CLOSED_FORM, HeadConfig
from mmmos.heads.grids import configure
from mmmos.heads.network.aggregators import AGGREGATORS
from mmmos.heads.network.losses import LOSSES
from mmmos.heads.training import fit as training
from mmmos.heads.training.course import Course
from mmmos.heads.training.data import Features
from mmmos.heads.training.fit import fit_together, train_epoch
from mmmos.heads.training.out_of_fold import out_of_fold_together
from mmmos.heads.training.outputs import predict
from mmmos.store.schema import AES_AXES
from tests.cuda.fake import CARD, Card
from tests.heads.small import M2D, MUQ, WAVLM, work_folder

SPECS = (WAVLM, MUQ, M2D)
TRAINED = [name for name in AGGREGATORS if name not in CLOSED_FORM]


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return work_folder(tmp_path_factory.mktemp("training"), count=72, ratings=True)


@pytest.fixture(params=[1 << 40, 0], ids=["resident", "streamed"])
def opened(
    request: pytest.FixtureRequest, card: Card, work: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[], Features]:
    """The features of the work folder, wanted on a card with much memory or none to spare."""
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (request.param, request.param))
    host, statistics = Features.open(work), Features.statistics  # they are taken once, of real numbers
    monkeypatch.setattr(Features, "statistics", lambda _, *asked: statistics(host, *asked))
    return lambda: Features.open(work, device=CARD)


@pytest.fixture(autouse=True)
def no_derivatives(monkeypatch: pytest.MonkeyPatch) -> None:
    """torch's engine of derivatives needs a real card; its results would be like this."""
    step = Course._step

    def with_zeros(course: Course, wave: object) -> None:
        def backward(loss: torch.Tensor) -> None:
            for parameter in course.head.parameters():
                parameter.grad = torch.zeros_like(parameter)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(torch.Tensor, "backward", backward)
            step(course, wave)  # type: ignore[arg-type]

    monkeypatch.setattr(Course, "_step", with_zeros)


def configs_of(features: Features) -> list[HeadConfig]:
    """One head of every kind and one of every loss, all with the same batches."""
    kinds = [(aggregator, "ut") for aggregator in TRAINED] + [
        ("mlp", loss) for loss in LOSSES if loss != "ut"
    ]
    return [
        configure(features.table.id, [s.id for s in SPECS], *kind, batch=4, epochs=2, dropout=0.1 * number)
        for number, kind in enumerate(kinds[:9])
    ] + [configure(features.table.id, [s.id for s in SPECS], *kind, batch=4, epochs=2) for kind in kinds[9:]]


def test_an_epoch_makes_nobody_wait_and_sends_waves_alone(card: Card, opened: Callable[[], Features]) -> None:
    with card.running():
        features = opened()
        clips, dev = features.of("train"), features.of("dev")
        courses = [training._start(config, features, clips, dev) for config in configs_of(features)]
        train_epoch(courses, features, clips, 1)  # fills what is held
        training._dev_losses(courses, features)
    with card.running() as traffic:
        train_epoch(courses, features, clips, 2)
        losses = training._dev_losses(courses, features)
    assert {loss.device for loss in losses} == {CARD}
    assert traffic.waits == {}
    assert {place.partition(":")[0] for _, place in traffic.up} == {"training/data.py"}
    readings = {(spec.id, course.head.reading) for course in courses for spec in course.head.specs}
    waves = 3  # the first step, all others together, the dev clips
    assert len(traffic.up) == waves * (len(readings) + 1 + len({reading for _, reading in readings})) + 3
    resident = features.resident_bytes > 0
    largest = max(size for size, _ in traffic.up)
    assert (largest <= 8 * len(features.crops)) == resident, "held features cost the numbers of crops alone"


def test_an_epoch_is_looked_at_once_a_head(card: Card, opened: Callable[[], Features]) -> None:
    with card.running():
        features = opened()
        clips = features.of("train")
        course = training._start(configs_of(features)[0], features, clips, features.of("dev"))
        train_epoch([course], features, clips, 1)
        (loss,) = training._dev_losses([course], features)
    with card.running() as traffic:
        course.end_epoch(len(clips), loss)
    assert {kind for kind, _ in traffic.waits} == {"item"}
    assert sum(traffic.waits.values()) == 2, "one list of two numbers"


def test_heads_are_trained_and_predict_on_the_card(card: Card, opened: Callable[[], Features]) -> None:
    with card.running():
        features = opened()
        found = dict(fit_together(configs_of(features), features))
        for config, fitted in found.items():
            assert not isinstance(fitted, Exception), (config.title, fitted)
            assert fitted.head.target_mean.device == CARD
            assert len(fitted.curve) == 2
            assert predict(fitted.head, features, features.of("test")).shape == (12, len(AES_AXES.names))


def test_heads_of_a_fold_are_trained_together_on_the_card(card: Card, opened: Callable[[], Features]) -> None:
    with card.running():
        features = opened()
        configs = configs_of(features)[:3]
        for config, found in out_of_fold_together(configs, features, 3):
            assert not isinstance(found, Exception), (config.title, found)
            assert len(found.predictions.clip_ids) == len(features.of("train"))
