"""`prepare labels | aes` as a shell sees them."""

from __future__ import annotations

import functools
import shutil
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from mmmos.extract.audio import write_audio
from mmmos.extract.corpora.downloads import LABELS
from mmmos.store.clips import read_clips
from mmmos.store.console import MISSING, OK, REFUSED
from mmmos.store.schema import Scale
from tests.conftest import shared


def test_labels_says_what_is_missing_and_where_it_belongs(cli, tmp_path: Path) -> None:
    found = cli("prepare", "labels", tmp_path)
    assert found.code == MISSING
    assert found.out.count("missing") == 7


def test_a_wrong_label_file_does_not_count(cli, tmp_path: Path) -> None:
    (tmp_path / "AES_PAM.jsonl").write_text("{}\n")
    assert "its sha256 is" in cli("prepare", "labels", tmp_path).out


def test_download_fetches_what_is_missing(cli, tmp_path: Path, monkeypatch) -> None:
    published, folder = tmp_path / "published", tmp_path / "labels"
    *most, last = LABELS
    for path in most:
        (published / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(shared("data/aes") / Path(path).name, published / path)
    handler = functools.partial(SimpleHTTPRequestHandler, directory=published)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setattr(
            "mmmos.extract.corpora.downloads.BASES", (f"http://127.0.0.1:{server.server_port}/",)
        )
        found = cli("prepare", "labels", folder, "--download")
        assert found.code == REFUSED
        assert str(folder / Path(last).name) in found.err
        assert cli("prepare", "labels", folder).out.count("whole") == 6
        shutil.copyfile(shared("data/aes") / Path(last).name, published / last)
        assert "1 fetched, 6 were there" in cli("prepare", "labels", folder, "--download").err
        (folder / Path(last).name).unlink()
        found = cli(
            "prepare",
            "aes",
            "--labels",
            folder,
            "--audio-root",
            published,
            "--download",
            "-o",
            tmp_path / "c.csv",
        )
        assert found.code == REFUSED  # there is no audio, but the labels came
        assert "1 label files fetched (CC BY 4.0)" in found.err
        server.shutdown()
    assert cli("prepare", "labels", folder).code == OK


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
    nowhere = ("--labels", labels, "--audio-root", audio.parent, "-o", tmp_path / "none.csv")
    refused = cli("prepare", "aes", *nowhere, "--split", "grouped")
    assert refused.code == REFUSED
    assert "--corpus NAME=FOLDER" in refused.err
    assert not (tmp_path / "none.csv").exists()
    assert "missing" in (tmp_path / "none-findings.csv").read_text()
