"""The model card: what it must say, and that nothing in it breaks its form."""

from __future__ import annotations

import json
from dataclasses import asdict, replace

import pytest

from mmmos.heads.metrics import METRICS
from mmmos.heads.scoring.bundle import ABOUT, read_bundle
from mmmos.heads.scoring.model_card import licence, model_card
from tests.heads.scoring.experiment import scoring_experiment
from tests.heads.scoring.made_bundle import SPEECH_AXES, logmel, made_bundle


def test_the_card_says_what_the_numbers_rest_on() -> None:
    experiment = scoring_experiment()
    card = (experiment.bundle / "README.md").read_text()
    about = json.loads((experiment.bundle / ABOUT).read_text())
    assert card.startswith("---\n")
    assert "\nlibrary_name: mmmos\n" in card.split("---")[1]
    assert "untrained-encoders" in card.split("---")[1]
    for words in (
        "synthetic audio",
        "untrained wavlm",
        about["id"],
        about["data"],
        "random:0",
        "| 80% |",
        "| 95% |",
    ):
        assert words in card, words
    assert {row["split"] for rows in about["accuracy"].values() for row in rows} == {"dev", "pam", "test"}
    assert asdict(read_bundle(experiment.bundle).encoders[0]).items() <= about["encoders"][0].items()


@pytest.mark.parametrize(
    ("kinds", "words"),
    [
        (["system"], "95 % interval, over whole systems. Highest"),
        (["group"], "over whole groups; over groups or clips it is about further clips of these systems"),
        (["clip", "system"], "over whole systems or clips; over groups"),
        ([], "in choosing the ensemble."),
    ],
)
def test_the_card_says_what_the_intervals_of_its_accuracy_are_over(kinds: list[str], words: str) -> None:
    row = {
        "run": "r", "level": "utterance", "domain": "all", "axis": "PQ", "value": 0.5, "low": 0.4,
        "high": 0.6, "ceiling": 0.9, "n": 60, "reason": "",
    }  # fmt: skip
    rows = {
        kind: [row | {"split": kind, "metric": metric, "clusters": kind} for metric in METRICS]
        for kind in kinds
    } or {"dev": [row | {"metric": metric, "clusters": "", "low": None} for metric in METRICS]}
    bundle = made_bundle([logmel()])
    card = model_card(replace(bundle, about={**bundle.about, "accuracy": rows}))
    assert words in card
    assert ("In brackets" in card) == bool(kinds)


def test_the_card_says_which_intervals_cannot_be_had() -> None:
    bundle = made_bundle([logmel()])
    assert "left empty" not in model_card(bundle)
    few = {"": {0.8: (1.5,) * 4, 0.95: (None,) * 4}}
    card = model_card(replace(bundle, intervals=replace(bundle.intervals, quantiles=few)))
    assert "left empty: CE 95%, CU 95%, PC 95%, PQ 95%." in card


def test_the_card_of_other_axes_names_and_escapes_them() -> None:
    card = model_card(made_bundle([logmel()], SPEECH_AXES))
    assert "- **MOS**: Overall Quality\n" in card
    assert r"- **SIG**: Quality of the &lt;Signal&gt; \| alone" in card
    assert "Content Enjoyment" not in card


def test_a_caveat_cannot_break_the_card() -> None:
    bundle = replace(made_bundle([logmel()]), caveats=("two\n# lines", "<script>x</script>"))
    card = model_card(bundle)
    assert r"> - two \# lines" in card
    assert "<script" not in card
    assert card.count("\n# ") == 1


def test_sections_without_data_are_left_out() -> None:
    card = model_card(made_bundle([logmel()]))
    headings = [line for line in card.splitlines() if line.startswith("## ")]
    assert headings == ["## Use", "## Intervals", "## Flags", "## Members", "## Encoders", "## Limits"]
    assert "\n\n\n" not in card


def test_the_card_names_the_licence_that_the_encoders_spec_carries() -> None:
    spec = logmel()
    assert licence(spec) == "no weights"
    assert licence(replace(spec, name="newcomer", licence="MIT")) == "MIT"
    assert licence(replace(spec, name="newcomer", licence="")) == "see its publisher"
    assert licence(replace(spec, weights="random:1", licence="MIT")) == "untrained weights, no licence"
