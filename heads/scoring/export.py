"""From a work folder's ensemble to a bundle: its intervals, its accuracy, what it was trained on, its card.

Needs the work folder's table, runs and features, and not its audio.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from mmmos import __version__
from mmmos.extract.front import WeightsMissing
from mmmos.heads.config import BUNDLE
from mmmos.heads.ensemble import Ensemble
from mmmos.heads.network.model import Head
from mmmos.heads.results.chosen import load_ensemble
from mmmos.heads.results.experiment import Experiment, open_experiment
from mmmos.heads.results.published import baseline_rows, stored_baselines
from mmmos.heads.results.scores import score
from mmmos.heads.scoring.bundle import Bundle, BundleError, encoders_of, fill, read_bundle
from mmmos.heads.scoring.bundle_folder import refuse_other
from mmmos.heads.scoring.clip_features import reference_features, reference_of
from mmmos.heads.scoring.golden import golden_scores
from mmmos.heads.scoring.held_out import intervals_of
from mmmos.heads.scoring.loading import load_bundle
from mmmos.heads.scoring.model_card import model_card
from mmmos.heads.scoring.prior import adopted
from mmmos.heads.scoring.rank import rating_percentiles
from mmmos.store import files, folders
from mmmos.store.clips import ClipTable
from mmmos.store.console import say
from mmmos.store.schema import AES_AXES, Clip

LIBRARIES = ("torch", "numpy", "transformers", "soxr", "soundfile")
"""Whose versions a bundle names beside MMMOS's own."""


def export_bundle(
    work: Path,
    destination: Path,
    *,
    golden: bool = True,
    weights: Path | None = None,
    device: str = "auto",
    accuracy: bool = True,
) -> Bundle:
    """Write the ensemble of `work`/ensemble.json as a bundle folder.

    Parameters
    ----------
    golden
        Also score the golden waveforms, for which the encoders are loaded (pretrained ones from `weights` or
        the hub; where they cannot be found, that is said).  Without, an installation cannot check itself.
    accuracy
        False leaves the figures on dev, PAM and test out, and test untouched.

    Returns
    -------
    Bundle
        What the folder now holds.

    Raises
    ------
    NotStoredError, ValueError
        Where the work folder lacks something; what is at `destination` then stays as it was.
    """
    work, destination = Path(work), Path(destination)
    refuse_other(destination)
    experiment = open_experiment(work)
    bundle = collect(experiment, load_ensemble(experiment), accuracy)
    with folders.replacing(destination) as aside:
        fill(bundle, aside, model_card(bundle))
        if golden:
            try:
                scorer = load_bundle(aside, device=device, weights=weights)
                bundle.about["golden"] = golden_scores(scorer, scorer.axes)
            except WeightsMissing as reason:
                say(f"the bundle has no golden scores: {reason}")
                bundle.about["golden"] = {}
            fill(bundle, aside, model_card(bundle))
    return bundle


def bundle_of_work(work: Path) -> Path:
    """`work`/bundle, exported (again) where it is missing or of another ensemble or table than now."""
    work = Path(work)
    folder = work / "bundle"
    try:
        if read_bundle(folder).about.get("ensemble") == load_ensemble(open_experiment(work)).id:
            return folder
    except BundleError:
        pass
    export_bundle(work, folder, golden=False, accuracy=False)
    return folder


def collect(experiment: Experiment, ensemble: Ensemble, accuracy: bool = True) -> Bundle:
    """Everything that goes into a bundle, from a work folder."""
    runs = {run.id: run for run in experiment.everything}
    heads = {member: Head.load(runs[member].head_path) for member in ensemble.members}
    records = [runs[member].record for member in ensemble.members]
    started = any(spec.name == BUNDLE for head in heads.values() for spec in head.specs)
    prior = adopted(experiment.work) if started else None
    specs = encoders_of(heads.values(), prior)
    axes = next(iter(heads.values())).axes
    reference = reference_of(experiment, specs)

    def find_domains(clips: Sequence[Clip]) -> list[str]:
        return reference.place(reference_features(experiment, clips, reference))[0]

    intervals = intervals_of(experiment, ensemble, axes, find_domains if accuracy else None)
    caveats = tuple(dict.fromkeys([*experiment.table.caveats, *(c for r in records for c in r["caveats"])]))
    about: dict[str, Any] = {
        "ensemble": ensemble.id,
        "rule": ensemble.rule,
        "data": ensemble.data,
        "records": {
            record["run"]: {key: record[key] for key in ("target", "calibration", "seed", "best_epoch")}
            for record in records
        },
        "training": training_summary(experiment.table),
        "ratings": rating_percentiles(experiment.table),
        "accuracy": {
            split: [asdict(row) for row in score(ensemble, experiment, split).rows]
            for split in (experiment.splits if accuracy else ())
        },
        "baselines": {
            name: [asdict(row) for row in baseline_rows(experiment, name)]
            for name in (stored_baselines(experiment) if accuracy else ())
        },
        "versions": {"mmmos": __version__, **{name: version(name) for name in LIBRARIES}},
    }
    titles = [experiment.table.axes.title(axis) for axis in axes]
    if titles != [AES_AXES.title(axis) for axis in axes]:
        about["titles"] = titles
    return Bundle(
        heads,
        ensemble.weights,
        intervals,
        reference,
        caveats,
        about,
        ensemble.by_axis,
        ensemble.calibration,
        prior,
    )


def training_summary(table: ClipTable) -> dict[str, Any]:
    """What the heads learnt from: clips, hours, domains, systems, raters, scale."""
    summary: dict[str, Any] = {"data": table.id, "scale": table.scale.to_json(), "splits": {}}
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
                    for axis, n in zip(table.axes, np.isfinite(table.scores(clips)).sum(axis=0), strict=True)
                },
            }
    return summary


def add_to_bundle(folder: Path, name: str, value: Any, attachments: Mapping[str, str] | None = None) -> None:
    """Add an entry to a bundle's JSON and card, and text files (name -> text) beside it."""
    folder = Path(folder)
    bundle = read_bundle(folder)
    bundle.about[name] = value
    refuse_other(folder)
    with folders.replacing(folder, keep=True) as aside:
        for file_name, text in (attachments or {}).items():
            files.write_text(aside / file_name, text)
        fill(bundle, aside, model_card(bundle))
