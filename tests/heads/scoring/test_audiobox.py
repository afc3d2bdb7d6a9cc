"""The ready bundle `audiobox`: its scores are those of audiobox-aesthetics' own code."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from mmmos import load_bundle
from mmmos.extract.front import WeightsMismatch, WeightsMissing
from mmmos.heads.scoring.bundle import read_bundle, save_bundle
from mmmos.heads.scoring.loading import is_ready
from tests.conftest import shared
from tests.heads.scoring.published_audiobox import AXES, CONFIG, published, tower

RATE_HZ = 16000


def wave(seconds: float, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return (0.1 * rng.standard_normal(round(seconds * RATE_HZ))).astype(np.float32)


def values(answer: dict) -> np.ndarray:
    return np.array([answer[axis] for axis in AXES])


def test_the_authors_scores_of_a_whole_a_short_and_a_long_clip():
    folder = shared("reference/aes_tiny")
    expected = np.load(folder / "expected.npz")
    scorer = load_bundle("audiobox", weights=folder, device="cpu")
    for number, scores in enumerate(expected["scores_CE_CU_PC_PQ"]):
        found = values(scorer(expected[f"waveform_16k_{number}"], RATE_HZ))
        assert np.abs(found - scores).max() <= 1e-4


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"proj_num_layer": 1, "proj_ln": False},
        {"proj_ln": False, "normalize_embed": False},
        {"proj_dropout": 0.1},
        {"use_weighted_layer_sum": False},
    ],
    ids=str,
)
def test_every_kind_of_published_head(tmp_path, changes):
    folder = published(tmp_path, **changes)
    config, tensors = CONFIG | changes, load_file(folder / "model.safetensors")
    scorer = load_bundle("audiobox", weights=folder, device="cpu")
    samples = wave(4.2)
    padded = torch.zeros(1, 10 * RATE_HZ)
    padded[0, : len(samples)] = torch.from_numpy(samples)
    states = torch.stack(scorer.front.encoders[0].hidden_states(padded, torch.tensor([210])))[:, 0, :210]
    for axis in AXES:
        mixed = states[-1]
        if config["use_weighted_layer_sum"]:
            mixed = torch.einsum("l,ltd->td", tensors[f"layer_weights.{axis}"].softmax(0), states)
        pooled = mixed.mean(0)
        if config["normalize_embed"]:
            pooled = torch.nn.functional.normalize(pooled, dim=0)
        network = tower(48, config).eval()
        prefix = f"proj_layer.{axis}."
        network.load_state_dict(
            {name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix)}
        )
        scale = config["target_transform"][axis]
        expected = network(pooled).item() * scale["std"] + scale["mean"]
        assert abs(scorer(samples, RATE_HZ)[axis] - expected) <= 1e-4


def test_windows_leave_nothing_out(tmp_path):
    scorer = load_bundle("audiobox", weights=published(tmp_path), device="cpu")
    samples = wave(20.3)
    parts = [samples[:160000], samples[160000:320000], samples[320000:]]
    seconds = [len(part) / RATE_HZ for part in parts]
    by_part = [values(scorer(part, RATE_HZ)) for part in parts]
    whole = scorer(samples, RATE_HZ)
    assert whole["seconds"] == pytest.approx(20.3)  # the grid of training drops the last 0.3 s
    np.testing.assert_allclose(values(whole), np.average(by_part, axis=0, weights=seconds), atol=1e-4)
    silent_end = np.concatenate([samples[:80000], np.zeros(32000, np.float32)])
    assert scorer(silent_end, RATE_HZ)["seconds"] == 7.0


def test_scores_are_not_held_to_the_scale(tmp_path):
    far = {axis: {"mean": 40.0, "std": 1.0} for axis in AXES}
    scorer = load_bundle("audiobox", weights=published(tmp_path, target_transform=far), device="cpu")
    assert values(scorer(wave(1.0), RATE_HZ)).min() > 30


def test_without_rated_clips_there_are_no_intervals(tmp_path):
    answer = load_bundle("audiobox", weights=published(tmp_path), device="cpu")(wave(1.0), RATE_HZ)
    assert {answer[f"{axis}_{end}"] for axis in AXES for end in ("80_low", "95_high")} == {None}
    assert (answer["domain"], answer["flags"]) == ("", [])


def test_it_is_kept_as_any_bundle(tmp_path):
    weights = published(tmp_path / "weights")
    ready = load_bundle("audiobox", weights=weights, device="cpu")
    save_bundle(ready.bundle, tmp_path / "kept", "")
    kept = load_bundle(tmp_path / "kept", weights=weights, device="cpu")
    assert read_bundle(tmp_path / "kept").id == kept.id == ready.id
    assert kept(wave(12.4), RATE_HZ) == ready(wave(12.4), RATE_HZ)


def test_a_folder_of_its_name_is_a_bundle_only_if_it_holds_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "audiobox").mkdir()
    assert is_ready("audiobox")
    (tmp_path / "audiobox" / "bundle.json").write_text("{}")
    assert not is_ready("audiobox")
    assert not is_ready("./audiobox")


def test_missing_weights_are_told_in_one_line_with_the_command(tmp_path, monkeypatch):
    monkeypatch.setattr("mmmos.extract.encoders.locate.can_fetch", lambda published: False)
    monkeypatch.setenv("MMMOS_WEIGHTS", str(tmp_path))
    monkeypatch.setattr("mmmos.extract.encoders.locate.try_to_load_from_cache", lambda *a, **k: None)
    with pytest.raises(WeightsMissing, match=r"`mmmos weights --encoders aes`") as told:
        load_bundle("audiobox")
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("lost", ["proj_layer.PC.3.bias", "layer_weights.CE"])
def test_a_file_without_all_of_the_heads_is_refused(tmp_path, lost):
    folder = published(tmp_path)
    tensors = load_file(folder / "model.safetensors")
    del tensors[lost]
    save_file(tensors, folder / "model.safetensors")
    with pytest.raises(WeightsMismatch, match="does not hold the heads"):
        load_bundle("audiobox", weights=folder)
