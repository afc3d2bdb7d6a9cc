"""What playing real clips softer does to their scores, with and without `--loudness -23`.

    MMMOS_SHARED=FOLDER python -m tests.bench.loudness

Two predictors are trained by `mmmos train` on one half of the rated items each (sentences, scenes), and score
the other half as it is and 6, 12 and 20 dB softer.  The intervals are Student's t over items.
"""

from __future__ import annotations

import csv
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import soundfile
from scipy import stats

from mmmos import load_bundle
from mmmos.heads.metrics import METRICS
from tests.conftest import ROOT, SHARED

RATED = SHARED / "data" / "rated_audio"
SETS = {
    "speech codecs": ("speech_codec_mushra", "signal", "condition", "mushra_mean"),
    "ambisonic codecs": ("sound_ambisonic_codec_mushra", "item", "codec", "mean"),
}
"""Title -> folder, and the columns of item, system and mean rating."""
SOFTER_DB = (0, 6, 12, 20)
TARGET_LUFS = -23.0

Scores = dict[tuple[str, int, bool], float]
"""(path, dB softer, with --loudness) -> score."""


def main() -> None:
    for title, (folder, item, system, mean) in SETS.items():
        with (RATED / folder / "ratings.csv").open(newline="", encoding="utf-8") as file:
            rows = [row for row in csv.DictReader(file) if row["path"]]
        items = sorted({row[item] for row in rows})
        scores: Scores = {}
        with tempfile.TemporaryDirectory() as made:
            for half in (0, 1):
                learned = set(items[half::2])
                train = [row for row in rows if row[item] in learned]
                bundle = trained(train, RATED / folder, (item, system, mean), Path(made) / f"half-{half}")
                others = [row["path"] for row in rows if row[item] not in learned]
                scores |= scored(bundle, RATED / folder, others, Path(made) / f"softer-{half}")
        tell(title, rows, scores, item, mean)


def trained(rows: Iterable[dict[str, str]], audio: Path, columns: tuple[str, ...], made: Path) -> Path:
    made.mkdir()
    item, system, mean = columns
    with (made / "ratings.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(("path", "group", "system", "MUSHRA", "MUSHRA_ratings"))
        table.writerows((row["path"], row[item], row[system], row[mean], row["ratings"]) for row in rows)
    options = ("--audio", audio, "--work", made / "work", "-o", made / "bundle", "--jobs", 1)
    about = ("--axes", "MUSHRA", "--scale=0,100")
    verb = (sys.executable, ROOT / "pipeline.py", "train", made / "ratings.csv", *options, *about)
    subprocess.run(list(map(str, verb)), check=True, capture_output=True)
    return made / "bundle"


def scored(bundle: Path, audio: Path, paths: Iterable[str], made: Path) -> Scores:
    scorer = load_bundle(bundle, device="cpu")
    found: Scores = {}
    made.mkdir()
    for path in paths:
        wave, rate_hz = soundfile.read(audio / path, dtype="float32")
        for softer_db in SOFTER_DB:
            copy = made / "clip.wav"
            soundfile.write(copy, wave * np.float32(10 ** (-softer_db / 20)), rate_hz, "FLOAT")
            for level in (None, TARGET_LUFS):
                (answer,) = scorer.files([copy], loudness_lufs=level)
                found[path, softer_db, level is not None] = answer["MUSHRA"]
    return found


def tell(title: str, rows: list[dict[str, str]], scores: Scores, item: str, mean: str) -> None:
    paths = [row["path"] for row in rows]
    truth = np.array([float(row[mean]) for row in rows])
    groups = np.array([row[item] for row in rows])
    print(f"\n{title}: {len(rows)} clips, {len(set(groups))} items left out; MUSHRA 0-100")
    print(
        "| scored | mean change | mean size of change | largest | SRCC to the ratings |\n"
        "| --- | --- | --- | --- | --- |"
    )
    as_is = np.array([scores[path, 0, False] for path in paths])
    for brought in (False, True):
        for softer_db in SOFTER_DB:
            now = np.array([scores[path, softer_db, brought] for path in paths])
            srcc = METRICS["srcc"].function(now, truth)
            shift = now - as_is
            name = ("as it is" if not softer_db else f"{softer_db} dB softer") + ", --loudness -23" * brought
            print(
                f"| {name} | {over_items(shift, groups)} | {over_items(abs(shift), groups)} "
                f"| {abs(shift).max():.1f} | {srcc:.3f} |",
                flush=True,
            )
    dump = {f"{path} {softer} {brought}": value for (path, softer, brought), value in scores.items()}
    print(json.dumps(dump), file=sys.stderr)


def over_items(values: np.ndarray, groups: np.ndarray) -> str:
    """Mean over items of their clips' means, with Student's 95 % interval."""
    means = np.array([values[groups == group].mean() for group in sorted(set(groups))])
    reach = stats.t.ppf(0.975, len(means) - 1) * stats.sem(means)
    return f"{means.mean():+.1f} [{means.mean() - reach:+.1f}, {means.mean() + reach:+.1f}]"


if __name__ == "__main__":
    main()
