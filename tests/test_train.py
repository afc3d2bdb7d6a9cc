"""`train` goes from a table of ratings to a bundle and says honestly how far it can be trusted."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import pytest

from mmmos.heads.results.evaluation import Row
from mmmos.heads.stage_two import say_where_training_ended
from mmmos.store.clips import ClipTable, save_table
from mmmos.store.schema import Clip
from mmmos.train.steps import Deadline, TimeUpError, train_heads
from mmmos.train.verdict import verdict
from tests.conftest import Outcome
from tests.corpus import small_corpus
from tests.heads.scoring.published_audiobox import published


@pytest.fixture
def ratings(tmp_path: Path) -> Path:
    """A row a rating by three listeners, in columns that the project does not know as its own."""
    clips = small_corpus(tmp_path / "corpus")
    with clips.open() as file:
        rows = list(csv.DictReader(file))
    path = clips.with_name("ratings.csv")
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["wav", "Listener", "Quality", "song", "remark"])
        for row in rows:
            for n, listener in enumerate(("ann", "bob", "cy")):
                quality = min(10.0, max(0.0, float(row["PQ"]) + 0.5 * (n - 1)))
                writer.writerow([row["path"], listener, quality, row["group"], "x"])
    return path


@pytest.mark.slow
def test_one_command_makes_a_bundle_and_says_how_good_it_is(
    cli: Callable[..., Outcome], ratings: Path, tmp_path: Path
) -> None:
    words = ("train", ratings, "--work", tmp_path / "w", "-o", tmp_path / "b", "--encoders", "logmel")
    done = cli(*words, "--jobs", "1")
    assert done.code == 0, done.err
    line = next(line for line in done.out.splitlines() if line.startswith("Quality: "))
    for part in ("SRCC", "groups held out; ridge", "train mean 0; rater ceiling"):
        assert part in line
    assert "beware: too few data" in done.out
    about = json.loads((tmp_path / "b" / "bundle.json").read_text())
    assert about["verdict"][0] == line
    assert line.split(" [")[0] in (tmp_path / "b" / "README.md").read_text()
    assert (tmp_path / "w" / "report.html").is_file()
    with (tmp_path / "w" / "clips.raters.csv").open() as file:
        assert {row["rater"] for row in csv.DictReader(file)} == {"ann", "bob", "cy"}
    again = cli(*words, "--jobs", "1")
    assert "0 trained now" in again.out
    assert line in again.out
    scored = cli("predict", ratings.parent / "audio" / "c00.wav", "--bundle", tmp_path / "b")
    assert json.loads(scored.out)["Quality"] >= 0


@pytest.mark.slow
def test_the_steps_by_hand_choose_the_same_ensemble(
    cli: Callable[..., Outcome], ratings: Path, tmp_path: Path
) -> None:
    done = cli("train", ratings, "--work", tmp_path / "w", "--encoders", "logmel", "--jobs", "1")
    steps = [line.split()[1:] for line in done.err.splitlines() if line.startswith("  mmmos ")]
    chosen = json.loads((tmp_path / "w" / "ensemble.json").read_text())
    for step in steps:
        done = cli(*(word.replace(str(tmp_path / "w"), str(tmp_path / "h")) for word in step))
        assert done.code == 0, f"{step}\n{done.err}"
    assert json.loads((tmp_path / "h" / "ensemble.json").read_text()) == chosen


@pytest.mark.slow
def test_a_second_test_starts_from_the_bundle_of_the_first(
    cli: Callable[..., Outcome], ratings: Path, tmp_path: Path
) -> None:
    first = ("train", ratings, "--work", tmp_path / "w", "-o", tmp_path / "b", "--encoders", "logmel")
    assert cli(*first, "--jobs", "1").code == 0
    other = ratings.with_name("other.csv")
    other.write_text(ratings.read_text().replace("Quality", "Noise"))
    words = ("train", other, "--work", tmp_path / "v", "-o", tmp_path / "c", "--encoders", "logmel")
    told = cli(*words, "--from", tmp_path / "b", "--dry-run")
    assert f"mmmos adopt {tmp_path / 'b'} --work {tmp_path / 'v'}" in told.err
    done = cli(*words, "--from", tmp_path / "b", "--jobs", "1")
    assert done.code == 0, done.err
    assert "its Quality of every clip are features" in done.err
    assert "logmel+bundle" in done.out
    about = json.loads((tmp_path / "c" / "bundle.json").read_text())
    assert about["prior"] == json.loads((tmp_path / "b" / "bundle.json").read_text())["id"]
    # docs/small-data.md: the line through the bundle's scores alone
    alone = ("--runs", "encoders=bundle", "--rule", "all", "--export", tmp_path / "a")
    assert cli("ensemble", *alone, "--work", tmp_path / "v").code == 0
    assert list(json.loads((tmp_path / "a" / "bundle.json").read_text())["axes"]) == ["Noise"]
    shutil.rmtree(tmp_path / "v")
    shutil.rmtree(tmp_path / "b")
    for bundle in ("c", "a"):
        scored = cli("predict", ratings.parent / "audio" / "c00.wav", "--bundle", tmp_path / bundle)
        assert set(json.loads(scored.out)) >= {"Noise", "Noise_80_low"}


@pytest.mark.slow
def test_it_starts_from_audiobox_and_says_that_its_file_is_not_the_published_one(
    cli: Callable[..., Outcome], ratings: Path, tmp_path: Path
) -> None:
    weights = published(tmp_path / "weights")
    words = ("--encoders", "logmel", "--from", "audiobox", "--weights", weights, "--jobs", "1")
    done = cli("train", ratings, "--work", tmp_path / "w", *words)
    assert done.code == 0, done.err
    assert "its CE, CU, PC, PQ of every clip are features" in done.err
    assert "not the published file; recorded as custom:" in done.err
    card = (tmp_path / "w" / "bundle" / "README.md").read_text()
    assert "a custom file; the published one has: CC BY 4.0" in card
    audio = ratings.parent / "audio" / "c00.wav"
    scored = cli("predict", audio, "--bundle", tmp_path / "w" / "bundle", "--weights", weights)
    assert json.loads(scored.out)["Quality"] >= 0


def test_a_bundle_to_start_from_has_to_be_there(
    cli: Callable[..., Outcome], ratings: Path, tmp_path: Path
) -> None:
    for words, reason in (
        (("--from", tmp_path / "nowhere"), "nowhere is not a bundle: there is no such folder"),
        (("--from", "x", "--preset", "paper"), "--preset paper has no heads that start from a bundle"),
    ):
        refused = cli("train", ratings, "--work", tmp_path / "w", *words)
        assert refused.code == 2
        assert reason in refused.err
    assert not (tmp_path / "w").exists()


def test_a_dry_run_says_what_it_understood_and_writes_nothing(
    cli: Callable[..., Outcome], ratings: Path, tmp_path: Path
) -> None:
    done = cli("train", ratings, "--work", tmp_path / "w", "--dry-run")
    assert done.code == 0
    for part in (
        "one row a rating",
        "3 in column 'Listener'",
        "in column 'song'",
        "remark",
        "--column rater",
    ):
        assert part in done.out
    assert "mmmos prepare table" in done.err
    assert not (tmp_path / "w").exists()


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("--preset", "papre"), "Did you mean 'paper'"),
        (("--encoders", "logmel,fulband"), "Did you mean 'fullband'"),
        (("--licence", "permisive"), "--licence takes permissive"),
        (("--licence", "permissive", "--encoders", "muq"), "the terms of muq forbid commercial use"),
    ],
)
def test_a_name_that_there_is_not_is_refused_before_anything_is_done(
    cli: Callable[..., Outcome], ratings: Path, tmp_path: Path, words: tuple[str, ...], reason: str
) -> None:
    done = cli("train", ratings, "--work", tmp_path / "w", *words, "--dry-run")
    assert done.code == 2
    assert reason in done.err
    assert not (tmp_path / "w").exists()


def test_too_few_groups_are_refused_before_anything_is_extracted(
    cli: Callable[..., Outcome], ratings: Path, tmp_path: Path
) -> None:
    some = ratings.with_name("some.csv")
    some.write_text("\n".join(ratings.read_text().splitlines()[:7]))
    done = cli("train", some, "--work", tmp_path / "w", "--column", "group=remark")
    assert done.code == 2
    assert "2 rated clips in 1 group: none can be held out" in done.err
    assert "--column group= none" in done.err
    assert not (tmp_path / "w").exists()


def test_too_many_missing_files_are_refused_with_the_way_on(
    cli: Callable[..., Outcome], ratings: Path, tmp_path: Path
) -> None:
    for path in list((ratings.parent / "audio").iterdir())[:5]:
        path.unlink()
    done = cli("train", ratings, "--work", tmp_path / "w")
    assert done.code == 2
    assert "5 of " in done.err
    assert "--min-coverage" in done.err


def row(axis: str, value: float, low: float | None, **other: object) -> Row:
    values: dict[str, object] = {"run": "r", "split": "oof", "level": "utterance", "domain": "all"}
    values |= {"axis": axis, "metric": "srcc", "value": value, "low": low, "high": 0.9, "ceiling": 0.93}
    return Row(**{**values, "n": 128, "clusters": "group", "reason": "", **other})  # type: ignore[arg-type]


def clips(count: int, groups: int) -> Sequence[Clip]:
    return [Clip(str(n), "a.wav", group=f"g{n % groups}") for n in range(count)]


def test_the_verdict_is_a_line_an_axis() -> None:
    found = verdict([row("PQ", 0.61, 0.48)], [row("PQ", 0.43, None)], clips(128, 16), ["PQ"])
    assert found.lines == (
        "PQ: SRCC 0.61 [0.48, 0.90] over 128 clips, groups held out; "
        "ridge 0.43; train mean 0; rater ceiling 0.93",
    )
    assert found.warnings == ()


def test_the_verdict_says_what_must_not_be_overlooked() -> None:
    rows = [row("PQ", 0.2, -0.1), row("CE", 0.5, 0.2)]
    ridge = [row("PQ", 0.4, None), row("CE", 0.1, None)]
    found = verdict(rows, ridge, clips(30, 3), ["PQ", "CE", "CU"])
    assert "CU: nothing to say, no held-out clip is rated" in found.lines
    few, unclear = found.warnings  # and nothing on the ridge: so few clips cannot tell which is better
    assert few.startswith("too few data: 30 clips and 3 groups")
    assert unclear.startswith("PQ: not told apart from chance")
    unclear, beaten = verdict(rows, ridge, clips(128, 16), ["PQ", "CE"]).warnings
    assert unclear.startswith("PQ: not told apart from chance")
    assert beaten.startswith("PQ: a plain ridge regression ranks the clips better")


def test_the_time_is_over_whatever_handles_errors() -> None:
    def work_that_handles_errors() -> None:
        with Deadline(1e-9).held():
            while True:
                with suppress(Exception):
                    sum(range(1000))

    with pytest.raises(TimeUpError):
        work_that_handles_errors()
    with Deadline().held():
        pass


def test_minutes_that_end_before_the_first_head_say_how_to_go_on(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def never(*_: object, **__: object) -> None:
        raise TimeUpError

    monkeypatch.setattr("mmmos.heads.stage_two.train_recipe", never)
    with pytest.raises(RuntimeError, match="before any head was trained; what was made is kept"):
        train_heads(tmp_path, "size", Deadline())
    stored = tmp_path / "runs" / "ridge-mse-000000000000" / "predictions-oof.parquet"
    stored.parent.mkdir(parents=True)
    stored.touch()
    train_heads(tmp_path, "size", Deadline())


def test_heads_of_a_table_without_a_split_names_the_ways_on(
    cli: Callable[..., Outcome], tmp_path: Path
) -> None:
    table = ClipTable((Clip("a", "a.wav", scores=(1.0, 2.0, 3.0, 4.0)),))
    save_table(table, tmp_path / "clips.json")
    done = cli("heads", "--work", tmp_path)
    assert done.code == 2
    for part in ("no column split", "--split 0.8", "--folds 5"):
        assert part in done.err


def test_training_that_stopped_at_its_last_epoch_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    curve = [{"dev_loss": 0.5}, {"dev_loss": 0.4}]
    early = {"curve": curve, "best_epoch": 1, "config": {"epochs": 2}}
    last = {**early, "best_epoch": 2}
    blind = {**last, "curve": [{"dev_loss": None}] * 2}
    say_where_training_ended([early])
    assert capsys.readouterr().err == ""
    say_where_training_ended([early, last, blind])
    err = capsys.readouterr().err
    assert "1 of 3 heads ran all their epochs, as there is no dev split" in err
    assert "1 of 3 heads were best at their last epoch" in err
    assert "--epochs 30" in err
