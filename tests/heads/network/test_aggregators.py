"""The contract of every aggregator, and each paper one against ordinary modules."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch
from torch import nn

from mmmos.heads.config import AGGREGATOR_FIELDS, HeadConfig
from mmmos.heads.grids import configure
from mmmos.heads.network.aggregators import AGGREGATORS
from mmmos.heads.network.alignment import average_down, to_common, valid_steps
from mmmos.heads.network.reading import Reading
from tests.heads.network.test_recurrence import lstm_of
from tests.heads.small import M2D, MUQ, WAVLM

SPECS = (WAVLM, MUQ, M2D)
AXES = 4


def config(name: str, **overrides: object) -> HeadConfig:
    return configure("data-0", [spec.id for spec in SPECS], name, "ut", width=5, **overrides)


def build(name: str, **overrides: object) -> nn.Module:
    torch.manual_seed(0)
    return AGGREGATORS[name](SPECS, config(name, **overrides), AXES)


def inputs(reads: str, valid_s: Sequence[float], rate_hz: float, loud: float = 0.0) -> list[torch.Tensor]:
    """Features of len(valid_s) crops; frames beyond the audio hold `loud`."""
    generator = torch.Generator().manual_seed(1)
    made = []
    for spec in SPECS:
        if reads == "frames":
            frames = torch.randn(len(valid_s), spec.frames, spec.frame_dim, generator=generator)
            valid = torch.tensor([spec.valid_frames(s) for s in valid_s])
            held = average_down(frames, spec, valid, rate_hz).float()
            steps = valid_steps(torch.tensor(valid_s), min(rate_hz, spec.frame_rate_hz))
            held[torch.arange(held.shape[1]) >= steps[:, None]] = loud
            made.append(held)
        else:
            made.append(torch.randn(len(valid_s), *Reading(reads).shape(spec), generator=generator))
    return made


@pytest.mark.parametrize("name", AGGREGATORS)
def test_shape_and_gradients_reach_every_parameter(name: str) -> None:
    module = build(name)
    valid_s = [10.0, 3.0, 0.05]
    out = module(inputs(module.reads, valid_s, 6.25), torch.tensor(valid_s))
    assert out.shape in {(3, module.dim), (3, AXES, module.dim)}
    assert torch.isfinite(out).all()
    if out.requires_grad:  # an aggregator may have nothing to learn
        (out * torch.randn(out.shape)).sum().backward()
    for key, parameter in module.named_parameters():
        assert parameter.grad is not None, key
        assert (parameter.grad != 0).any(), key


@pytest.mark.parametrize("name", AGGREGATORS)
@pytest.mark.parametrize("rate_hz", [6.25, 12.5, 25.0])
def test_padding_and_neighbours_cannot_change_the_output(name: str, rate_hz: float) -> None:
    module = build(name, frame_rate_hz=rate_hz)
    valid_s = [10.0, 3.3, 0.05]
    quiet = module(inputs(module.reads, valid_s, rate_hz), torch.tensor(valid_s))
    loud = module(inputs(module.reads, valid_s, rate_hz, loud=1e3), torch.tensor(valid_s))
    assert torch.equal(quiet, loud)
    for row, seconds in enumerate(valid_s):
        alone = [x[row : row + 1] for x in inputs(module.reads, valid_s, rate_hz)]
        torch.testing.assert_close(module(alone, torch.tensor([seconds]))[0], quiet[row], atol=1e-5, rtol=0)


def test_configs_know_every_aggregator() -> None:
    assert list(AGGREGATOR_FIELDS) == list(AGGREGATORS)


@pytest.mark.parametrize("name", AGGREGATORS)
def test_exactly_the_fields_that_an_aggregator_depends_on_change_its_id(name: str) -> None:
    for field, value in (("width", 7), ("frame_rate_hz", 12.5), ("precision", "bf16")):
        base = configure("data-0", ["a-1"], name, "ut")
        other = configure("data-0", ["a-1"], name, "ut", **{field: value})
        assert (base.id != other.id) == (field in AGGREGATOR_FIELDS[name])


def test_mlp_is_the_time_means_side_by_side() -> None:
    features = inputs("means", [10.0, 10.0], 6.25)
    assert torch.equal(build("mlp")(features, torch.tensor([10.0, 10.0])), torch.cat(features, dim=1))


def test_layermix_starts_uniform_and_mixes_by_axis() -> None:
    module = build("layermix")
    features = inputs("layers", [10.0, 10.0], 6.25)
    mean = torch.cat([x.mean(1) for x in features], dim=1)
    valid_s = torch.tensor([10.0, 10.0])
    torch.testing.assert_close(module(features, valid_s), mean[:, None].expand(-1, AXES, -1))
    with torch.no_grad():
        module.logits[0][2, 1] = 50.0  # axis 2 takes WavLM's layer 1 alone
    out = module(features, valid_s)[:, :, : WAVLM.dim]
    torch.testing.assert_close(out[:, 2], features[0][:, 1])
    torch.testing.assert_close(out[:, 1], features[0].mean(1))


def test_attention_starts_as_the_mean_and_weighs_by_axis() -> None:
    module = build("attention")
    valid_s = torch.tensor([10.0, 4.0])
    features = inputs("frames", valid_s.tolist(), 6.25)
    out = module(features, valid_s)
    means = torch.cat([torch.stack([x[0].mean(0), x[1, :25].mean(0)]) for x in features], dim=1)
    torch.testing.assert_close(out, means[:, None].expand(-1, AXES, -1), atol=1e-5, rtol=0)
    with torch.no_grad():
        module.queries[0][3] = 100.0 * features[0][1, 7]  # the moment that looks most like frame 7 wins
    changed = module(features, valid_s)
    torch.testing.assert_close(changed[:, :3], out[:, :3])
    assert not torch.allclose(changed[1, 3], out[1, 3], atol=1e-2)


@pytest.mark.parametrize("rate_hz", [6.25, 12.5, 25.0])
def test_blstm_t_equals_nn_lstm_on_concatenated_frames(rate_hz: float) -> None:
    """Projection at each encoder's own rate commutes with holding: values and gradients to 1e-5."""
    module = build("blstm_t", frame_rate_hz=rate_hz).double()
    valid_s = torch.tensor([10.0, 4.5, 0.7])
    features = [x.double() for x in inputs("frames", valid_s.tolist(), rate_hz)]
    out = module(features, valid_s)

    weight = torch.cat(tuple(module.weights), dim=1).detach().unflatten(0, (2, -1))
    lstm = lstm_of(weight, module.bias.detach().unflatten(0, (2, -1)), module.recurrent.detach())
    held = [to_common(x, spec, rate_hz, valid_s) for x, spec in zip(features, SPECS, strict=True)]
    valid = valid_steps(valid_s, rate_hz)
    packed = nn.utils.rnn.pack_padded_sequence(
        torch.cat(held, -1), valid, batch_first=True, enforce_sorted=False
    )
    states, _ = nn.utils.rnn.pad_packed_sequence(lstm(packed)[0], batch_first=True)
    expected = states.sum(1) / valid[:, None]
    torch.testing.assert_close(out, expected, atol=1e-10, rtol=0)

    pull = torch.randn_like(out)
    (out * pull).sum().backward()
    (expected * pull).sum().backward()
    assert lstm.weight_ih_l0.grad is not None
    i, f, g, o = lstm.weight_ih_l0.grad.chunk(4)
    ours = torch.cat([w.grad.unflatten(0, (2, -1))[0] for w in module.weights], dim=1)
    torch.testing.assert_close(ours, torch.cat((o, i, f, g)), atol=1e-10, rtol=0)


