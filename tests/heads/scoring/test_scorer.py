"""A scorer: the same file gets the same score whatever is around it, and every answer is whole."""

from __future__ import annotations

import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from mmmos.extract.audio import AUDIO_RECIPE
from mmmos.extract.front import WeightsMissing, open_file
from mmmos.heads.ensemble import from_weights
from mmmos.heads.results.experiment import open_experiment
from mmmos.heads.scoring.answers import FLAGS
from mmmos.heads.scoring.bundle import ABOUT, SignatureMismatch, save_bundle
from mmmos.heads.scoring.export import collect
from mmmos.heads.scoring.loading import load_bundle
from mmmos.heads.scoring.requests import list_requests
from mmmos.heads.scoring.scorer import Scorer
from mmmos.store.schema import AES_AXES, EncoderSpec
from tests.heads.scoring.experiment import Experiment, scoring_experiment
from tests.heads.scoring.made_bundle import SPEECH_AXES, logmel, made_bundle, unsealed

TOLERANCE = 1e-4


@pytest.fixture(scope="module")
def experiment() -> Experiment:
    return scoring_experiment()


@pytest.fixture(scope="module")
def scorer(experiment: Experiment) -> Scorer:
    return load_bundle(experiment.bundle, device="cpu")


def scores(answers: list[dict]) -> np.ndarray:
    return np.array([[answer[axis] for axis in AES_AXES.names] for answer in answers])


def close(one: list[dict], other: list[dict]) -> None:
    np.testing.assert_allclose(scores(one), scores(other), atol=TOLERANCE, rtol=0)


def test_a_loudness_takes_level_out_and_is_part_of_what_made_the_score(
    experiment: Experiment, scorer: Scorer, tmp_path: Path
) -> None:
    path, softer = experiment.paths("dev")[0], tmp_path / "softer.wav"
    wave, rate_hz = soundfile.read(path, dtype="float32")
    soundfile.write(softer, wave / 4, rate_hz, "FLOAT")
    plain = scorer.files([path, softer])
    brought = scorer.files([path, softer], loudness_lufs=-23.0)
    assert [answer["bundle"] for answer in plain] == [scorer.id] * 2
    assert [answer["bundle"] for answer in brought] == [f"{scorer.id} at -23 LUFS"] * 2
    for before, after in zip(plain, brought, strict=True):
        assert after["lufs"] == before["lufs"], "of the audio as it is"
        assert after["lufs"] + after["gain_db"] == pytest.approx(-23.0, abs=0.02)
    assert np.abs(scores(plain[:1]) - scores(plain[1:])).max() > 10 * TOLERANCE
    close(brought[:1], brought[1:])


def test_an_answer_has_everything_in_order(experiment: Experiment, scorer: Scorer) -> None:
    paths = experiment.paths("dev")[:3]
    answers = scorer.files(paths)
    assert [answer["path"] for answer in answers] == [str(path) for path in paths]
    for answer in answers:
        for axis in AES_AXES.names:
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
        close([scorer(wave, rate, channels=True)], expected)
    close(scorer.waveforms([(frames.T, rate)] * 2, channels=True), expected * 2)


def tensors(paths: list[Path]) -> tuple[list[torch.Tensor], int]:
    """Files of one rate as [channels, n]."""
    read = [soundfile.read(path, always_2d=True, dtype="float32") for path in paths]
    (rate,) = {rate for _, rate in read}
    return [torch.from_numpy(frames.T.copy()) for frames, _ in read], rate


@pytest.mark.parametrize("batch", [1, 5, 64])
def test_tensors_get_the_scores_of_files(experiment: Experiment, batch: int) -> None:
    """Of several lengths, channels and rates, with silence at the end; in any batch."""
    scorer = load_bundle(experiment.bundle, device="cpu", batch=batch)
    by_rate: dict[int, list[Path]] = {}
    for path in experiment.paths("test")[:12]:
        by_rate.setdefault(soundfile.info(path).samplerate, []).append(path)
    for rate, paths in by_rate.items():
        waves, _ = tensors(paths)
        padded = [torch.nn.functional.pad(wave, (0, 2 * rate)) for wave in waves]
        found = scorer.scores(padded, rate, channels=True)
        assert found.shape == (len(paths), len(AES_AXES.names))
        assert found.dtype == torch.float32
        resampled = any(spec.sample_rate_hz != rate for spec in scorer.front.specs)
        tolerance = (1e-3 if resampled else 1e-4) * 9
        np.testing.assert_allclose(found, scores(scorer.files(paths)), atol=tolerance, rtol=0)


def test_rows_are_clips_for_scores_and_refused_for_one_clip(experiment: Experiment, scorer: Scorer) -> None:
    (wave,), rate = tensors(experiment.paths("test")[:1])
    rows = torch.stack((wave[0], 0.5 * wave[0]))
    both = scorer.scores(rows, rate)
    for row, found in zip(rows, both, strict=True):
        np.testing.assert_allclose(found, scores([scorer(row, rate)])[0], atol=9e-3)
    with pytest.raises(ValueError, match="2 clips or 2 channels"):
        scorer(rows, rate)
    with pytest.raises(ValueError, match="2 clips or 2 channels"):
        scorer.waveforms([(rows, rate)])
    with pytest.raises(ValueError, match="clip 1: a sample that is not a number"):
        scorer.scores(torch.tensor([[0.1] * 100, [torch.nan] * 100]), rate)
    assert scorer.scores([], rate).shape == (0, 4)


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
    assert "not audio in a container that is read" in middle["error"]
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
    assert scorer(typical.T, rate, channels=True)["flags"] == []
    for flag, wave in cases.items():
        assert flag in scorer(wave, rate, channels=True)["flags"], flag
    assert "silent" in scorer(np.zeros(rate), rate)["flags"]


