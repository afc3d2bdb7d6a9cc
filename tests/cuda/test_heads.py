"""Every aggregator and every loss on a card: a training step and a scored batch without a wait."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch

from mmmos.heads.config import CLOSED_FORM
from mmmos.heads.grids import configure
from mmmos.heads.network.aggregators import AGGREGATORS
from mmmos.heads.network.alignment import held_rate
from mmmos.heads.network.losses import LOSSES, RATING_LEVELS
from mmmos.heads.network.model import Head
from mmmos.heads.network.reading import Batch
from mmmos.heads.network.recurrence import Recurrence
from mmmos.store.schema import AES_AXES, EncoderSpec
from tests.cuda.fake import CARD, Card
from tests.heads.small import spec

CROPS = 4


def head_and_batch(card: Card, aggregator: str, loss: str) -> tuple[Head, Batch]:
    specs = [spec("a", frame_rate_hz=25.0, dim=6), spec("b", frame_rate_hz=6.25, dim=8)]
    config = configure("data", [one.id for one in specs], aggregator, loss)
    head = Head(config, specs, AES_AXES.names).to(CARD)
    features = tuple(card.take(torch.zeros(CROPS, *shape(head, one))) for one in specs)
    return head, Batch(features, card.take(torch.tensor([10.0, 3.0, 0.4, 7.0])))


def shape(head: Head, one: EncoderSpec) -> tuple[int, ...]:
    """Of what one crop's features are like when they are read."""
    if head.reading.kind != "frames":
        return head.reading.shape(one)
    return round(10 * held_rate(one, head.reading.rate_hz)), one.frame_dim


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("aggregator", [name for name in AGGREGATORS if name not in CLOSED_FORM])
def test_a_training_step_and_a_scored_batch_make_nobody_wait(card: Card, aggregator: str, loss: str) -> None:
    head, batch = head_and_batch(card, aggregator, loss)
    levels = (RATING_LEVELS,) if head.loss.distribution else ()
    truth = card.take(torch.rand(CROPS, len(AES_AXES.names), *levels))
    optimizer = torch.optim.Adam(head.parameters())
    with card.running() as traffic:
        for _ in range(2):
            optimizer.zero_grad(set_to_none=True)
            value = head.loss.function(head.for_loss(batch), truth)
            for parameter in head.parameters():
                parameter.grad = torch.zeros_like(parameter)
            optimizer.step()
        scores = head.eval().scores(batch)
    assert value.device == scores.device == CARD
    assert scores.shape == (CROPS, len(AES_AXES.names))
    assert traffic.waits == {}
    assert traffic.up == []


def test_the_way_back_through_the_recurrence_makes_nobody_wait(card: Card) -> None:
    """torch's engine of derivatives needs a real card; of the formulas only this one is ours."""
    projected, weight = torch.zeros(CROPS, 5, 2, 12), torch.zeros(2, 12, 3)
    ctx = SimpleNamespace()
    ctx.save_for_backward = lambda *tensors: setattr(ctx, "saved_tensors", tensors)
    inputs = [card.take(x) for x in (projected, weight, torch.tensor([5, 3, 1, 5]))]
    with card.running() as traffic:
        hidden = Recurrence.forward(ctx, *inputs)
        to_projected, to_weight, _ = Recurrence.backward(ctx, torch.ones_like(hidden))
    assert to_projected.device == to_weight.device == CARD
    assert (to_projected.shape, to_weight.shape) == (projected.shape, weight.shape)
    assert traffic.waits == {}
    assert traffic.up == []


def test_the_count_sees_what_it_is_there_for(card: Card) -> None:
    """Each fault that the other tests exclude, made once."""
    x = card.take(torch.zeros(3))
    with card.running() as traffic:
        x.sum().item()
        x.cpu()
        x + torch.tensor([1.0, 2.0, 3.0], device=CARD)
        assert bool((x > 0).any())
        with pytest.raises(RuntimeError, match="two devices"):
            x + torch.zeros(3)
        with pytest.raises(RuntimeError):
            x[x > 0]
    assert sorted(kind for kind, _ in traffic.waits) == ["cpu", "item", "item"]
    assert [size for size, _ in traffic.up] == [12]