def test_blstm_h_equals_nn_lstm_over_a_sequence_of_one() -> None:
    module = build("blstm_h").double()
    features = [x.double() for x in inputs("means", [10.0, 10.0], 6.25)]
    weight = module.weight.detach().unflatten(0, (2, 3, -1))
    bias = module.bias.detach().unflatten(0, (2, 3, -1))
    # The forget gate may be anything: it acts on a state of zero.
    weight = torch.cat((weight[:, :2], torch.randn_like(weight[:, :1]), weight[:, 2:]), dim=1).flatten(1, 2)
    bias = torch.cat((bias[:, :2], torch.randn_like(bias[:, :1]), bias[:, 2:]), dim=1).flatten(1, 2)
    recurrent = torch.randn(2, 20, 5, dtype=torch.float64)
    _, (final, _) = lstm_of(weight, bias, recurrent)(torch.cat(features, -1)[:, None])
    torch.testing.assert_close(
        module(features, torch.tensor([10.0, 10.0])), final.transpose(0, 1).flatten(1), atol=1e-12, rtol=0
    )


def test_bf16_projection_is_near_and_is_another_config() -> None:
    valid_s = torch.tensor([10.0, 4.5])
    features = inputs("frames", valid_s.tolist(), 6.25)
    exact, fast = (build("blstm_t", precision=p)(features, valid_s) for p in ("fp32", "bf16"))
    assert not torch.equal(exact, fast)
    torch.testing.assert_close(exact, fast, atol=2e-2, rtol=0)
    assert config("blstm_t").id != config("blstm_t", precision="bf16").id


def test_a_spec_with_all_layers_is_as_wide_as_its_frames() -> None:
    wide = replace(MUQ, layer="all")
    assert AGGREGATORS["mlp"]([wide], config("mlp"), AXES).dim == MUQ.dim * MUQ.layers
