"""One head on its way: its own random numbers, and when it has come to its end."""

from __future__ import annotations

import pytest
import torch

from mmmos.heads.grids import configure
from mmmos.heads.training.course import Course, DivergedError, Draws
from mmmos.heads.training.data import CPU, Features
from mmmos.heads.training.start import fresh_head
from tests.heads.small import WAVLM, work_folder


@pytest.fixture(scope="module")
def features(tmp_path_factory: pytest.TempPathFactory) -> Features:
    return Features.open(work_folder(tmp_path_factory.mktemp("course"), count=24, specs=(WAVLM,)))


def course(features: Features, **values: object) -> Course:
    config = configure(features.table.id, [WAVLM.id], "mlp", "ut", **values)
    head = fresh_head(config, features, features.of("train"))
    return Course(head, Draws(0, CPU), features, features.of("dev"))


def test_a_stream_of_random_numbers_goes_on_where_it_was_whatever_others_draw() -> None:
    torch.manual_seed(7)
    whole = torch.rand(6)
    draws, parts = Draws(7, CPU), []
    torch.manual_seed(1)
    for _ in range(3):
        with draws.here():
            parts.append(torch.rand(2))
        torch.rand(5)
    assert torch.equal(torch.cat(parts), whole)


def test_a_stream_leaves_the_callers_random_numbers_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    with Draws(7, CPU).here():
        torch.rand(3)
    assert torch.equal(torch.rand(1), expected)


def test_it_ends_after_its_epochs_or_its_patience(features: Features) -> None:
    one = course(features, epochs=9, patience=2)
    ends = []
    for dev_loss in (3.0, 1.0, 2.0, 1.0):
        one.end_epoch(4, torch.tensor(dev_loss, dtype=torch.float64))
        ends.append(one.has_ended)
    assert ends == [False, False, False, True]
    assert one.best == 2
    short = course(features, epochs=1)
    short.end_epoch(4, None)
    assert short.has_ended


def test_an_epoch_says_its_mean_losses_and_starts_the_next_from_nothing(features: Features) -> None:
    one = course(features)
    for total in (8.0, 2.0):
        one.total += total
        epoch = one.end_epoch(4, torch.tensor(0.5, dtype=torch.float64))
        assert (epoch.train_loss, epoch.dev_loss) == (total / 4, 0.5)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), 1e5])
def test_a_loss_that_is_not_coming_back_is_an_error(features: Features, bad: float) -> None:
    with pytest.raises(DivergedError, match=r"the dev loss is .* after epoch 1; try a lower learning rate"):
        course(features).end_epoch(4, torch.tensor(bad, dtype=torch.float64))
