"""Parts of a list that are scored by themselves are, put together, what one command would have written."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from mmmos.heads.scoring import commands as scoring_commands
from mmmos.heads.scoring import predict_commands
from tests.heads.scoring.experiment import Experiment, scoring_experiment

app = typer.Typer(pretty_exceptions_enable=False)
for verb in (predict_commands.predict, scoring_commands.sensitivity):
    app.command()(verb)

OF = 3


@pytest.fixture(scope="module")
def experiment() -> Experiment:
    return scoring_experiment()


@pytest.fixture
def audio(experiment: Experiment, tmp_path: Path) -> Path:
    """A list of seven files; one of them is not there, and one has a name that CSV has to quote."""
    (tmp_path / "audio").mkdir()
    names = []
    for number, path in enumerate(experiment.paths("test")[:6]):
        names.append(f'{number},"a\nb.wav' if number == 3 else f"{number}.wav")
        shutil.copy(path, tmp_path / "audio" / names[-1])
    with (tmp_path / "list.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["path"], *([name] for name in names), ["none.wav"]])
    return tmp_path / "list.csv"


def run(*words: object) -> Result:
    return CliRunner().invoke(app, ["predict", *map(str, words)])


class Scored:
    """Three parts of the list beside each other."""

    def __init__(self, experiment: Experiment, audio: Path, form: str) -> None:
        self.output = audio.parent / f"scores.{form}"
        self.words = (audio, "--audio-root", audio.parent / "audio", "--bundle", experiment.bundle)
        for number in range(1, OF + 1):
            done = self.part(number)
            assert done.exit_code in (0, 3), done.output

    def part(self, number: int, *words: object) -> Result:
        ours = ("-o", self.output, "--device", "cpu", "--part", f"{number}/{OF}")
        return run(*self.words, *ours, *words)

    def file(self, number: int) -> Path:
        return self.output.with_name(f"scores.part-{number}-of-{OF}{self.output.suffix}")

    def join(self) -> Result:
        return run("--join", "-o", self.output)


@pytest.mark.parametrize("form", ["jsonl", "csv"])
def test_joined_parts_are_the_file_of_one_run(experiment: Experiment, audio: Path, form: str) -> None:
    scored = Scored(experiment, audio, form)
    whole = audio.parent / f"whole.{form}"
    assert run(*scored.words, "-o", whole, "--device", "cpu").exit_code == 3
    done = scored.join()
    assert done.exit_code == 3, done.output
    assert "7 answers, 1 of them errors" in done.stderr
    assert scored.output.read_bytes() == whole.read_bytes()
    assert "already there" in str(scored.join().exception)


def test_windows_stay_with_their_file(experiment: Experiment, audio: Path) -> None:
    whole = audio.parent / "whole.csv"
    scored = Scored(experiment, audio, "csv")
    for number in range(1, OF + 1):
        scored.file(number).unlink()
        scored.file(number).with_name(f"{scored.file(number).name}.done").unlink()
        assert scored.part(number, "--timeline", "--hop", "2").exit_code in (0, 3)
    assert scored.join().exit_code == 3
    run(*scored.words, "-o", whole, "--device", "cpu", "--timeline", "--hop", "2")
    assert scored.output.read_bytes() == whole.read_bytes()


def test_a_killed_part_goes_on_and_one_that_ended_is_left(experiment: Experiment, audio: Path) -> None:
    scored = Scored(experiment, audio, "jsonl")
    path = scored.file(1)
    whole = path.read_bytes()
    again = scored.part(1)
    assert again.exit_code == 3, "the missing file is in it"
    assert "all of its 3 answers are there" in again.stderr
    path.with_name(f"{path.name}.done").unlink()
    path.write_bytes(whole[: len(whole) // 2])
    assert "1/3 did not end" in str(scored.join().exception)
    assert scored.part(1).exit_code == 3
    assert path.read_bytes() == whole
    assert scored.join().exit_code == 3


def test_missing_foreign_and_changed_parts_are_refused_by_name(experiment: Experiment, audio: Path) -> None:
    scored = Scored(experiment, audio, "jsonl")
    path = scored.file(2)
    aside = audio.parent / "aside"
    done = path.with_name(f"{path.name}.done")

    def refused() -> str:
        failed = scored.join()
        assert isinstance(failed.exception, ValueError), failed.output
        assert not scored.output.exists()
        return str(failed.exception)

    path.rename(aside)
    assert "2/3 are missing" in refused()
    shutil.copy(scored.file(1), path)
    assert "changed after it ended" in refused()
    shutil.copy(f"{scored.file(1)}.done", done)
    assert "holds part 1/3: give the file its name back" in refused()
    path.unlink()
    done.unlink()
    assert scored.part(2, "--domain", "speech").exit_code == 0
    assert "--domain" in refused()
    assert "--domain" in str(scored.part(2).exception), "and so is going on with it otherwise"
    path.unlink()
    done.unlink()
    audio.write_text(audio.read_text() + "none2.wav\n")
    assert "for another list" in str(scored.part(1).exception)
    assert scored.part(2).exit_code == 3
    assert "for another list" in refused()


def test_the_parts_of_a_folder_are_its_files_in_turn(experiment: Experiment, audio: Path) -> None:
    folder, names = audio.parent / "audio", []
    for number in (1, 2, 3):
        done = run(
            folder, "--bundle", experiment.bundle, "-o", audio.parent / "s.jsonl", "--part", f"{number}/3"
        )
        assert done.exit_code == 0, done.output
        file = audio.parent / f"s.part-{number}-of-3.jsonl"
        names.append([json.loads(line)["path"] for line in file.read_text().splitlines()])
    there = sorted(str(path) for path in folder.iterdir())
    assert names == [there[0::3], there[1::3], there[2::3]]


def test_one_id_in_two_parts_is_refused(experiment: Experiment, audio: Path) -> None:
    audio.write_text(audio.read_text() + "0.wav\n")
    scored = Scored(experiment, audio, "jsonl")
    assert "1 ids are asked for twice" in str(scored.join().exception)
    assert not scored.output.exists()


def test_slips_are_told(experiment: Experiment, audio: Path) -> None:
    for words, said in (
        ((audio, "--part", "1/2"), "--part needs a file"),
        ((audio, audio, "--part", "1/2", "-o", "x.csv"), "one list, folder or pattern, not 2"),
        ((audio, "--part", "9/9", "-o", "x.csv"), "no rows for part 9/9: take fewer parts"),
        ((audio, "--part", "0/9", "-o", "x.csv"), "--part takes I/N"),
        ((audio, "--join", "-o", "x.csv"), "--join takes the parts of -o NAME, and no files"),
        (("--join",), "--join takes the parts of -o NAME"),
        (("--join", "-o", audio.parent / "x.csv"), "no parts are there"),
    ):
        assert said in str(run(*words, "--bundle", experiment.bundle).exception), words
