"""What every entry of ENCODERS promises; a new line there is tested the moment it exists."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
import torch
from transformers import WavLMConfig, WavLMModel

from mmmos.extract.encoders import ENCODERS, Encoder, load_encoder, m2d, muq, summarise, wavlm
from mmmos.extract.encoders.encoder import LoadOptions, exact_div
from mmmos.extract.encoders.layers import check_rule, reduce_together
from mmmos.extract.encoders.m2d_fast import FastM2D
from mmmos.extract.encoders.m2d_patches import LogMelImage
from mmmos.extract.encoders.muq_fast import FastMuQ
from mmmos.extract.encoders.packed import Arithmetic
from mmmos.extract.encoders.wavlm_fast import FastWavLM
from mmmos.extract.encoders.weights import seeded
from mmmos.store.schema import FACTS_BEFORE
from tests.extract.encoders.golden import waveform


def tiny(name: str, **choices) -> Encoder:
    return load_encoder(name, audio_recipe="test", **{"random_seed": 0, "size": "tiny", **choices})


def waves(encoder: Encoder, count: int) -> torch.Tensor:
    """Noise of falling level; the last crop is silent."""
    generator = torch.Generator().manual_seed(1)
    levels = torch.logspace(-0.5, -3, count)
    levels[-1] = 0.0
    return levels[:, None] * torch.randn(count, encoder.samples, generator=generator)


def difference(ours: list[torch.Tensor], theirs: list[torch.Tensor]) -> float:
    """Largest difference of any state over its largest value."""
    return max(float((a - b).abs().max() / b.abs().max()) for a, b in zip(ours, theirs, strict=True))


@pytest.fixture(scope="module", params=ENCODERS)
def encoder(request) -> Encoder:
    return tiny(request.param)


def test_states_are_what_the_spec_says(encoder):
    spec = encoder.spec
    hidden = encoder.hidden_states(waves(encoder, 3))
    assert [state.shape for state in hidden] == [(3, spec.frames, spec.dim)] * spec.layers
    assert all(state.dtype == torch.float32 and torch.isfinite(state).all() for state in hidden)
    assert spec.sample_rate_hz * 10 == encoder.samples
    assert spec.frame_rate_hz * 10 == pytest.approx(spec.frames, abs=1.0)


@pytest.mark.parametrize("rule", ["mean", "last", "all", "0"])
def test_every_layer_rule_can_be_stored(encoder, rule):
    spec = tiny(encoder.spec.name, layer=rule).spec
    frames, means = summarise(
        encoder.hidden_states(waves(encoder, 2)), spec.layer, torch.tensor([spec.frames, 3])
    )
    assert frames.shape == (2, spec.frames, spec.frame_dim)
    assert means.shape == (2, spec.layers, spec.dim)
    assert spec.layer == check_rule(rule, spec.layers)


def test_same_alone_in_any_batch_and_in_any_order(encoder):
    batch = waves(encoder, 3)
    together = encoder.hidden_states(batch)
    assert (
        difference(encoder.hidden_states(batch[[2, 0, 1]]), [state[[2, 0, 1]] for state in together]) <= 1e-5
    )
    for i in range(3):
        alone = encoder.hidden_states(batch[i : i + 1])
        assert difference(alone, [state[i : i + 1] for state in together]) <= 1e-5


def test_same_again_and_built_again(encoder):
    crops = waves(encoder, 2)
    first = [state.clone() for state in encoder.hidden_states(crops)]
    encoder.hidden_states(-crops)  # kept buffers must not leak into what was handed out, or into the next
    assert all(map(torch.equal, first, encoder.hidden_states(crops)))
    again = tiny(encoder.spec.name)
    assert again.spec == encoder.spec
    assert difference(again.hidden_states(crops), first) <= 1e-6


def test_results_outlive_the_next_call(encoder):
    kept = encoder.hidden_states(waves(encoder, 2))
    copies = [state.clone() for state in kept]
    encoder.hidden_states(torch.zeros(1, encoder.samples))
    assert all(map(torch.equal, kept, copies))


def test_agrees_with_the_stock_implementation(encoder):
    crops = waves(encoder, 2)
    stock = tiny(encoder.spec.name, stock=True)
    assert stock.spec == encoder.spec
    assert difference(encoder.hidden_states(crops), stock.hidden_states(crops)) <= 1e-5


@pytest.mark.parametrize("stock", [False, True])
def test_bf16_is_close_and_named(encoder, stock):
    crops = waves(encoder, 2)
    rounded = tiny(encoder.spec.name, precision="bf16", stock=stock, forced=True)
    assert difference(rounded.hidden_states(crops), encoder.hidden_states(crops)) <= 0.05
    assert (rounded.spec.id != encoder.spec.id) == (encoder.spec.weights != "none")
    assert all(state.dtype == torch.float32 for state in rounded.hidden_states(crops[:1]))


def test_the_signature_tells_weights_apart(encoder):
    other = tiny(encoder.spec.name, random_seed=1).spec
    assert (other.id != encoder.spec.id) == encoder.spec.is_random
    full_name = ENCODERS[encoder.spec.name].PUBLISHED
    assert encoder.spec.is_random == (full_name is not None)


def test_building_leaves_the_global_generators_alone(encoder):
    torch.manual_seed(5)
    random.seed(5)
    expected = torch.rand(3), random.random()
    torch.manual_seed(5)
    random.seed(5)
    tiny(encoder.spec.name)
    assert torch.equal(torch.rand(3), expected[0])
    assert random.random() == expected[1]


def test_waves_of_another_length_are_refused(encoder):
    with pytest.raises(ValueError, match=rf"takes waves \[B, {encoder.samples}\]"):
        encoder.hidden_states(torch.zeros(1, encoder.samples - 1))


def test_the_spec_carries_the_cost_and_the_licence_of_the_encoders_own_file(encoder):
    module = ENCODERS[encoder.spec.name]
    assert encoder.spec.gflop == module.GFLOP_A_CROP > 0
    assert encoder.spec.licence == (module.PUBLISHED.licence if module.PUBLISHED else "no weights")


@pytest.mark.parametrize("name", FACTS_BEFORE)
def test_old_specs_get_the_facts_of_today(name):
    spec = tiny(name).spec
    assert FACTS_BEFORE[name] == (spec.gflop, spec.licence)


@pytest.mark.parametrize(
    ("name", "rate_hz", "frame_rate_hz", "frames"),
    [
        ("wavlm", 16000, 50.0, 499),
        ("muq", 24000, 25.0, 250),
        ("muq16k", 16000, 16000 / 960, 167),
        ("m2d", 16000, 6.25, 62),
        ("logmel", 24000, 25.0, 250),
    ],
)
def test_rates_and_frames_of_the_published_networks(name, rate_hz, frame_rate_hz, frames):
    module = ENCODERS[name]
    assert (rate_hz, frame_rate_hz, frames) == (module.SAMPLE_RATE_HZ, module.FRAME_RATE_HZ, module.FRAMES)


@pytest.mark.parametrize(
    "spec_id",
    [
        "wavlm-bff5e6231c12",
        "muq-c5f78f52c17e",
        "muq16k-728bc0257e53",
        "m2d-61010bdafad7",
        "logmel-458645893c59",
    ],
)
def test_ids_of_features_that_people_have_stored_do_not_move(spec_id):
    name = spec_id.partition("-")[0]
    assert load_encoder(name, audio_recipe="x", random_seed=0, size="tiny").spec.id == spec_id


def test_lengths_that_do_not_divide_are_refused():
    assert exact_div(240000, 960) == 250
    with pytest.raises(ValueError, match="160000 is not a whole multiple of 960"):
        exact_div(160000, 960)


def test_unknown_choices_list_the_known():
    with pytest.raises(ValueError, match=r"unknown encoder 'wavml'.*Did you mean 'wavlm'"):
        load_encoder("wavml", audio_recipe="test")
    with pytest.raises(ValueError, match=r"unknown precision 'fp8'.*bf16, fp16, fp32, tf32"):
        tiny("logmel", precision="fp8")
    with pytest.raises(ValueError, match="no pretrained weights exist in size tiny"):
        load_encoder("m2d", audio_recipe="test", size="tiny")


def test_muq16k_is_muq_on_other_samples():
    muq, wrong_rate = tiny("muq"), tiny("muq16k")
    assert muq.spec.id != wrong_rate.spec.id
    samples = torch.randn(1, 160000, generator=torch.Generator().manual_seed(0)) * 0.1
    # What the network sees of its 6.67 s, given the same samples at the rate it believes in.
    padded = torch.cat([samples, torch.zeros(1, 80000)], dim=1)
    ours, theirs = wrong_rate.hidden_states(samples)[0], muq.hidden_states(padded)[0]
    assert difference([ours[:, :160]], [theirs[:, :160]]) <= 1e-5


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_forward_pass_for_a_card_agrees_with_the_stock_one(encoder, precision):
    """Its modules run on a CPU too: the same folded norms, layouts and masks."""
    name = encoder.spec.name
    crops = waves(encoder, 3)
    options = LoadOptions(random_seed=0, size="tiny", precision=precision, on_cpu=False)
    of_card = Encoder(
        replace(encoder.spec, precision=precision), ENCODERS[name].load(options), torch.device("cpu")
    )
    shaken, stock = shake(of_card.network), tiny(name, stock=True)
    assert not shaken, "norms are folded: none is left to shake"
    valid = torch.tensor([encoder.spec.frames, 7, 1])
    limit = 1e-5 if precision == "fp32" else 0.05
    assert difference(of_card.hidden_states(crops, valid), stock.hidden_states(crops, valid)) <= limit


@pytest.mark.parametrize("name", ["muq", "muq16k"])
def test_the_convolutions_for_a_card_have_their_norms_folded(name):
    model = muq.build(muq.TINY, seed=0).eval()
    assert shake(model)
    samples = 10 * ENCODERS[name].SAMPLE_RATE_HZ
    wave = torch.randn(2, samples, generator=torch.Generator().manual_seed(2))
    ours = FastMuQ(model, samples, Arithmetic(on_cpu=False)).eval()
    with torch.inference_mode():
        assert difference(ours(wave), muq.StockMuQ(model)(wave)) <= 1e-5


def shake(network: torch.nn.Module) -> int:
    """Move batch norms away from where they begin, where folding is easy; returns how many there are."""
    generator = torch.Generator().manual_seed(1)
    norms = [m for m in network.modules() if isinstance(m, torch.nn.modules.batchnorm._BatchNorm)]
    for norm in norms:
        for tensor in (norm.running_var, norm.weight):
            tensor.data = torch.rand(tensor.shape, generator=generator) + 0.5
        for tensor in (norm.running_mean, norm.bias):
            tensor.data = 0.2 * torch.randn(tensor.shape, generator=generator)
    return len(norms)


@pytest.mark.parametrize("name", ["wavlm", "logmel"])
@pytest.mark.parametrize("rule", ["mean", "last", "all", "1"])
def test_layers_are_reduced_together_on_a_card(name, rule):
    encoder = tiny(name)
    hidden = encoder.hidden_states(waves(encoder, 3))
    rule, valid = check_rule(rule, len(hidden)), torch.tensor([encoder.spec.frames, 7, 1])
    for one, other in zip(reduce_together(hidden, rule, valid), summarise(hidden, rule, valid), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)


def full_width(name: str) -> tuple[torch.nn.Module, torch.nn.Module]:
    """Stock and ours with the published layer sizes, but two blocks only, and the same weights."""
    if name == "wavlm":
        with seeded(0):
            model = WavLMModel(WavLMConfig(num_hidden_layers=2))
        return wavlm.StockWavLM(model), FastWavLM(model, wavlm.FRAMES, Arithmetic())
    if name == "muq":
        model = muq.build(muq.FULL | {"encoder_depth": 2}, seed=0).eval()
        return muq.StockMuQ(model), FastMuQ(model, 240000, Arithmetic())
    with seeded(0):
        model = m2d.build(m2d.FULL_WIDTH, 2)
    image = LogMelImage(*m2d.NORM_STATS)
    return m2d.StockM2D(image, model), FastM2D(image, model, Arithmetic())


@pytest.mark.slow
@pytest.mark.parametrize("name", ["wavlm", "muq", "m2d"])
def test_agrees_with_the_stock_implementation_at_the_published_widths(name):
    stock, ours = (network.eval() for network in full_width(name))
    rate_hz = ENCODERS[name].SAMPLE_RATE_HZ
    wave = waveform(10 * rate_hz, rate_hz)
    with torch.inference_mode():
        assert difference(ours(wave), stock(wave)) <= 1e-5
