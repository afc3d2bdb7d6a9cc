"""The command line as a user meets it: the whole way on a small corpus, and what it says of mistakes."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import pytest

from mmmos.store.clips import load_table
from mmmos.store.features import list_stores
from tests.conftest import ROOT, shared
from tests.corpus import small_corpus


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    return small_corpus(tmp_path / "data")


LOGMEL = ("--encoders", "logmel")
QUICK = ("--aggregator", "mlp", "--epochs", "3", "--lr", "0.003", "--jobs", "1")


def test_from_a_table_to_an_ensemble_and_again(
    cli, corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = tmp_path / "work"
    first = cli("extract", "--clips", corpus, "--work", work, *LOGMEL)
    assert first.code == 0, first.err
    crops = len(list_stores(work / "features")[0])
    assert crops > 30
    assert not (work / "rejects.csv").read_text().splitlines()[1:]

    again = cli("extract", "--work", work)
    assert again.code == 0
    assert "going on" in again.err
    assert " 0 " in again.out, "nothing is encoded twice"

    trained = cli("heads", "--work", work, *QUICK)
    assert trained.code == 0, trained.err
    assert "4 trained now, 0 kept" in trained.out
    assert "0 trained now, 4 kept" in cli("heads", "--work", work, *QUICK).out

    chosen = cli("ensemble", "--work", work, "--rule", "top:pam:2")
    assert chosen.code == 0, chosen.err
    assert len(json.loads((work / "ensemble.json").read_text())["members"]) == 2
    assert cli("ensemble", "--work", work, "--compare").code == 0
    alone = cli("ensemble", "--work", work, "--push-to-hub", "somebody/scores")
    assert alone.code == 2
    assert "--export" in alone.err
    sent: list[tuple[Path, str]] = []
    monkeypatch.setattr("mmmos.heads.scoring.hub.push_to_hub", lambda *given: sent.append(given) or "sent")
    words = ("--export", tmp_path / "bundle", "--push-to-hub", "somebody/scores")
    assert cli("ensemble", "--work", work, "--rule", "top:pam:2", *words).code == 0
    assert sent == [(tmp_path / "bundle", "somebody/scores")]
    assert cli("evaluate", "--work", work).code == 0
    assert (work / "evaluation.csv").exists()


def test_unreadable_files_are_listed_and_said_by_the_exit_code(cli, corpus: Path, tmp_path: Path) -> None:
    work, audio = tmp_path / "work", corpus.parent / "audio"
    (audio / "c00.wav").write_bytes(b"")
    whole = (audio / "c01.wav").read_bytes()
    (audio / "c01.wav").write_bytes(whole[: len(whole) // 2])
    (audio / "c02.wav").unlink()
    done = cli("extract", "--clips", corpus, "--work", work, *LOGMEL, "--min-coverage", "0.8")
    assert done.code == 3
    assert "3 of 30 clips could not be read" in done.err
    with (work / "rejects.csv").open() as file:
        reasons = {row["id"]: row["reason"] for row in csv.DictReader(file)}
    assert set(reasons) == {"c00", "c01", "c02"}
    assert "empty" in reasons["c00"]
    assert "no such file" in reasons["c02"]
    assert {clip.id for clip in load_table(work / "clips.json")}.isdisjoint(reasons)


def test_too_few_readable_clips_stop_before_training(cli, corpus: Path, tmp_path: Path) -> None:
    work = tmp_path / "work"
    for number in range(5):
        (corpus.parent / f"audio/c{number:02d}.wav").unlink()
    stopped = cli("extract", "--clips", corpus, "--work", work, *LOGMEL)
    assert stopped.code == 4
    assert "25 of 30" in stopped.err
    assert len((work / "rejects.csv").read_text().splitlines()) == 6
    refused = cli("heads", "--work", work)
    assert refused.code == 2
    assert "extract" in refused.err


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda rows: rows[3].update(id=rows[2]["id"]), "rows 4, 5"),
        (lambda rows: rows[2].update(split="trian"), "row 4"),
        (lambda rows: rows[2].update(PQ="11"), "row 4"),
        (lambda rows: rows[2].update(path="../elsewhere.wav"), "row 4"),
    ],
    ids=["duplicate id", "unknown split", "score out of range", "path out of the root"],
)
def test_a_bad_table_is_refused_whole_with_row_numbers(
    cli, corpus: Path, tmp_path: Path, damage, message
) -> None:
    with corpus.open() as file:
        rows = list(csv.DictReader(file))
    damage(rows)
    with corpus.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    refused = cli("extract", "--clips", corpus, "--work", tmp_path / "work", *LOGMEL)
    assert refused.code == 2
    assert message in refused.err
    assert not (tmp_path / "work" / "features").exists()


def test_scale_and_split_are_checked_and_kept(cli, tmp_path: Path) -> None:
    corpus = small_corpus(tmp_path / "data", with_split=False, high=100.0)
    work = tmp_path / "work"
    outside = cli("extract", "--clips", corpus, "--work", work, *LOGMEL)
    assert outside.code == 2, "0-100 scores do not fit the default scale"
    words = ("--clips", corpus, "--work", work, *LOGMEL, "--scale", "0,100", "--split", "0.8")
    assert cli("extract", *words).code == 0
    table = load_table(work / "clips.json")
    assert table.scale.high == 100.0
    assert len(table.of("train")) == pytest.approx(24, abs=2)
    assert cli("heads", "--work", work, *QUICK).code == 0
    chosen = cli("ensemble", "--work", work)
    assert chosen.code == 0, "without a PAM split the default rule looks at dev alone"
    assert "top:dev:8" in chosen.out


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("extract", "--clips", "nowhere.csv"), "nowhere.csv"),
        (("extract",), "no --clips given"),
        (("extract", "--clips", "{corpus}", "--encoders", "wavml"), "Did you mean 'wavlm'?"),
        (("extract", "--clips", "{corpus}", "--encoders", "wavlm,muqq"), "Did you mean 'muq'?"),
        (("extract", "--clips", "{corpus}", *LOGMEL, "--device", "tpu"), "cuda:K"),
        (("extract", "--clips", "{corpus}", *LOGMEL, "--scale", "ten"), "--scale"),
        (("extract", "--clips", "{corpus}", "--weights", "{folder}", "--encoders", "m2d"), "m2d"),
        (("heads",), "extract --clips"),
        (("extrat",), "extract"),
        (("heads", "--epoch", "3"), "--epochs"),
    ],
)
def test_mistakes_are_answered_with_what_is_known(cli, corpus: Path, tmp_path: Path, words, expected) -> None:
    names = {"corpus": corpus, "folder": tmp_path}
    given = [str(word).format(**names) for word in words]
    work = ["--work", str(tmp_path / "work")] if words[0] != "extrat" else []
    refused = cli(*given, *work)
    assert refused.code == 2, refused.err
    assert expected in refused.err
    assert "Traceback" not in refused.err


def test_mistakes_after_training_are_answered_too(cli, corpus: Path, tmp_path: Path) -> None:
    work = tmp_path / "work"
    assert cli("extract", "--clips", corpus, "--work", work, *LOGMEL).code == 0
    assert "'paper'" in cli("heads", "--work", work, "--grid", "papr").err
    assert "known: logmel" in cli("heads", "--work", work, "--encoders", "wavlm").err
    assert cli("heads", "--work", work, *QUICK, "--loss", "ut").code == 0
    unknown = cli("ensemble", "--work", work, "--rule", "topp:pam:4")
    assert unknown.code == 2
    assert "'top'" in unknown.err
    assert "never chosen on the test split" in cli("ensemble", "--work", work, "--rule", "top:test:4").err


def test_real_rated_speech_runs_through_the_real_commands(cli, tmp_path: Path) -> None:
    """Four sentences of a codec listening test; whether the scores are any good is not asked here."""
    source = shared("data/rated_audio/speech_codec_mushra/ratings.csv")
    with source.open() as file:
        rated = [row for row in csv.DictReader(file) if row["path"]]
    sentences = sorted({row["signal"] for row in rated})[:4]
    table = tmp_path / "clips.csv"
    with table.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "path", "system", "group", "split", "PQ", "PQ_ratings"])
        for row in rated:
            if row["signal"] in sentences:
                split = ("train", "train", "dev", "test")[sentences.index(row["signal"])]
                name = Path(row["path"]).with_suffix("").as_posix().replace("/", "-")
                writer.writerow(
                    [
                        name,
                        row["path"],
                        row["condition"],
                        row["signal"],
                        split,
                        row["mushra_mean"],
                        row["ratings"],
                    ]
                )
    work = tmp_path / "work"
    words = ("--clips", table, "--audio-root", source.parent, "--work", work, "--scale", "0,100")
    done = cli("extract", *words, "--encoders", "wavlm,logmel", "--random-weights", "0", "--size", "tiny")
    assert done.code == 0, done.err
    assert "untrained wavlm" in done.out
    assert cli("heads", "--work", work, "--aggregator", "mlp", "--loss", "ut", "--jobs", "1").code == 0
    assert cli("evaluate", "--work", work, "mlp-ut").code == 0
    with (work / "evaluation.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {row["axis"] for row in rows} == {"PQ"}, "axes that nobody rated do not appear"
    assert all(row["ceiling"] for row in rows if row["metric"] == "lcc" and row["level"] == "utterance")


def test_the_readme_and_makefile_name_the_same_python(tmp_path: Path) -> None:
    assert shutil.which("make"), "the README's first command is make"
    assert "pipeline.py demo" in (ROOT / "Makefile").read_text()


def test_features_made_otherwise_are_not_mixed_and_the_differing_field_is_said(
    cli, corpus: Path, tmp_path: Path
) -> None:
    work = tmp_path / "work"
    words = ("--clips", corpus, "--work", work, "--encoders", "m2d", "--size", "tiny")
    assert cli("extract", *words, "--random-weights", "0").code == 0
    other = cli("extract", *words, "--random-weights", "1")
    assert other.code == 0
    assert "weights: 'random:1' here, 'random:0' there" in other.err
    assert len(list_stores(work / "features")) == 2
    refused = cli("heads", "--work", work)
    assert refused.code == 2
    assert "choose one by its full name" in refused.err


def test_another_experiment_over_the_same_audio_extracts_nothing(cli, corpus: Path, tmp_path: Path) -> None:
    """Other ids, paths, scores and splits: the audio's content is what counts."""
    work, other = tmp_path / "work", tmp_path / "other"
    assert cli("extract", "--clips", corpus, "--work", work, *LOGMEL).code == 0
    shutil.copytree(work / "features", other / "features")
    shutil.move(corpus.parent / "audio", corpus.parent / "moved")
    with corpus.open() as file:
        rows = list(csv.DictReader(file))[::-1][:20]
    table = corpus.with_name("other.csv")
    with table.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "path", "system", "group", "PQ"])
        for number, row in enumerate(rows):
            name = row["path"].replace("audio", "moved")
            writer.writerow([f"new-{number}", name, "s", row["group"], number % 7])
    done = cli("extract", "--clips", table, "--work", other, *LOGMEL, "--split", "0.7")
    assert done.code == 0, done.err
    assert " 0 " in done.out
    assert {clip.split for clip in load_table(other / "clips.json")} == {"train", "dev"}
