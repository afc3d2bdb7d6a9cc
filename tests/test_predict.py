"""Scoring new audio: a file gets the score that training gave it, whatever is around it."""

from __future__ import annotations

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from mmmos.heads.results.assessment import load_ensemble
from mmmos.heads.results.experiment import open_experiment
from mmmos.heads.scoring.answers import FLAGS
from mmmos.heads.scoring.bundle import load_bundle
from mmmos.heads.scoring.requests import list_requests
from mmmos.heads.scoring.scorer import Scorer
from mmmos.store.schema import AXES
from tests.conftest import ROOT
from tests.heads.scoring.experiment import Experiment, scoring_experiment

TOLERANCE = 1e-4


@pytest.fixture(scope="module")
def experiment() -> Experiment:
    return scoring_experiment()


@pytest.fixture(scope="module")
def scorer(experiment: Experiment) -> Scorer:
    return load_bundle(experiment.bundle, device="cpu")


def scores(answers: list[dict]) -> np.ndarray:
    return np.array([[answer[axis] for axis in AXES] for answer in answers])


def close(one: list[dict], other: list[dict]) -> None:
    np.testing.assert_allclose(scores(one), scores(other), atol=TOLERANCE, rtol=0)


def test_new_audio_gets_the_scores_that_training_predicted(experiment: Experiment, scorer: Scorer) -> None:
    opened = open_experiment(experiment.work)
    stored = load_ensemble(opened).predict(opened.runs, "test")
    answers = scorer.files(experiment.paths("test"))
    expected = np.clip(stored.values, scorer.ensemble.scale.low, scorer.ensemble.scale.high)
    np.testing.assert_allclose(scores(answers), expected, atol=TOLERANCE, rtol=0)


def test_an_answer_has_everything_in_order(experiment: Experiment, scorer: Scorer) -> None:
    paths = experiment.paths("dev")[:3]
    answers = scorer.files(paths)
    assert [answer["path"] for answer in answers] == [str(path) for path in paths]
    for answer in answers:
        for axis in AXES:
            low95, low80, high80, high95 = (
                answer[f"{axis}_{x}"] for x in ("95_low", "80_low", "80_high", "95_high")
            )
            assert 1.0 <= low95 <= low80 <= answer[axis] <= high80 <= high95 <= 10.0
            assert answer[f"{axis}_spread"] > 0
        assert answer["domain"] in ("speech", "music", "sound")
        assert answer["bundle"] == scorer.id
        assert answer["caveats"] == list(scorer.caveats) != []
        json.dumps(answer, allow_nan=False)


@pytest.mark.parametrize(("batch", "workers"), [(1, 1), (5, 3), (64, 2)])
def test_batch_order_neighbours_and_workers_change_nothing(
    experiment: Experiment, scorer: Scorer, batch: int, workers: int
) -> None:
    paths = experiment.paths("test")[:8]
    alone = [scorer.files([path])[0] for path in paths]
    other = load_bundle(experiment.bundle, device="cpu", batch=batch, workers=workers)
    close(other.files(paths), alone)
    close(other.files(paths[::-1])[::-1], alone)


def test_trailing_silence_changes_nothing(experiment: Experiment, scorer: Scorer, tmp_path: Path) -> None:
    for path in experiment.paths("test")[:4]:
        frames, rate = soundfile.read(path, always_2d=True)
        padded = tmp_path / f"{path.stem}.wav"
        soundfile.write(padded, np.pad(frames, ((0, 13 * rate), (0, 0))), rate)
        close(scorer.files([padded]), scorer.files([path]))


def test_arrays_tensors_and_files_agree(experiment: Experiment, scorer: Scorer) -> None:
    path = experiment.paths("test")[1]
    frames, rate = soundfile.read(path, always_2d=True, dtype="float32")
    integers, _ = soundfile.read(path, always_2d=True, dtype="int16")
    expected = scorer.files([path])
    for wave in (frames.T, torch.from_numpy(frames.T.copy()), integers.T):
        close([scorer(wave, rate)], expected)
    close(scorer.waveforms([(frames.T, rate)] * 2), expected * 2)


def test_a_timeline_leaves_the_score_alone(experiment: Experiment, scorer: Scorer) -> None:
    path = max(experiment.paths("test"), key=lambda p: soundfile.info(p).duration)
    plain = scorer.files([path])
    timed = scorer.files([path], hop_s=1.0)
    close(timed, plain)
    windows = timed[0]["windows"]
    assert "windows" not in plain[0]
    assert [window["start_s"] for window in windows] == list(range(len(windows)))
    assert len(windows) == int(soundfile.info(path).duration - 10 + 1e-9) + 1
    grid = scorer.files([path], hop_s=10.0)[0]["windows"]
    np.testing.assert_allclose(scores([windows[0]]), scores([grid[0]]), atol=TOLERANCE)
    weights = [window["end_s"] - window["start_s"] for window in grid]
    mean = np.average(scores(grid), axis=0, weights=weights)
    np.testing.assert_allclose(mean, scores(plain)[0], atol=1e-3)


def test_pieces_are_scored_as_files_of_their_own(
    experiment: Experiment, scorer: Scorer, tmp_path: Path
) -> None:
    path = experiment.paths("test")[0]
    frames, rate = soundfile.read(path, always_2d=True, dtype="int16")
    soundfile.write(tmp_path / "part.wav", frames[round(0.5 * rate) : round(2.75 * rate)], rate)
    (tmp_path / "list.jsonl").write_text(json.dumps({"path": str(path), "start_time": 0.5, "end_time": 2.75}))
    piece, part = scorer.files([tmp_path / "list.jsonl", tmp_path / "part.wav"], hop_s=5.0)
    close([piece], [part])
    assert (piece["start_s"], piece["end_s"], piece["seconds"]) == (0.5, 2.75, 2.25)
    assert piece["windows"][0]["start_s"] == 0.5, "times are those of the file"


