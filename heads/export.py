"""From a work folder's ensemble to a bundle: what its errors are like, what it was trained on, and the card.

Needs the work folder's table, runs and features, not its audio.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from heads.assessment import select_ensemble
from heads.bundle import ABOUT, CARD, Bundle, BundleError, golden_or_reason, read_bundle, save_bundle
from heads.data import layer_rule
from heads.ensemble import Ensemble, score
from heads.experiment import Experiment, open_experiment
from heads.intervals import Coverage, Intervals, calibrate, cross_check, measure
from heads.model_card import model_card
from heads.reference import Reference, make_reference
from heads.runs import load_head, load_record, run_folder
from store import files
from store.console import say
from store.crops import crops_of
from store.features import FeatureStore
from store.schema import AXES, Clip, EncoderSpec

Array = NDArray[np.float64]

REFERENCE_CLIPS = 2000
"""Clips that feature statistics are taken from at most: enough for means and deviations, soon read."""
CHUNK = 256

CALIBRATION = {"oof": "out-of-fold predictions of train", "dev": "dev", "pam": "PAM"}
"""What intervals rest on, where it is stored: clips that the predicting heads were not trained on."""


@dataclass(frozen=True, eq=False)
class Errors:
    """Predictions of an ensemble against ratings on clips it was not trained on.

    errors: [N, A] prediction less rating, NaN where not rated; spread: [N, A] of the members.
    """

    clips: tuple[Clip, ...]
    errors: Array
    spread: Array

    @property
    def domains(self) -> list[str]:
        return [clip.domain for clip in self.clips]

    @property
    def groups(self) -> list[str]:
        return [clip.group for clip in self.clips]


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


def load_ensemble(experiment: Experiment) -> Ensemble:
    """The ensemble of a work folder, chosen by the default rule where there is none yet."""
    path = experiment.work / "ensemble.json"
    ensemble = Ensemble.load(path) if path.is_file() else select_ensemble(experiment.work)
    if ensemble.data != experiment.table.id:
        raise ValueError(
            f"{path} was chosen on {ensemble.data}, the clip table is {experiment.table.id}: "
            f"run `python pipeline.py ensemble --work {experiment.work}` again"
        )
    return ensemble


def collect(experiment: Experiment, ensemble: Ensemble, resamples: int = 1000) -> Bundle:
    """Everything that goes into a bundle, from a work folder."""
    runs = {run.id: run for run in experiment.runs}
    folders = [run_folder(experiment.work, runs[member].config) for member in ensemble.members]
    heads = {member: load_head(folder) for member, folder in zip(ensemble.members, folders, strict=True)}
    records = [load_record(folder) for folder in folders]
    specs = tuple({spec.id: spec for head in heads.values() for spec in head.specs}.values())
    axes = next(iter(heads.values())).axes
    reference = reference_of(experiment, specs)
    caveats = tuple(dict.fromkeys([*experiment.table.caveats, *(c for r in records for c in r["caveats"])]))
    return Bundle(
        heads,
        ensemble.weights,
        intervals_of(experiment, ensemble, axes, reference, look_at_test=resamples > 0),
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


def intervals_of(
    experiment: Experiment,
    ensemble: Ensemble,
    axes: Sequence[str],
    reference: Reference,
    look_at_test: bool = True,
) -> Intervals:
    """Intervals of an ensemble with their measured coverage: cross-checked, and on test where it is rated."""
    runs = {run.id: run for run in experiment.runs}
    splits = [s for s in CALIBRATION if all(runs[member].has(s) for member in ensemble.members)]
    source = ", ".join(CALIBRATION[split] for split in splits)
    held_out = errors_of(experiment, ensemble, splits)
    noise = panel_noise(experiment.table.clips, axes)
    made = calibrate(axes, held_out.errors, held_out.spread, held_out.domains, noise, source)
    coverage = cross_check(
        axes,
        held_out.errors,
        held_out.spread,
        held_out.domains,
        held_out.groups,
        noise,
        f"{source}, cross-checked over left-out fifths",
    )
    if look_at_test and "test" in experiment.splits:
        test = errors_of(experiment, ensemble, ["test"])
        # As a user sees it: the domain is not stated but found in the features.
        guessed, _ = reference.place(features_of(experiment, test.clips, reference))
        inside = measure(made, test.errors, test.spread, guessed, "test, domain found from the features")
        coverage += _by_true_domain(inside, made, test, guessed)
    return Intervals(made.axes, made.base, made.quantiles, made.clips, made.source, coverage)


def _by_true_domain(
    rows: Sequence[Coverage], made: Intervals, test: Errors, guessed: Sequence[str]
) -> tuple[Coverage, ...]:
    """The row over all clips, and one for each stated domain, with the quantiles of the found one."""
    kept = [row for row in rows if row.domain == "all"]
    for domain in sorted(set(test.domains) - {""}):
        members = np.array([d == domain for d in test.domains])
        found = [g for g, m in zip(guessed, members, strict=True) if m]
        part = measure(made, test.errors[members], test.spread[members], found, kept[0].on)
        kept += [Coverage(r.on, domain, *_figures(r)) for r in part if r.domain == "all"]
    return tuple(kept)


def _figures(row: Coverage) -> tuple[str, float, float, float, int]:
    return row.axis, row.level, row.share, row.width, row.n


def errors_of(experiment: Experiment, ensemble: Ensemble, splits: Sequence[str]) -> Errors:
    """Errors and spread of the ensemble's stored predictions on the splits, one after the other."""
    runs = {run.id: run for run in experiment.runs}
    by_id = {clip.id: clip for clip in experiment.table}
    weights = np.array(ensemble.weights) / np.sum(ensemble.weights)
    clips: list[Clip] = []
    errors, spreads = [], []
    for split in splits:
        stored = [runs[member].predictions(split) for member in ensemble.members]
        first = stored[0]
        places = [{clip_id: i for i, clip_id in enumerate(one.clip_ids)} for one in stored]
        values = np.stack(
            [one.values[[at[i] for i in first.clip_ids]] for one, at in zip(stored, places, strict=True)]
        )
        mean = np.tensordot(weights, values, axes=1)
        here = [by_id[clip_id] for clip_id in first.clip_ids]
        truth = experiment.table.scores(here)[:, [AXES.index(axis) for axis in first.axes]]
        clips += here
        errors.append(mean - truth)
        spreads.append(np.sqrt(np.tensordot(weights, np.square(values - mean), axes=1)))
    return Errors(tuple(clips), np.concatenate(errors), np.concatenate(spreads))


