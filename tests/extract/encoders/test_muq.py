from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from mmmos.extract.encoders import WeightsMismatch, load_encoder, muq
from mmmos.extract.encoders.muq_fast import FastMuQ
from mmmos.extract.encoders.packed import Arithmetic
from tests.conftest import shared


@pytest.mark.parametrize("stock", [False, True])
def test_the_authors_hidden_states(stock):
    folder = shared("reference/muq_tiny")
    expected = np.load(folder / "expected.npz")
    encoder = load_encoder("muq", weights=folder, stock=stock, audio_recipe="test")
    hidden = encoder.hidden_states(torch.from_numpy(expected["waveform_24k"]))
    assert len(hidden) == 3
    for i, state in enumerate(hidden):
        reference = expected[f"hidden_{i}"]
        assert np.abs(state.numpy() - reference).max() <= 1e-4 * np.abs(reference).max()
    assert encoder.spec.checkpoint == "custom:6932dd6f368c"
    assert encoder.spec.weights.removeprefix("tensors:").startswith("6932dd6f368c")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """A tiny checkpoint as MuQ.save_pretrained lays it out, batch norms far from their start."""
    folder = tmp_path_factory.mktemp("muq")
    state = {key: tensor.clone() for key, tensor in muq.build(muq.TINY, seed=4).state_dict().items()}
    generator = torch.Generator().manual_seed(5)
    for key, tensor in state.items():
        if "bn" in key or "batch_norm" in key:
            noise = torch.rand(tensor.shape, generator=generator)
            state[key] = noise + 0.5 if key.endswith(("weight", "running_var")) else tensor + noise - 0.5
    save_file(state, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(muq.TINY))
    return folder


@pytest.mark.parametrize("samples", [240000, 160000])
def test_folded_norms_and_winograd_against_stock(checkpoint, samples):
    model = muq.build(muq.TINY, seed=0).eval()
    state = load_file(checkpoint / "model.safetensors")
    muq.fill(model, state, muq.PUBLISHED.unused, muq.PUBLISHED.name, checkpoint)
    waves = 0.1 * torch.randn(2, samples, generator=torch.Generator().manual_seed(6))
    with torch.inference_mode():
        expected = muq.StockMuQ(model)(waves)
        ours = FastMuQ(model, samples, Arithmetic()).eval()(waves)
    for state, reference in zip(ours, expected, strict=True):
        assert (state - reference).abs().max() <= 1e-5 * reference.abs().max()


def rewritten(checkpoint, folder, change) -> None:
    state = load_file(checkpoint / "model.safetensors")
    change(state)
    save_file(state, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(muq.TINY))


def test_parts_of_pretraining_may_be_absent_or_surplus(checkpoint, tmp_path):
    def change(state):
        for key in [key for key in state if key.startswith(("model.rvq.", "model.linear."))]:
            del state[key]
        state["model.quantizer_melspec_2048.codebook"] = torch.zeros(3)

    rewritten(checkpoint, tmp_path, change)
    full, reduced = (load_encoder("muq", weights=w, audio_recipe="test") for w in (checkpoint, tmp_path))
    waves = torch.zeros(1, 240000)
    assert all(map(torch.equal, full.hidden_states(waves), reduced.hidden_states(waves)))
    assert full.spec.id == reduced.spec.id


def test_parts_that_matter_may_not(checkpoint, tmp_path):
    def change(state):
        state["model.conv.conv.0.bn9.weight"] = state.pop("model.conv.conv.0.bn1.weight")

    rewritten(checkpoint, tmp_path, change)
    with pytest.raises(WeightsMismatch, match=r"missing model\.conv\.conv\.0\.bn1.*surplus .*bn9"):
        load_encoder("muq", weights=tmp_path, audio_recipe="test")


def test_without_a_config_the_published_one_holds(checkpoint, tmp_path):
    assert muq.read_config(tmp_path / "model.safetensors") == muq.FULL
    assert muq.read_config(checkpoint / "model.safetensors")["encoder_dim"] == 32


def config_beside(checkpoint, folder, text: str):
    save_file(load_file(checkpoint / "model.safetensors"), folder / "model.safetensors")
    (folder / "config.json").write_text(text)
    return folder


def test_a_config_in_the_published_form_changes_neither_states_nor_id(checkpoint, tmp_path):
    inner = muq.TINY["w2v2_config"] | {"num_hidden_layers": 24, "ctc_zero_infinity": None}
    nulls = {"rvq_ckpt_path": None, "resume_checkpoint": None, "anything": None, "model_type": "muq"}
    config_beside(checkpoint, tmp_path, json.dumps(muq.TINY | nulls | {"w2v2_config": inner}))
    plain, published = (load_encoder("muq", weights=w, audio_recipe="x") for w in (checkpoint, tmp_path))
    waves = torch.zeros(1, 240000)
    assert all(map(torch.equal, plain.hidden_states(waves), published.hidden_states(waves)))
    assert plain.spec.id == published.spec.id


def test_another_statistic_of_the_front_end_is_another_network(checkpoint, tmp_path):
    stat = muq.FULL["stat"] | {"melspec_2048_mean": 5.0}
    config_beside(checkpoint, tmp_path, json.dumps(muq.TINY | {"stat": stat}))
    plain, other = (load_encoder("muq", weights=w, audio_recipe="x") for w in (checkpoint, tmp_path))
    assert plain.spec.id != other.spec.id


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{", "config.json cannot be read"),
        ("[" * 100_000, "config.json cannot be read: its text: nested too deeply"),
        ("[]", "is not a table of settings"),
        (json.dumps({"encoder_depht": 3}), r"unknown entries: encoder_depht; known: .*encoder_depth"),
        (json.dumps({"stat": 3}), "stat is 3, not a table"),
        (json.dumps({"encoder_depth": "two"}), "does not describe a MuQ network"),
    ],
)
def test_a_config_that_cannot_be_used_is_told_in_one_line(checkpoint, tmp_path, text, reason):
    config_beside(checkpoint, tmp_path, text)
    with pytest.raises(WeightsMismatch, match=reason) as caught:
        load_encoder("muq", weights=tmp_path, audio_recipe="x")
    assert len(str(caught.value).splitlines()) == 1


def test_importing_leaves_no_stand_ins_behind():
    code = (
        "import sys; sys.modules['torchaudio'] = None;"
        "from mmmos.extract.encoders.muq import import_muq; import_muq();"
        "assert 'muq' not in sys.modules and 'muq.muq.modules.features' not in sys.modules;"
        "assert import_muq() is import_muq()"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
