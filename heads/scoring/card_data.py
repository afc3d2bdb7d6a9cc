"""The front matter of a model card, which the Hugging Face hub reads: terms, origins, figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from huggingface_hub import EvalResult, ModelCardData

from mmmos.heads.metrics import METRICS
from mmmos.heads.scoring.bundle import Bundle
from mmmos.store.schema import EncoderSpec

TASK = "audio-classification"
"""The hub has no task of predicted ratings; this is the nearest."""
HUB_LICENCES = {"CC BY 4.0": "cc-by-4.0", "CC BY-NC 4.0": "cc-by-nc-4.0"}
"""Terms as encoders state them, from the freest to the strictest, and the hub's names of them."""
OTHER_TERMS = "terms-of-the-encoders-weights"


def front_matter(bundle: Bundle) -> str:
    """YAML for the hub; whatever comes from data is quoted by its library."""
    pretrained = [spec for spec in bundle.encoders if not spec.is_random and spec.weights != "none"]
    licence = hub_licence(pretrained)
    data = (bundle.about.get("training") or {}).get("data")
    results = eval_results(bundle)
    card = ModelCardData(
        library_name="mmmos",
        pipeline_tag=TASK,
        license=licence,
        license_name=OTHER_TERMS if licence == "other" else None,
        base_model=[spec.checkpoint for spec in pretrained if "/" in spec.checkpoint] or None,
        datasets=[data] if data else None,
        metrics=list(dict.fromkeys(result.metric_type for result in results)) or None,
        tags=[
            *("audio", "audio-quality", "mos-prediction", "no-reference"),
            *(["untrained-encoders"] if any(spec.is_random for spec in bundle.encoders) else []),
        ],
        model_name=bundle.id,
        eval_results=results or None,
    )
    return str(card.to_yaml())


def hub_licence(pretrained: Sequence[EncoderSpec]) -> str | None:
    """The strictest of the encoders' terms by the hub's name, "other" where one has no name there.

    Heads inherit the terms of the weights that made their features.  None where there are no such weights:
    then nothing but the training data binds whoever shares them.
    """
    if not pretrained:
        return None
    named = [_named(spec.licence) for spec in pretrained]
    if None in named:
        return "other"
    strictness = list(HUB_LICENCES.values())
    return max((name for name in named if name), key=strictness.index)


def _named(licence: str) -> str | None:
    """The hub's name of terms that an encoder states, None where they are others."""
    return HUB_LICENCES.get(licence.partition(" (")[0])


def eval_results(bundle: Bundle) -> list[EvalResult]:
    """Every axis and level over all domains, with its interval: of test, or else of the last split."""
    by_split: Mapping[str, Sequence[Mapping[str, Any]]] = bundle.about.get("accuracy") or {}
    if not by_split:
        return []
    split = "test" if "test" in by_split else list(by_split)[-1]
    data = bundle.about.get("data", "?")
    said = f" ({'; '.join(' '.join(caveat.split()) for caveat in bundle.caveats)})" if bundle.caveats else ""
    return [
        EvalResult(
            task_type=TASK,
            task_name=f"{row['axis']}, {row['level']} level",
            dataset_type=data,
            dataset_name=f"{data}{said}",
            dataset_split=split,
            metric_type=row["metric"],
            metric_name=row["metric"].upper() + _interval(row),
            metric_value=round(row["value"], 4),
        )
        for row in by_split[split]
        if row["domain"] == "all" and row["metric"] in METRICS and row["value"] is not None
    ]


def _interval(row: Mapping[str, Any]) -> str:
    if row["low"] is None or row["high"] is None:
        return ""
    return f", 95 % interval {row['low']:.3f} to {row['high']:.3f}"
