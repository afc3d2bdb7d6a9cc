"""`prepare labels | aes` as a shell sees them."""

from __future__ import annotations

from pathlib import Path

from extract.audio import write_audio
from store.clips import read_clips
from store.console import MISSING, OK, REFUSED
from store.schema import Scale
from tests.conftest import shared


def test_labels_says_what_is_missing_and_where_it_belongs(cli, tmp_path: Path) -> None:
    found = cli("prepare", "labels", tmp_path)
    assert found.code == MISSING
    assert found.out.count("missing") == 7


def test_a_wrong_label_file_does_not_count(cli, tmp_path: Path) -> None:
    (tmp_path / "AES_PAM.jsonl").write_text("{}\n")
    assert "its sha256 is" in cli("prepare", "labels", tmp_path).out


def test_the_real_labels_and_one_recording_make_a_table(cli, tmp_path: Path, rng) -> None:
    labels, root = shared("data/aes"), tmp_path / "corpora"
    assert cli("prepare", "labels", labels).code == OK
    audio = root / "EARS" / "p001" / "emo_contentment_sentences.wav"
    write_audio(audio, 0.1 * rng.standard_normal((32000, 1)), 16000)
    words = ("--labels", labels, "--audio-root", root, "-o", tmp_path / "clips.csv")
    assert cli("prepare", "aes", *words, "--corpus", "EARS").code == REFUSED
    assert cli("prepare", "aes", *words, "--split", "papr").code == REFUSED
    assert cli("prepare", "aes", *words).code == OK
    (clip,) = read_clips(tmp_path / "clips.csv", scale=Scale(0, 10)).clips
    assert clip.path == "EARS/p001/emo_contentment_sentences.wav"
    assert len(clip.ratings[3]) == 10
    assert "missing" in (tmp_path / "clips-findings.csv").read_text()
