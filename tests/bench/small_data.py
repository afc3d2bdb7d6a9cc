"""How well heads learn from few clips, on real listening tests.

    MMMOS_SHARED=FOLDER python -m tests.bench.small_data [--quick] [--work FOLDER] [--seeds N]

FOLDER/data/rated_audio holds three sets (see its SOURCES.md): speech codecs (128 clips, 16 sentences),
ambisonic codecs (24 clips, 9 scenes) and soundscapes (8 recordings).  Features of `logmel` and `fullband`
are extracted once.  Whole groups are left out, each clip is predicted by heads that saw none of its group,
and every penalty is chosen inside the training clips, so what chooses never sees the clips that are scored;
the recipe's ensemble for so few clips weighs its members so that they spread alike (`even`), by their
predictions alone.  Three seeds
divide the groups and start the heads.  Intervals are bootstraps over groups (95 %) of the mean over seeds.

Prints a table of ensembles and ablations a set, and ends with one JSON line.  --quick: one seed, closed
forms only.  With --work it goes on from where it stopped; use a fresh folder after a change of the code.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr

from mmmos.heads.config import CLOSED_FORM, HeadConfig
from mmmos.heads.grids import grid
from mmmos.heads.training.data import Features, Indices
from mmmos.heads.training.fit import fit
from mmmos.heads.training.out_of_fold import level_of
from mmmos.heads.training.outputs import predict
from mmmos.heads.training.recipe import MANY_FOLDS, recipe_for
from mmmos.store.splits import group_folds, groups_of

Array = NDArray[np.float64]
ROOT = Path(__file__).parents[2]
RESAMPLES = 1000

Rows = list[dict[str, Any]]


def speech_codecs(folder: Path) -> Rows:
    return [
        _row(row["path"], row["signal"], row["condition"], MOS=json.loads(row["ratings"]))
        for row in _read(folder)
        if row["path"]
    ]


def ambisonic_codecs(folder: Path) -> Rows:
    """Clips that were rated in two experiments have the ratings of both."""
    found: dict[str, dict[str, Any]] = {}
    for row in _read(folder):
        if row["path"]:
            made = found.setdefault(row["path"], _row(row["path"], row["item"], row["codec"], MOS=[]))
            made["MOS_ratings"] += json.loads(row["ratings"])
    return list(found.values())


def soundscapes(folder: Path) -> Rows:
    found: dict[str, dict[str, Any]] = {}
    for row in _read(folder):
        made = found.setdefault(
            row["path"], _row(row["path"], row["path"], "", valence=[], arousal=[], dominance=[])
        )
        for axis in ("valence", "arousal", "dominance"):
            made[f"{axis}_ratings"].append(float(row[axis]))
    return list(found.values())


SETS: dict[str, tuple[Callable[[Path], Rows], str, str]] = {
    "speech_codec_mushra": (speech_codecs, "MOS", "0,100"),
    "sound_ambisonic_codec_mushra": (ambisonic_codecs, "MOS", "0,100"),
    "sound_soundscapes_affect": (soundscapes, "valence,arousal,dominance", "-2,2"),
}
"""Folder -> its rows, axes and scale."""


def _read(folder: Path) -> Iterable[dict[str, str]]:
    with (folder / "ratings.csv").open(encoding="utf-8") as file:
        yield from csv.DictReader(file)


def _row(path: str, group: str, system: str, **ratings: list[float]) -> dict[str, Any]:
    single = {f"{axis}_ratings": values for axis, values in ratings.items()}
    return {"id": path, "path": path, "group": group, "system": system, "split": "train", **single}


def features_of(name: str, shared: Path, work: Path) -> Features:
    """The features of a set, extracted where they are not there yet."""
    rows_of, axes, scale = SETS[name]
    folder = shared / "data" / "rated_audio" / name
    table = work / f"{name}.jsonl"
    table.parent.mkdir(parents=True, exist_ok=True)
    table.write_text("".join(json.dumps(row) + "\n" for row in rows_of(folder)), encoding="utf-8")
    command = [sys.executable, "pipeline.py", "extract", "--clips", str(table), "--audio-root", str(folder)]
    command += [
        "--work",
        str(work / name),
        "--encoders",
        "logmel,fullband",
        f"--scale={scale}",
        "--axes",
        axes,
    ]
    subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return Features.open(work / name)


def held_out(config: HeadConfig, features: Features, clips: Indices, seed: int, work: Path) -> Array:
    """[N, A] what heads say about the folds that they did not see; kept in `work`, to go on from there."""
    kept = work / f"{config.id}-{seed}.npy"
    if kept.is_file():
        stored: Array = np.load(kept)
        return stored
    members = [features.clips[n] for n in clips]
    fold = group_folds(members, min(MANY_FOLDS, len(groups_of(members))), seed)
    values = np.empty((len(clips), len(features.table.axes)))
    for number in np.unique(fold):
        head = fit(config, features, train=clips[fold != number]).head
        held = clips[fold == number]
        values[fold == number] = predict(head, features, held) + level_of(head, features, clips)
    work.mkdir(exist_ok=True)
    np.save(kept, values)
    return values


def evenly(members: Sequence[Array]) -> Array:
    """The rule `even` of the selectors, axis by axis."""
    spread = np.array([values.std(axis=0) for values in members])
    weights = 1 / np.maximum(spread, np.median(spread, axis=0) / 2)
    return np.einsum("ma,mna->na", weights / weights.sum(axis=0), np.array(members))


def rows_of_table(features: Features, seeds: int, quick: bool, work: Path) -> dict[str, list[Array]]:
    """What every line of the table predicts, seed by seed."""
    clips = features.of("train")
    found: dict[str, list[Array]] = {}
    for seed in range(seeds):
        recipe = recipe_for(features.table, features.specs, seed=seed)
        of = {
            config: held_out(config, features, clips, seed, work)
            for config in (*recipe.configs, *recipe.baselines)
            if not quick or config.aggregator in CLOSED_FORM
        }
        members = {config: of[config] for config in recipe.configs if config in of}
        lines = {"ridge (log-mel mean, deviation)": [of[recipe.baselines[0]]], "recipe": [*members.values()]}
        if not quick:
            logmel = [spec for spec in features.specs if spec.name == "logmel"]
            defaults = grid("paper", logmel, features.table.id, seed=seed)
            lines["defaults (log-mel, paper's values)"] = [
                held_out(config, features, clips, seed, work) for config in defaults
            ]
        lines |= {
            name: [values for config, values in members.items() if kept(config)]
            for name, kept in ABLATIONS.items()
        }
        for name, predictions in lines.items():
            if predictions:
                found.setdefault(name, []).append(evenly(predictions))
    return found


def _encoders(config: HeadConfig) -> set[str]:
    return {name.partition("-")[0] for name in config.encoders}


ABLATIONS: dict[str, Callable[[HeadConfig], bool]] = {
    "only log-mel": lambda c: _encoders(c) == {"logmel"},
    "only full band": lambda c: _encoders(c) == {"fullband"},
    "only profiles": lambda c: c.reads == "profile",
    "only means": lambda c: c.reads == "means",
    "closed form only": lambda c: c.aggregator in CLOSED_FORM,
    "trained only (statistics, listeners)": lambda c: c.aggregator not in CLOSED_FORM,
    "ridge only": lambda c: c.aggregator == "ridge",
    "kernel ridge only": lambda c: c.aggregator == "kernel_ridge",
    "SVR only": lambda c: c.aggregator == "svr",
    "one SVR (both encoders, profile)": lambda c: (
        c.aggregator == "svr" and c.reads == "profile" and len(c.encoders) == 2
    ),
}
"""Which members stay."""


def figures(features: Features, seeds: list[Array], axis: int) -> dict[str, Any]:
    """Utterance SRCC with its interval, system SRCC and RMSE of one axis, means over seeds."""
    clips = [features.clips[n] for n in features.of("train")]
    truth = features.truth[features.of("train"), axis]
    preds = [values[:, axis] for values in seeds]
    groups = [np.array(members) for members in groups_of(clips)]
    rng = np.random.default_rng(0)
    drawn = []
    for _ in range(RESAMPLES):
        rows = np.concatenate([groups[n] for n in rng.integers(len(groups), size=len(groups))])
        drawn.append(np.mean([spearmanr(pred[rows], truth[rows])[0] for pred in preds]))
    systems = np.array([clip.system for clip in clips])
    names = np.unique(systems)
    of_systems = None
    if len(names) > 2:
        means = [[x[systems == name].mean() for name in names] for x in (truth, *preds)]
        of_systems = round(float(np.mean([spearmanr(one, means[0])[0] for one in means[1:]])), 3)
    return {
        "srcc": round(float(np.mean([spearmanr(pred, truth)[0] for pred in preds])), 3),
        "interval": [round(float(x), 2) for x in np.nanquantile(drawn, [0.025, 0.975])],
        "system_srcc": of_systems,
        "rmse": round(float(np.sqrt(np.mean([(pred - truth) ** 2 for pred in preds]))), 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--work", type=Path, default=None)
    parser.add_argument("--only", default="", help="Only these sets, comma-separated.")
    asked = parser.parse_args()
    shared = os.environ.get("MMMOS_SHARED", "")
    if not (Path(shared) / "data" / "rated_audio").is_dir() or not shared:
        raise SystemExit("MMMOS_SHARED must name the folder that holds data/rated_audio")
    work = asked.work or Path(tempfile.mkdtemp(prefix="small-data-"))
    result: dict[str, Any] = {}
    for name in asked.only.split(",") if asked.only else SETS:
        features = features_of(name, Path(shared), work)
        started = time.perf_counter()
        found = rows_of_table(features, 1 if asked.quick else asked.seeds, asked.quick, work / f"{name}-held")
        result[name] = {"seconds": round(time.perf_counter() - started, 1)}
        for column, axis in enumerate(features.table.axes):
            print(f"\n{name} {axis}: {len(features.of('train'))} clips")
            for line, seeds in found.items():
                of = figures(features, seeds, column)
                low, high = of["interval"]
                system = "" if of["system_srcc"] is None else f"{of['system_srcc']:.3f}"
                print(f"| {line} | {of['srcc']:.3f} [{low:.2f}, {high:.2f}] | {system} | {of['rmse']:.2f} |")
                result[name].setdefault(axis, {})[line] = of
            sys.stdout.flush()
    print(json.dumps({"bench": "small_data", "quick": asked.quick, "sets": result}))


if __name__ == "__main__":
    main()
