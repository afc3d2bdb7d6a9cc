"""Intervals from a user's own ratings: which clips they rest on, and that they cover new ones."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from mmmos import load_bundle, pipeline
from mmmos.heads.scoring.bundle import read_bundle, save_bundle
from mmmos.heads.scoring.calibration import calibrate_bundle, rated_requests, save_calibrated
from mmmos.store.console import OK, REFUSED, REJECTS
from mmmos.store.schema import AES_AXES, Clip
from tests.heads.scoring.made_bundle import logmel, made_bundle
from tests.heads.scoring.published_audiobox import published

AXES = AES_AXES.names


def rated(count: int, error: float, seed: int = 0) -> tuple[list[Clip], list[dict]]:
    """Clips rated 5 on average, and answers that miss the ratings by `error` on average."""
    rng = np.random.default_rng(seed)
    clips, answers = [], []
    for number in range(count):
        truth = 5 + rng.standard_normal(len(AXES))
        missed = truth + error * rng.standard_normal(len(AXES))
        clips.append(Clip(f"c{number}", f"c{number}.wav", scores=tuple(map(float, truth))))
        answers.append(
            {"id": f"c{number}"}
            | dict(zip(AXES, map(float, missed), strict=True))
            | {f"{axis}_spread": 0.0 for axis in AXES}
        )
    return clips, answers


def test_the_intervals_cover_what_they_promise_on_new_clips():
    bundle = made_bundle([logmel()])
    shares = []
    for seed in range(40):
        made = calibrate_bundle(bundle, *rated(60, 0.7, seed)).intervals
        new, answers = rated(200, 0.7, 1000 + seed)
        half = made.half_widths(0.8, np.zeros(len(AXES)))
        missed = np.array(
            [
                [a[x] - s for x, s in zip(AXES, c.scores, strict=True)]
                for c, a in zip(new, answers, strict=True)
            ]
        )
        shares.append((np.abs(missed) <= half).mean())
    assert 0.79 < np.mean(shares) < 0.84  # 80 % at least, and at most 1 / 61 more


def test_more_clips_give_more_levels():
    bundle = made_bundle([logmel()])
    few = calibrate_bundle(bundle, *rated(10, 0.7)).intervals
    assert np.isfinite(few.half_widths(0.8, np.zeros(4))).all()
    assert np.isnan(few.half_widths(0.95, np.zeros(4))).all()
    with pytest.raises(ValueError, match=r"3 clips are rated .* 4 or more"):
        calibrate_bundle(bundle, *rated(3, 0.7))


def test_what_could_not_be_read_is_left_out():
    clips, answers = rated(10, 0.7)
    answers[3] = {"id": "c3", "error": "empty file"}
    made = calibrate_bundle(made_bundle([logmel()]), clips, answers)
    assert made.intervals.clips == {"": 9}


def test_only_rated_clips_are_scored():
    clips = [Clip("a", "x/a.wav", scores=(None, 5.0, None, None), domain="speech"), Clip("b", "b.wav")]
    (request,) = rated_requests(clips, Path("audio"))
    assert (request.id, request.file, request.domain) == ("a", Path("audio/x/a.wav"), "speech")


def test_a_folder_with_something_else_is_not_written_to(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(ValueError, match="no bundle of MMMOS"):
        save_calibrated(made_bundle([logmel()]), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


@pytest.fixture
def ratings(tmp_path, monkeypatch):
    """rated.csv with 24 half-second files in the current folder, and the weights of audiobox."""
    monkeypatch.chdir(tmp_path)
    published(tmp_path / "weights" / "aes")
    monkeypatch.setenv("MMMOS_WEIGHTS", str(tmp_path / "weights"))
    rng = np.random.default_rng(0)
    lines = ["id,path,CE,CU,PC,PQ"]
    for number in range(24):
        soundfile.write(f"{number}.wav", 0.1 * rng.standard_normal(8000), 16000)
        lines.append(f"{number},{number}.wav," + ",".join(f"{r:.2f}" for r in rng.uniform(2, 9, 4)))
    Path("rated.csv").write_text("\n".join(lines) + "\n")


def calibrate(monkeypatch, *words: str) -> int:
    monkeypatch.setattr(sys, "argv", ["mmmos", "calibrate", "--clips", "rated.csv", *words])
    with pytest.raises(SystemExit) as stop:
        pipeline.main()
    return int(stop.value.code or OK)


def test_audiobox_is_kept_in_a_folder_that_has_its_name(tmp_path, ratings, monkeypatch, capsys):
    assert calibrate(monkeypatch, "--bundle", "audiobox") == OK
    assert "kept in audiobox" in capsys.readouterr().err
    scorer = load_bundle("audiobox", device="cpu")
    (answer,) = scorer.files(["0.wav"])
    assert answer["PQ_95_low"] < answer["PQ_80_low"] < answer["PQ"] < answer["PQ_80_high"]
    assert scorer.bundle.intervals.source == "24 clips of rated.csv"
    assert "24 clips of rated.csv" in (tmp_path / "audiobox" / "README.md").read_text()


def test_a_bundle_is_calibrated_in_place_and_keeps_its_scores(tmp_path, ratings, monkeypatch):
    save_bundle(made_bundle([logmel()]), tmp_path / "bundle", "")
    before = load_bundle("bundle", device="cpu").files(["0.wav"])[0]
    Path("3.wav").unlink()
    assert calibrate(monkeypatch, "--bundle", "bundle") == REJECTS
    assert read_bundle(tmp_path / "bundle").intervals.clips == {"": 23}
    after = load_bundle("bundle", device="cpu").files(["0.wav"])[0]
    assert [after[axis] for axis in AXES] == [before[axis] for axis in AXES]


def test_ratings_on_another_scale_are_refused(ratings, monkeypatch, capsys):
    Path("rated.csv").write_text("id,path,PQ\n0,0.wav,70\n")
    assert calibrate(monkeypatch, "--bundle", "audiobox") == REFUSED
    assert "70" in capsys.readouterr().err


def test_a_wrong_folder_is_said_once_after_the_files(ratings, monkeypatch, tmp_path, capsys):
    save_bundle(made_bundle([logmel()]), tmp_path / "bundle", "")
    assert calibrate(monkeypatch, "--bundle", "bundle", "--audio-root", "elsewhere") == REFUSED
    assert "none of the 24 rated clips can be read: --audio-root names" in capsys.readouterr().err
