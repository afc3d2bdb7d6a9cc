"""Every encoder on a card: one device, no wait, and nothing sent up but waves and their lengths."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from mmmos.extract.encoders import ENCODERS, Encoder, load_encoder, muq
from mmmos.extract.encoders.muq_fast import FastMuQ
from mmmos.extract.encoders.packed import Arithmetic
from mmmos.extract.encoders.precision import PRECISIONS
from mmmos.extract.encoders.wavlm_fast import MASK_ALIGNMENT
from tests.cuda.fake import CARD, Card

CROPS = 3


def on_card(name: str, **choices) -> Encoder:
    return load_encoder(name, audio_recipe="test", random_seed=0, size="tiny", device=CARD, **choices)


@pytest.mark.parametrize("stock", [False, True], ids=["ours", "stock"])
@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("name", ENCODERS)
def test_an_encoder_keeps_the_card_busy(card: Card, name: str, precision: str, stock: bool) -> None:
    encoder = on_card(name, precision=precision, stock=stock)
    waves, valid_s = [np.zeros(encoder.samples, np.float32)] * CROPS, [10.0, 4.2, 0.3]
    with card.running():
        encoder.encode(waves, valid_s)  # what a network makes at its first run it keeps
    with card.running() as traffic:
        frames, means = encoder.encode(waves, valid_s)
    spec = encoder.spec
    assert (frames.device, means.device) == (CARD, CARD)
    assert frames.shape == (CROPS, spec.frames, spec.frame_dim)
    assert means.shape == (CROPS, spec.layers, spec.dim)
    assert (frames.dtype, means.dtype) == (torch.float16, torch.float32)
    assert traffic.waits == {}
    assert sorted(size for size, _ in traffic.up) == [8 * CROPS, *[4 * encoder.samples] * CROPS]


@pytest.mark.parametrize("stock", [False, True], ids=["ours", "stock"])
@pytest.mark.parametrize("name", ENCODERS)
def test_all_that_an_encoder_holds_moves_with_it(card: Card, name: str, stock: bool) -> None:
    """A tensor that is a plain attribute would stay behind."""
    network = on_card(name, stock=stock).network
    held = [
        f"{type(module).__name__}.{attribute}"
        for module in network.modules()
        for attribute, value in vars(module).items()
        if isinstance(value, torch.Tensor)
        and not hasattr(module, f"{attribute}_g")  # a weight norm makes it anew
    ]
    assert held == []
    assert {tensor.device for tensor in [*network.parameters(), *network.buffers()]} <= {CARD}


@pytest.mark.parametrize("precision", [p for p in PRECISIONS if p != "fp32"])
def test_what_a_card_rounds_is_not_what_a_cpu_or_the_stock_network_rounds(card: Card, precision: str) -> None:
    specs = [on_card("wavlm", precision=precision, stock=stock).spec for stock in (False, True)]
    if precision == "bf16":
        for stock in (False, True):
            specs.append(
                load_encoder(
                    "wavlm", audio_recipe="test", random_seed=0, size="tiny",
                    precision=precision, forced=True, stock=stock,
                ).spec
            )  # fmt: skip
    assert len({spec.id for spec in specs}) == len(specs)


def test_fp32_is_the_same_everywhere(card: Card) -> None:
    here = load_encoder("wavlm", audio_recipe="test", random_seed=0, size="tiny").spec
    assert {on_card("wavlm", stock=stock).spec.id for stock in (False, True)} == {here.id}


def calls_of(function: str, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, torch.Tensor]]:
    """The tensors of every call of one of torch's functions from now on, by their names."""
    calls: list[dict[str, torch.Tensor]] = []
    plain = getattr(F, function)

    def spy(*args: torch.Tensor, **kwargs: torch.Tensor) -> torch.Tensor:
        calls.append({**dict(zip(("input", "weight"), args, strict=False)), **kwargs})
        return plain(*args, **kwargs)

    monkeypatch.setattr(F, function, spy)
    return calls


def test_images_and_kernels_of_convolutions_lie_channels_last(monkeypatch: pytest.MonkeyPatch) -> None:
    """The modules for a card, run on the CPU: without cuDNN a fake card lays results out by another rule."""
    network = FastMuQ(muq.build(muq.TINY, seed=0), 10 * muq.SAMPLE_RATE_HZ, Arithmetic(on_cpu=False)).eval()
    calls = calls_of("conv2d", monkeypatch)
    with torch.inference_mode():
        network(torch.zeros(2, 10 * muq.SAMPLE_RATE_HZ))
    assert len(calls) == 4
    for call in calls:
        for tensor in (call["input"], call["weight"]):
            assert tensor.is_contiguous(memory_format=torch.channels_last)


def test_the_mask_of_every_layer_can_be_read_where_it_lies(
    card: Card, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows that begin elsewhere would be copied, for each layer anew."""
    encoder = on_card("wavlm")
    calls = calls_of("scaled_dot_product_attention", monkeypatch)
    with card.running():
        encoder.encode([np.zeros(encoder.samples, np.float32)] * CROPS, [10.0, 4.2, 0.3])
    assert len(calls) == len(encoder.network.blocks)
    for call in calls:
        mask = call["attn_mask"]
        assert mask.shape[-1] == encoder.spec.frames
        assert all(stride % MASK_ALIGNMENT == 0 for stride in mask.stride()[:-1])
        assert mask.stride(-1) == 1