def test_a_stated_domain_is_kept(experiment: Experiment, scorer: Scorer) -> None:
    frames, rate = soundfile.read(experiment.paths("test")[0], always_2d=True)
    assert scorer(frames.T, rate, channels=True, domain="music")["domain"] == "music"


def test_many_threads_get_the_same_answers(experiment: Experiment, scorer: Scorer) -> None:
    paths = experiment.paths("test")[:6]
    expected = [scorer.files([path]) for path in paths]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda path: scorer.files([path]), paths * 2))
    for one, other in zip(found, expected * 2, strict=True):
        close(one, other)


def test_requests_stream(experiment: Experiment, scorer: Scorer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first answer comes before the last file is opened, where encoders are slow."""
    monkeypatch.setattr("mmmos.heads.scoring.scorer.HELD_S", 0.0)
    opened: list[int] = []
    requests = list_requests(map(str, experiment.paths("test")[:8]))
    pieces = [
        lambda n=n, r=request: opened.append(n) or open_file(r.file, None, None)
        for n, request in enumerate(requests)
    ]
    answers = scorer.answers(requests, pieces)
    next(answers)
    assert len(opened) <= 4
    answers.close()  # type: ignore[attr-defined]


def test_only_the_encoders_of_the_members_are_loaded(
    experiment: Experiment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mmmos.extract import front

    loaded: list[str] = []
    real = front.load_encoder

    def spy(name: str, **options: Any) -> Any:
        loaded.append(name)
        return real(name, **options)

    monkeypatch.setattr(front, "load_encoder", spy)
    opened = open_experiment(experiment.work)
    run = next(run for run in opened.runs if run.encoders == ("logmel",))
    bundle = collect(opened, from_weights("one", {run.id: 1.0}, opened.table.id), accuracy=False)
    load_bundle(save_bundle(bundle, tmp_path / "one", ""), device="cpu")
    assert loaded == ["logmel"]
    load_bundle(experiment.bundle, device="cpu")
    assert sorted(loaded[1:]) == ["logmel", "wavlm"]


def test_a_changed_audio_recipe_is_refused_when_loading(
    experiment: Experiment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mmmos.extract.front.AUDIO_RECIPE", "another rule")
    with pytest.raises(SignatureMismatch, match="audio: 'another rule' here"):
        load_bundle(experiment.bundle, device="cpu")


def test_pretrained_weights_that_are_missing_are_asked_for_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    spec = EncoderSpec(
        "wavlm",
        "microsoft/wavlm-base-plus",
        "0" * 64,
        "full",
        "mean",
        16000,
        50.0,
        499,
        768,
        13,
        "fp32",
        1,
        AUDIO_RECIPE,
    )
    folder = save_bundle(made_bundle([spec]), tmp_path, "")
    with pytest.raises(WeightsMissing, match="wavlm"):
        load_bundle(folder, device="cpu", weights=tmp_path)


def test_an_installation_can_check_itself(experiment: Experiment, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(experiment.bundle, tmp_path / "bundle"))
    assert load_bundle(copy, device="cpu").check() == []
    about = json.loads((unsealed(copy) / ABOUT).read_text())
    about["golden"]["chord"]["PQ"] += 0.02
    (copy / ABOUT).write_text(json.dumps(about))
    (line,) = load_bundle(copy, device="cpu").check()
    assert line.startswith("chord PQ: ")
    (copy / ABOUT).write_text(json.dumps({**about, "golden": {}}))
    assert "no golden scores" in load_bundle(copy, device="cpu").check()[0]


def test_a_bundle_with_other_axes_answers_on_them(experiment: Experiment, tmp_path: Path) -> None:
    scorer = load_bundle(save_bundle(made_bundle([logmel()], SPEECH_AXES), tmp_path, ""), device="cpu")
    (answer,) = scorer.files(experiment.paths("test")[:1], hop_s=5.0)
    assert scorer.axes == ("MOS", "SIG")
    assert {"MOS", "SIG", "MOS_80_low", "SIG_95_high", "SIG_spread"} < answer.keys()
    assert {"MOS", "SIG"} < answer["windows"][0].keys()
    assert not {"CE", "PQ"} & answer.keys()


@pytest.mark.parametrize("in_flight", [0, 2])
def test_batches_under_way_change_neither_order_nor_scores(
    experiment: Experiment, scorer: Scorer, in_flight: int
) -> None:
    paths = [*experiment.paths("dev")[:4], Path("missing.wav"), *experiment.paths("dev")[4:6]]
    queued = load_bundle(experiment.bundle, device="cpu", batch=3, workers=3)
    queued.front.in_flight = in_flight
    found, expected = queued.files(paths), scorer.files(paths)
    assert [answer["path"] for answer in found] == [str(path) for path in paths]
    assert [*found[4]] == [*expected[4]]
    del found[4], expected[4]
    close(found, expected)
