"""What docs/reward.md says: cheap changes to real clips must not raise a reward by more than its interval."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from mmmos.extract.audio import AUDIO_RECIPE
from mmmos.extract.encoders import load_encoder
from mmmos.extract.extraction import extract
from mmmos.extract.survey import survey
from mmmos.heads.grids import configure
from mmmos.heads.results.chosen import select_ensemble
from mmmos.heads.results.experiment import open_experiment
from mmmos.heads.scoring.export import export_bundle
from mmmos.heads.scoring.loading import load_bundle
from mmmos.heads.scoring.scorer import Scorer
from mmmos.heads.training.parallel import train_grid
from mmmos.store.clips import ClipTable, save_table
from mmmos.store.schema import Axes, Clip
from tests.conftest import SHARED

RATED = SHARED / "data" / "rated_audio" / "speech_codec_mushra"
LEARNED = 9
"""Sentences of the sixteen that the predictor learns from; the next three are scored."""
pytestmark = pytest.mark.skipif(not RATED.is_dir(), reason=f"the rated clips are not in {RATED}")


def noisy(wave: np.ndarray, rate_hz: int) -> np.ndarray:
    noise = np.random.default_rng(0).normal(size=len(wave)).astype(np.float32)
    return wave + 0.1 * np.sqrt(np.mean(wave**2)) * noise


def clipped(wave: np.ndarray, rate_hz: int) -> np.ndarray:
    peak = 0.1 * np.abs(wave).max()
    return np.clip(wave, -peak, peak)


CHANGES: dict[str, Callable[[np.ndarray, int], np.ndarray]] = {
    "6 dB louder": lambda wave, rate_hz: np.clip(2 * wave, -1, 1),
    "6 dB softer": lambda wave, rate_hz: 0.5 * wave,
    "a second of silence before": lambda wave, rate_hz: np.pad(wave, (rate_hz, 0)),
    "a second of silence after": lambda wave, rate_hz: np.pad(wave, (0, rate_hz)),
    "clipped at a tenth of the peak": lambda wave, rate_hz: np.clip(
        wave, -0.1 * wave.max(), 0.1 * wave.max()
    ),
    "noise at -20 dB": noisy,
}
"""The table of docs/reward.md."""


def rows() -> list[dict[str, str]]:
    with (RATED / "ratings.csv").open(newline="", encoding="utf-8") as file:
        return [row for row in csv.DictReader(file) if row["path"]]


@pytest.fixture(scope="module")
def scorer(tmp_path_factory: pytest.TempPathFactory) -> Scorer:
    """A small predictor of the listening test, whose clips of the last sentences it has never seen."""
    work: Path = tmp_path_factory.mktemp("reward")
    signals = sorted({row["signal"] for row in rows()})
    clips = tuple(
        Clip(
            row["path"].replace("/", "-"),
            row["path"],
            split="train",
            scores=(1 + 0.09 * float(row["mushra_mean"]),),
            axes=("MOS",),
            group=row["signal"],
        )
        for row in rows()
        if row["signal"] in signals[:LEARNED]
    )
    table, rejects = survey(ClipTable(clips, axes=Axes(("MOS",))), RATED, quiet=True)
    assert not rejects
    save_table(table, work / "clips.json")
    encoder = load_encoder("logmel", audio_recipe=AUDIO_RECIPE)
    extract(table, RATED, [encoder], work / "features", quiet=True)
    configs = [configure(table.id, [encoder.spec.id], head, reads="means") for head in ("ridge", "svr")]
    assert not train_grid(configs, work, jobs=1, folds=4).failed
    select_ensemble(open_experiment(work), "all")
    export_bundle(work, work / "bundle", golden=False, accuracy=False)
    return load_bundle(work / "bundle", device="cpu")


@pytest.fixture(scope="module")
def unseen() -> list[tuple[np.ndarray, int]]:
    signals = sorted({row["signal"] for row in rows()})[LEARNED : LEARNED + 3]
    paths = [row["path"] for row in rows() if row["signal"] in signals]
    return [soundfile.read(RATED / path, dtype="float32") for path in paths]


@pytest.mark.parametrize("change", CHANGES)
def test_a_cheap_change_raises_no_reward_beyond_its_interval(
    scorer: Scorer, unseen: list[tuple[np.ndarray, int]], change: str
) -> None:
    before = scorer.waveforms(unseen)
    after = scorer.waveforms([(CHANGES[change](wave, rate_hz), rate_hz) for wave, rate_hz in unseen])
    raised = [new["MOS"] - old["MOS_95_high"] for old, new in zip(before, after, strict=True)]
    assert max(raised) <= 0, (
        f"{sum(rise > 0 for rise in raised)} of {len(raised)} clips, by {max(raised):.2f}"
    )