def test_one_bad_file_is_one_row(experiment: Experiment, scorer: Scorer, tmp_path: Path) -> None:
    bad = tmp_path / "bad.wav"
    bad.write_bytes(b"not audio")
    good = experiment.paths("test")[:2]
    first, middle, last = scorer.files([good[0], bad, good[1]])
    close([first, last], scorer.files(good))
    assert "libsndfile" in middle["error"]
    assert set(middle) == {"id", "path", "error", "bundle", "caveats"}
    with pytest.raises(ValueError, match="not a number"):
        scorer(np.array([np.nan]), 16000)
    with pytest.raises(ValueError, match=r"\[n\] or \[channels, n\]"):
        scorer(np.zeros((16000, 2)), 16000)


def test_flags_say_what_to_beware_of(experiment: Experiment, scorer: Scorer) -> None:
    rng = np.random.default_rng(0)
    typical, rate = soundfile.read(experiment.paths("dev")[0], always_2d=True)
    cases = {
        "short": typical[: rate // 2].T,
        "silent": 1e-5 * typical.T,
        "clipped": np.clip(40 * typical, -1, 1).T,
        "out_of_domain": np.sign(np.sin(np.arange(5 * rate) * 0.9)) * rng.choice([0.0, 0.9], 5 * rate),
    }
    assert set(cases) == set(FLAGS)
    assert scorer(typical.T, rate)["flags"] == []
    for flag, wave in cases.items():
        assert flag in scorer(wave, rate)["flags"], flag
    assert "silent" in scorer(np.zeros(rate), rate)["flags"]


def test_a_stated_domain_is_kept(experiment: Experiment, scorer: Scorer) -> None:
    frames, rate = soundfile.read(experiment.paths("test")[0], always_2d=True)
    assert scorer(frames.T, rate, domain="music")["domain"] == "music"


def test_many_threads_get_the_same_answers(experiment: Experiment, scorer: Scorer) -> None:
    paths = experiment.paths("test")[:6]
    expected = [scorer.files([path]) for path in paths]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda path: scorer.files([path]), paths * 2))
    for one, other in zip(found, expected * 2, strict=True):
        close(one, other)


LONG = """
import resource, sys, numpy as np
from mmmos.heads.scoring.bundle import load_bundle
from mmmos.heads.scoring.requests import list_requests
bundle, short, long = sys.argv[1:]
scorer = load_bundle(bundle, device="cpu")
def peak(path, hop_s):
    (answer,) = scorer.stream(list_requests([path]), hop_s=hop_s)
    assert "error" not in answer, answer
    return answer["seconds"], resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
peak(short, None)
before = peak(short, None)
after = peak(long, None)
print(before[0], before[1], after[0], after[1])
"""


def sparse_recording(path: Path, seconds: float, rate_hz: int) -> None:
    """A recording of mostly nothing: some noise every half hour and at its end, holes on disk between."""
    samples = round(seconds * rate_hz)
    soundfile.write(path, np.zeros(1, np.int16), rate_hz)
    head = bytearray(path.read_bytes()[:44])
    head[4:8] = (36 + 2 * samples).to_bytes(4, "little")
    head[40:44] = (2 * samples).to_bytes(4, "little")
    sound = np.random.default_rng(0).integers(-3000, 3000, rate_hz).astype("<i2").tobytes()
    with path.open("wb") as file:
        file.write(head)
        for start_s in [*np.arange(0, seconds - 1, 1800), seconds - 1]:
            file.seek(44 + 2 * round(start_s * rate_hz))
            file.write(sound)


@pytest.mark.slow
def test_three_hours_take_no_more_memory_than_a_minute(experiment: Experiment, tmp_path: Path) -> None:
    logmel_only = tmp_path / "bundle"
    from mmmos.heads.ensemble import from_weights
    from mmmos.heads.scoring.bundle import save_bundle
    from mmmos.heads.scoring.export import collect

    opened = open_experiment(experiment.work)
    run = next(run for run in opened.runs if run.encoders == ("logmel",))
    save_bundle(
        collect(opened, from_weights("one", {run.id: 1.0}, opened.table.id), resamples=0), logmel_only, ""
    )
    sparse_recording(tmp_path / "short.wav", 60, 16000)
    sparse_recording(tmp_path / "long.wav", 3 * 3600, 16000)
    words = [sys.executable, "-c", LONG, logmel_only, tmp_path / "short.wav", tmp_path / "long.wav"]
    done = subprocess.run(list(map(str, words)), cwd=ROOT, capture_output=True, text=True, check=True)
    short_s, before_mb, long_s, after_mb = map(float, done.stdout.split())
    assert (short_s, long_s) == (60.0, 10800.0)
    assert after_mb < before_mb + 25, (before_mb, after_mb)


def test_requests_stream(experiment: Experiment, scorer: Scorer) -> None:
    """The first answer comes before the last file is opened."""
    opened: list[int] = []
    requests = list_requests(map(str, experiment.paths("test")[:8]))
    pieces = [
        lambda n=n, r=request: opened.append(n) or scorer.front.file_piece(r.file, None, None)
        for n, request in enumerate(requests)
    ]
    answers = scorer.answers(requests, pieces)
    next(answers)
    assert len(opened) <= 4
    answers.close()  # type: ignore[attr-defined]
