"""Audio unlike that of training: other sample rates, levels and lengths (FAULTS H1)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

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

RATE_HZ, SECONDS = 16000, 2.0


def sound(n: int, rate_hz: int, seconds: float = SECONDS) -> np.ndarray:
    """Harmonics in noise; the noise grows with n, which is what the clips are rated by."""
    rng = np.random.default_rng(n)
    time_s = np.arange(int(seconds * rate_hz)) / rate_hz
    tone = sum(np.sin(2 * np.pi * 220 * k * time_s) / k for k in range(1, 6))
    return (0.1 * tone + 0.002 * (1 + n) * rng.normal(size=len(time_s))).astype(np.float32)


@pytest.fixture(scope="module")
def scorer(tmp_path_factory: pytest.TempPathFactory) -> Scorer:
    import soundfile

    root = tmp_path_factory.mktemp("strange")
    clips = []
    for n in range(30):
        soundfile.write(root / f"{n}.wav", sound(n, RATE_HZ), RATE_HZ)
        clips.append(Clip(f"c{n:02d}", f"{n}.wav", split="train", scores=(9.0 - 0.25 * n,), axes=("MOS",)))
    table, _ = survey(ClipTable(tuple(clips), axes=Axes(("MOS",))), root, quiet=True)
    work = root / "work"
    save_table(table, work / "clips.json")
    encoders = [load_encoder(name, audio_recipe=AUDIO_RECIPE) for name in ("logmel", "fullband")]
    extract(table, root, encoders, work / "features", quiet=True)
    ids = [encoder.spec.id for encoder in encoders]
    configs = [
        configure(table.id, ids, "ridge", reads="means"),
        configure(table.id, ids, "svr", reads="means"),
        configure(table.id, ids, "mlp", "ut", epochs=30, learning_rate=3e-3),
    ]
    assert not train_grid(configs, work, jobs=1, folds=5).failed
    select_ensemble(open_experiment(work), "all")
    export_bundle(work, Path(root / "bundle"), golden=False, accuracy=False)
    return load_bundle(root / "bundle", device="cpu")


CHANGES = {
    "8 kHz": lambda n: (sound(n, 8000), 8000),
    "22 kHz": lambda n: (sound(n, 22050), 22050),
    "44.1 kHz": lambda n: (sound(n, 44100), 44100),
    "48 kHz": lambda n: (sound(n, 48000), 48000),
    "louder": lambda n: (4 * sound(n, RATE_HZ), RATE_HZ),
    "softer": lambda n: (0.01 * sound(n, RATE_HZ), RATE_HZ),
    "padded": lambda n: (np.pad(sound(n, RATE_HZ), (RATE_HZ, 2 * RATE_HZ)), RATE_HZ),
}


def test_clips_as_in_training_are_scored_well(scorer: Scorer) -> None:
    for n in (5, 15, 25):
        answer = scorer(sound(n, RATE_HZ), RATE_HZ)
        assert abs(answer["MOS"] - (9.0 - 0.25 * n)) < 1.5
        assert "out_of_domain" not in answer["flags"]


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("n", [5, 25])
def test_strange_clips_keep_a_sane_score_or_are_flagged_with_wide_intervals(
    scorer: Scorer, change: str, n: int
) -> None:
    usual = scorer(sound(n, RATE_HZ), RATE_HZ)
    answer = scorer(*CHANGES[change](n))
    low, high = answer["MOS_95_low"], answer["MOS_95_high"]
    assert high - low > 0.9 * min(usual["MOS_95_high"] - usual["MOS_95_low"], 10 - low)
    assert low <= answer["MOS"] <= high
    truth_inside = low <= 9.0 - 0.25 * n <= high
    flagged = "out_of_domain" in answer["flags"]
    assert truth_inside or flagged
    if flagged:
        assert high - low >= usual["MOS_95_high"] - usual["MOS_95_low"]
