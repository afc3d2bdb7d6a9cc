"""What the hub reads of a bundle: its terms are never freer than those of its encoders."""

from __future__ import annotations

from dataclasses import replace

import pytest
from huggingface_hub import ModelCard

from mmmos import load_bundle
from mmmos.heads.scoring.card_data import OTHER_TERMS, hub_licence
from mmmos.heads.scoring.model_card import model_card
from mmmos.store.schema import EncoderSpec
from tests.heads.scoring.made_bundle import logmel, made_bundle
from tests.heads.scoring.published_audiobox import published


def spec(checkpoint: str, licence: str) -> EncoderSpec:
    return replace(
        logmel(), name=checkpoint[-8:], checkpoint=checkpoint, weights="tensors:0", licence=licence
    )


AES = spec("facebook/audiobox-aesthetics", "CC BY 4.0 (https://huggingface.co/facebook/audiobox-aesthetics)")
MUQ = spec("OpenMuQ/MuQ-large-msd-iter", "CC BY-NC 4.0 (https://...): not for commercial use")
M2D = spec("m2d_clap_vit_base", "NTT's own licence, in https://github.com/nttcslab/m2d")


@pytest.mark.parametrize(
    ("encoders", "licence"),
    [
        ([], None),
        ([AES], "cc-by-4.0"),
        ([AES, MUQ], "cc-by-nc-4.0"),
        ([MUQ, M2D], "other"),
        ([spec("custom:0123", "a custom file; the published one has: CC BY 4.0")], "other"),
        ([spec("newcomer", "")], "other"),
    ],
)
def test_the_strictest_terms_count(encoders, licence):
    assert hub_licence(encoders) == licence


def test_the_hubs_library_reads_the_card_back():
    row = {
        "domain": "all",
        "level": "system",
        "axis": "PQ",
        "metric": "srcc",
        "value": 0.87654,
        "ceiling": None,
        "n": 9,
    }
    rows = [
        {**row, "low": 0.8, "high": 0.9},
        {**row, "metric": "mse", "value": None, "low": None, "high": None},
    ]
    bundle = replace(
        made_bundle([MUQ, M2D]),
        caveats=("synthetic: audio\n---\nlicense: mit",),
        about={"data": "data-0", "training": {"data": "data-0", "splits": {}}, "accuracy": {"test": rows}},
    )
    data = ModelCard(model_card(bundle)).data
    assert (data.license, data.license_name, data.library_name) == ("other", OTHER_TERMS, "mmmos")
    assert (data.base_model, data.datasets) == (["OpenMuQ/MuQ-large-msd-iter"], ["data-0"])
    (result,) = data.eval_results
    assert (result.metric_type, result.metric_value, result.dataset_split) == ("srcc", 0.8765, "test")
    assert result.metric_name == "SRCC, 95 % interval 0.800 to 0.900"
    assert "synthetic" in result.dataset_name
    assert result.task_name == "PQ, system level"


def test_without_pretrained_weights_no_terms_are_claimed():
    data = ModelCard(model_card(made_bundle([logmel()]))).data
    assert (data.license, data.base_model, data.eval_results) == (None, None, None)


def test_audiobox_says_whose_it_is_and_that_it_has_no_intervals(tmp_path):
    card = model_card(load_bundle("audiobox", weights=published(tmp_path), device="cpu").bundle)
    assert "arXiv 2502.05139" in card
    assert "None yet" in card
    assert "mmmos calibrate" in card
    assert "out of domain" in card
    assert "Domains known" not in card
    assert "\n\n\n" not in card