def panel_noise(clips: Sequence[Clip], axes: Sequence[str]) -> Array:
    """Per axis the standard deviation of a panel's mean, from the single ratings; 0 where there are none."""
    noise = []
    for axis in axes:
        panels = [clip.ratings[AXES.index(axis)] for clip in clips]
        variances = [np.var(panel, ddof=1) / len(panel) for panel in panels if len(panel) > 1]
        noise.append(float(np.sqrt(np.mean(variances))) if variances else 0.0)
    return np.array(noise)


def reference_of(experiment: Experiment, specs: Sequence[EncoderSpec]) -> Reference:
    """Domains of the training clips in the features of these encoders; the limit from dev and PAM."""
    rng = np.random.default_rng(0)
    table = experiment.table

    def some(clips: Sequence[Clip]) -> list[Clip]:
        chosen = sorted(rng.permutation(len(clips))[:REFERENCE_CLIPS])
        return [clips[n] for n in chosen]

    train, held_out = some(table.of("train")), some([*table.of("dev"), *table.of("pam")])
    features = {spec.id: clip_features(experiment, train, spec) for spec in specs}
    other = {spec.id: clip_features(experiment, held_out, spec) for spec in specs}
    return make_reference(features, [clip.domain for clip in train], other)


def features_of(
    experiment: Experiment, clips: Sequence[Clip], reference: Reference
) -> Mapping[str, NDArray[np.float32]]:
    """Features of clips as `reference` takes them: spec id -> [N, D]."""
    folder = experiment.work / "features"
    return {
        spec_id: clip_features(experiment, clips, FeatureStore.open(folder / spec_id).spec)
        for spec_id in reference.means
    }


def clip_features(experiment: Experiment, clips: Sequence[Clip], spec: EncoderSpec) -> NDArray[np.float32]:
    """Time means of clips under the spec's layer rule [N, frame_dim], their crops weighted by `valid_s`."""
    store = FeatureStore.open(experiment.work / "features" / spec.id)
    crops = [crops_of(clip) for clip in clips]
    ids = [crop.id for of_clip in crops for crop in of_clip]
    parts = [layer_rule(store.means(ids[at : at + CHUNK]), spec) for at in range(0, len(ids), CHUNK)]
    if not parts:
        return np.empty((0, spec.frame_dim), np.float32)
    flat = np.concatenate(parts)
    owner = np.repeat(np.arange(len(clips)), [len(of_clip) for of_clip in crops])
    seconds = np.array([crop.valid_s for of_clip in crops for crop in of_clip])
    sums = np.zeros((len(clips), flat.shape[1]))
    np.add.at(sums, owner, flat * seconds[:, None])
    return (sums / np.bincount(owner, weights=seconds)[:, None]).astype(np.float32)


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
