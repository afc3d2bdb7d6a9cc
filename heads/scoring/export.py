"""From a work folder's ensemble to a bundle: what its errors are like, what it was trained on, and the card.

Needs the work folder's table, runs and features, not its audio.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmmos.heads.ensemble import Ensemble
from mmmos.heads.network.model import Head
from mmmos.heads.results.assessment import load_ensemble
from mmmos.heads.results.experiment import Experiment, open_experiment
from mmmos.heads.results.scores import score
from mmmos.heads.scoring.bundle import (
    ABOUT,
    CARD,
    Bundle,
    BundleError,
    golden_or_reason,
    read_bundle,
    save_bundle,
)
from mmmos.heads.scoring.clip_features import features_of, reference_of
from mmmos.heads.scoring.held_out import intervals_of
from mmmos.heads.scoring.model_card import model_card
from mmmos.store import files
from mmmos.store.console import say
from mmmos.store.schema import AXES, Clip

Array = NDArray[np.float64]


def export_bundle(
    work: Path,
    destination: Path,
    *,
    golden: bool = True,
    weights: Path | None = None,
    device: str = "auto",
    resamples: int = 1000,
) -> Bundle:
    """Write the ensemble of `work`/ensemble.json as a bundle folder; returns what it holds.

    golden: also score the golden waveforms, for which the encoders are loaded (pretrained ones from `weights`
    or the hub; where they are not to be had it is said); without, installations cannot check themselves.
    resamples: of the bootstrap intervals of the accuracy; 0 leaves the accuracy out and test untouched.
    NotStoredError, ValueError where the work folder lacks something; what is there stays as it was.
    """
    work, destination = Path(work), Path(destination)
    experiment = open_experiment(work)
    ensemble = load_ensemble(experiment)
    bundle = collect(experiment, ensemble, resamples)
    if (destination / ABOUT).exists():
        files.remove(destination / ABOUT)  # a half-written mixture of two bundles must not be one
    save_bundle(bundle, destination, model_card(bundle))
    if golden:
        scores, reason = golden_or_reason(destination, device=device, weights=weights)
        if reason:
            say(f"the bundle goes without golden scores: {reason}")
        bundle.about["golden"] = scores
        save_bundle(bundle, destination, model_card(bundle))
    return bundle


def bundle_of_work(work: Path) -> Path:
    """`work`/bundle, exported (again) where it is not there or not of the current ensemble and table."""
    work = Path(work)
    experiment = open_experiment(work)
    folder = work / "bundle"
    ensemble = load_ensemble(experiment)
    try:
        if read_bundle(folder).about.get("ensemble") == ensemble.id:
            return folder
    except BundleError:
        pass
    export_bundle(work, folder, golden=False, resamples=0)
    return folder


def collect(experiment: Experiment, ensemble: Ensemble, resamples: int = 1000) -> Bundle:
    """Everything that goes into a bundle, from a work folder."""
    runs = {run.id: run for run in experiment.runs}
    heads = {member: Head.load(runs[member].head_path) for member in ensemble.members}
    records = [runs[member].record for member in ensemble.members]
    specs = tuple({spec.id: spec for head in heads.values() for spec in head.specs}.values())
    axes = next(iter(heads.values())).axes
    reference = reference_of(experiment, specs)

    def find_domains(clips: Sequence[Clip]) -> list[str]:
        return reference.place(features_of(experiment, clips, reference))[0]

    caveats = tuple(dict.fromkeys([*experiment.table.caveats, *(c for r in records for c in r["caveats"])]))
    return Bundle(
        heads,
        ensemble.weights,
        intervals_of(experiment, ensemble, axes, find_domains if resamples else None),
        reference,
        caveats,
        {
            "ensemble": ensemble.id,
            "rule": ensemble.rule,
            "data": ensemble.data,
            "records": {
                record["run"]: {key: record[key] for key in ("target", "calibration", "seed", "best_epoch")}
                for record in records
            },
            "training": training_summary(experiment),
            "accuracy": {
                split: [asdict(row) for row in score(ensemble, experiment, split, resamples).rows]
                for split in experiment.splits
            }
            if resamples
            else {},
            "versions": {
                name: version(name) for name in ("torch", "numpy", "transformers", "soxr", "soundfile")
            },
        },
    )


def training_summary(experiment: Experiment) -> dict[str, Any]:
    """What the heads learnt from: clips, hours, domains, systems, raters, scale."""
    table = experiment.table
    summary: dict[str, Any] = {"data": table.id, "scale": asdict(table.scale), "splits": {}}
    for split in ("train", "dev", "pam", "test"):
        clips = table.of(split)
        if clips:
            raters = [len(single) for clip in clips for single in clip.ratings if single]
            summary["splits"][split] = {
                "clips": len(clips),
                "hours": round(sum(clip.duration_s for clip in clips) / 3600, 3),
                "domains": dict(sorted(Counter(clip.domain or "unnamed" for clip in clips).items())),
                "systems": len({clip.system for clip in clips if clip.system}),
                "ratings_per_score": round(float(np.mean(raters)), 2) if raters else None,
                "rated": {
                    axis: int(n)
                    for axis, n in zip(AXES, np.isfinite(table.scores(clips)).sum(axis=0), strict=True)
                },
            }
    return summary


def add_to_bundle(folder: Path, name: str, value: Any, attachments: Mapping[str, str] | None = None) -> None:
    """Keep a further entry in a bundle's JSON and card, and text files beside it."""
    bundle = read_bundle(folder)
    bundle.about[name] = value
    for file_name, text in (attachments or {}).items():
        files.write_text(Path(folder) / file_name, text)
    about = json.loads(files.read_bytes(Path(folder) / ABOUT))
    about[name] = value
    files.write_text(Path(folder) / CARD, model_card(bundle))
    files.write_text(
        Path(folder) / ABOUT, json.dumps(about, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    )
