"""Scoring from a shell: what is printed, what is written, and the exit codes that scripts rely on."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
import typer
from typer.testing import CliRunner, Result

from mmmos.heads.scoring import ab_commands, predict_commands
from mmmos.heads.scoring import commands as scoring_commands
from mmmos.heads.scoring.bundle import read_bundle, save_bundle
from mmmos.store.console import DAMAGED, WORSE
from mmmos.store.schema import AES_AXES
from tests.heads.scoring.experiment import Experiment, scoring_experiment
from tests.heads.scoring.made_bundle import SPEECH_AXES, logmel, made_bundle, unsealed

app = typer.Typer(pretty_exceptions_enable=False)
for verb in (predict_commands.predict, ab_commands.compare, scoring_commands.sensitivity):
    app.command()(verb)


@pytest.fixture(scope="module")
def experiment() -> Experiment:
    return scoring_experiment()


@pytest.fixture(scope="module")
def audio(experiment: Experiment, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("audio")
    for path in experiment.paths("test")[:6]:
        shutil.copy(path, folder)
    return folder


def run(*words: object) -> Result:
    return CliRunner().invoke(app, [*map(str, words), "--device", "cpu"])


def test_rows_on_stdout_and_talk_on_stderr(experiment: Experiment, audio: Path) -> None:
    done = run("predict", audio, "--bundle", experiment.bundle, "--check")
    assert done.exit_code == 0, done.output
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [row["path"] for row in rows] == sorted(map(str, audio.iterdir()))
    assert "beware: synthetic audio" in done.stderr
    assert "6 scored" in done.stderr


def test_without_a_bundle_the_work_folders_ensemble_scores(experiment: Experiment, audio: Path) -> None:
    first = next(audio.iterdir())
    ours = json.loads(run("predict", first, "--work", experiment.work).stdout)
    bundled = json.loads(run("predict", first, "--bundle", experiment.bundle).stdout)
    assert [ours[axis] for axis in AES_AXES.names] == [bundled[axis] for axis in AES_AXES.names]


def test_a_broken_off_output_is_gone_on_with(experiment: Experiment, audio: Path, tmp_path: Path) -> None:
    words = ("predict", audio, audio / "none.wav", "--bundle", experiment.bundle, "--timeline", "--hop", "4")
    for form in ("jsonl", "csv"):
        path = tmp_path / f"out.{form}"
        assert run(*words, "-o", path).exit_code == 3, "one file cannot be read"
        whole = path.read_bytes()
        path.write_bytes(whole[: len(whole) // 2])
        again = run(*words, "-o", path, "--resume")
        assert again.exit_code == 3
        assert "are there, going on" in again.stderr
        assert path.read_bytes() == whole
        refused = run(*words, "-o", path)
        assert isinstance(refused.exception, ValueError)
    with (tmp_path / "out.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["id"] for row in rows if row["error"]] == [str(audio / "none.wav")]
    assert any(row["row"] == "window" for row in rows)


def test_no_scores_are_written_under_the_name_of_a_spreadsheet(
    experiment: Experiment, audio: Path, tmp_path: Path
) -> None:
    refused = run("predict", audio, "--bundle", experiment.bundle, "-o", tmp_path / "out.XLSX")
    assert "scores are written as .csv, which spreadsheets open" in str(refused.exception)
    assert not [*tmp_path.iterdir()]


def test_an_installation_that_differs_is_told_by_the_exit_code(
    experiment: Experiment, tmp_path: Path
) -> None:
    copy = Path(shutil.copytree(experiment.bundle, tmp_path / "bundle"))
    about = json.loads((unsealed(copy) / "bundle.json").read_text())
    about["golden"]["buzz"]["CE"] = 1.0 if about["golden"]["buzz"]["CE"] > 5 else 9.0
    (copy / "bundle.json").write_text(json.dumps(about))
    done = run("predict", "--bundle", copy, "--check")
    assert done.exit_code == DAMAGED
    assert "buzz CE" in done.stderr


def test_worse_audio_fails_a_check_and_the_same_audio_passes(
    experiment: Experiment, audio: Path, tmp_path: Path
) -> None:
    rng = np.random.default_rng(0)
    for path in audio.iterdir():
        frames, rate = soundfile.read(path, always_2d=True)
        noisy = 0.3 * frames + 0.2 * rng.standard_normal(frames.shape)
        soundfile.write(tmp_path / f"{path.stem}.wav", np.clip(noisy, -1, 1), rate)
    same = run("compare", audio, audio, "--bundle", experiment.bundle)
    assert same.exit_code == 0
    assert "no difference" in same.stdout
    worse = run("compare", audio, tmp_path, "--bundle", experiment.bundle)
    assert worse.exit_code == WORSE
    assert "paired" in worse.stdout
    assert "B lower" in worse.stdout


def test_few_files_against_many_of_which_one_is_far_off_get_no_verdict(
    experiment: Experiment, audio: Path, tmp_path: Path
) -> None:
    first, second = sorted(audio.iterdir())[:2]
    few, many = tmp_path / "few", tmp_path / "many"
    for folder in (few, many):
        folder.mkdir()
    for number in range(2):
        shutil.copy(first, few / f"a{number}{first.suffix}")
    for number in range(12):
        shutil.copy(first, many / f"b{number}{first.suffix}")
    frames, rate = soundfile.read(second, always_2d=True)
    noise = 0.3 * np.random.default_rng(0).standard_normal(frames.shape)
    soundfile.write(many / "odd.wav", np.clip(0.1 * frames + noise, -1, 1), rate)
    said = run("compare", few, many, "--bundle", experiment.bundle)
    assert said.exit_code == 0
    assert "too few files for scores so skewed" in said.stdout
    assert "equally many files" in said.stderr


def test_files_of_one_group_are_compared_as_one(experiment: Experiment, audio: Path) -> None:
    first = sorted(audio.iterdir())[0].stem
    grouped = run("compare", audio, audio, "--bundle", experiment.bundle, "--groups", f"({first}|.)")
    assert grouped.exit_code == 0
    refused = run("compare", audio, audio, "--bundle", experiment.bundle, "--groups", "nobody")
    assert "finds nothing in" in str(refused.exception)


def test_the_sensitivity_card_is_kept_with_the_bundle(
    experiment: Experiment, audio: Path, tmp_path: Path
) -> None:
    copy = Path(shutil.copytree(experiment.bundle, tmp_path / "bundle"))
    some = tmp_path / "some"
    some.mkdir()
    for path in sorted(audio.iterdir())[:2]:
        shutil.copy(path, some)
    (some / "broken.wav").write_bytes(b"x")
    done = run("sensitivity", "--audio", some, "--bundle", copy)
    assert done.exit_code == 3, done.output
    card = read_bundle(copy).about["sensitivity"]
    rows = {row["change"]: row for row in card["rows"]}
    assert card["files"] == 2
    assert "## Sensitivity" in (copy / "README.md").read_text()
    svg = (copy / "sensitivity.svg").read_text()
    assert all(f">{name}<" in svg for name in (*rows, *card["axes"]))
    assert "synthetic audio" in svg
    assert read_bundle(copy).id == read_bundle(experiment.bundle).id, "the scores did not change"
    assert run("sensitivity", "--audio", some, "--bundle", copy, "-o", tmp_path / "card").exit_code == 3
    with (tmp_path / "card" / "sensitivity.csv").open() as file:
        assert len(list(csv.DictReader(file))) == 4 * len(rows)


def test_the_commands_take_a_bundle_with_other_axes(audio: Path, tmp_path: Path) -> None:
    bundle = save_bundle(made_bundle([logmel()], SPEECH_AXES), tmp_path / "bundle", "")
    out = tmp_path / "out.csv"
    assert run("predict", audio, "--bundle", bundle, "-o", out).exit_code == 0
    with out.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 6
    assert all(1 <= float(row["SIG_80_low"]) <= float(row["SIG"]) <= 10 for row in rows)
    assert "CE" not in rows[0]
    compared = run("compare", audio, audio, "--bundle", bundle)
    assert compared.exit_code == 0
    assert [word in compared.stdout for word in ("MOS", "SIG", "composite", "CE")] == [True] * 3 + [False]
    some = tmp_path / "list.csv"
    some.write_text(f"path\n{next(audio.iterdir())}\n")
    assert run("sensitivity", "--audio", some, "--bundle", bundle).exit_code == 0
    assert read_bundle(bundle).about["sensitivity"]["axes"] == ["MOS", "SIG"]
    assert "| change | MOS | SIG | n |" in (bundle / "README.md").read_text()


def test_an_ensemble_is_exported_and_uploaded(
    experiment: Experiment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[tuple[Path, str]] = []
    monkeypatch.setattr("mmmos.heads.scoring.hub.push_to_hub", lambda *given: sent.append(given) or "sent")
    monkeypatch.setattr("mmmos.heads.scoring.export.export_bundle", lambda work, folder: folder.mkdir())
    scoring_commands.export(experiment.work, tmp_path / "one")
    assert (tmp_path / "one").is_dir()
    assert not sent
    scoring_commands.export(experiment.work, tmp_path / "two", "somebody/scores")
    assert sent == [(tmp_path / "two", "somebody/scores")]
