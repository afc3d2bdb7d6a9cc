"""Published listening tests against local imitations of the hub and of Zenodo."""

from __future__ import annotations

import hashlib
import io
import json
import re
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mmmos.extract.corpora import public_sets
from mmmos.extract.corpora.downloads import DownloadError
from mmmos.extract.corpora.public_sets import fetch, unpack
from tests.conftest import Outcome
from tests.extract.hub import Hub

RATINGS = (
    "wav_name,rater_id,rater_type,content_enjoyment,content_usefulness,production_complexity,"
    "production_quality,text_alignment\n"
    "a.wav,r1,lay,7,6,3,8,9\na.wav,r2,expert,5,6,3,6,9\nb.wav,r1,lay,2,2,5,3,4\nb.wav,r2,expert,4,2,5,1,4\n"
)
METADATA = "".join(
    json.dumps({"file_name": f"data/{name}.wav", "prompt_id": f"p{n}", "system": f"s{n}"}) + "\n"
    for n, name in enumerate("ab")
)


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    server = Hub()
    monkeypatch.setattr(public_sets, "HUB", server.url)
    monkeypatch.setattr(public_sets, "ZENODO", f"{server.url}/records/")
    yield server
    server.close()


@pytest.fixture
def audioeval(tmp_path: Path) -> Path:
    """The set's files as they lie in a folder after the download."""
    folder = tmp_path / "audioeval"
    for name, text in (("annotations/ratings.csv", RATINGS), ("data/metadata.jsonl", METADATA)):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    for name in "ab":
        (folder / f"data/{name}.wav").touch()
    return folder


def test_the_licence_is_shown_and_has_to_be_accepted(tmp_path: Path, hub: Hub) -> None:
    with pytest.raises(ValueError, match=r"CC BY-NC.*--accept-licence"):
        fetch("audioeval", tmp_path, accepted=False)
    assert hub.asked == []


def pam_record(hub: Hub, content: bytes, checksum: str) -> None:
    address = f"{hub.url}/pam.zip"
    record = {"files": [{"key": "pam.zip", "checksum": f"md5:{checksum}", "links": {"self": address}}]}
    hub.files["/records/10737388"] = json.dumps(record).encode()
    hub.files["/pam.zip"] = content


def zipped(**files: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, text in files.items():
            archive.writestr(name.replace("__", "/"), text)
    return buffer.getvalue()


def test_a_record_of_zenodo_is_fetched_verified_and_unpacked_once(tmp_path: Path, hub: Hub) -> None:
    content = zipped(PAM__a="x")
    pam_record(hub, content, hashlib.md5(content).hexdigest())
    for _ in range(2):
        fetch("pam", tmp_path, accepted=True)
    assert (tmp_path / "PAM" / "a").read_text() == "x"
    assert hub.asked.count("/pam.zip") == 1


def test_another_file_than_the_record_says_is_removed(tmp_path: Path, hub: Hub) -> None:
    pam_record(hub, zipped(a="x"), "0" * 32)
    with pytest.raises(DownloadError, match=r"md5.*by hand"):
        fetch("pam", tmp_path, accepted=True)
    assert not (tmp_path / "pam.zip").exists()


@pytest.mark.parametrize(
    "record", [b"<html>503</html>", b"[]", b'{"files": [{"key": 5}]}', b'{"files": {}}', b"[" * 100_000]
)
def test_an_answer_that_is_no_record_is_told_in_one_line(tmp_path: Path, hub: Hub, record: bytes) -> None:
    hub.files["/records/10737388"] = record
    with pytest.raises(DownloadError, match=r"the record 10737388: .*by hand") as refused:
        fetch("pam", tmp_path, accepted=True)
    assert "\n" not in str(refused.value)


def test_what_is_called_an_archive_and_is_none_is_told(tmp_path: Path, hub: Hub) -> None:
    pam_record(hub, b"PK", hashlib.md5(b"PK").hexdigest())
    with pytest.raises(DownloadError, match=r"not a zip file.*by hand"):
        fetch("pam", tmp_path, accepted=True)


def test_an_archive_cannot_write_outside_its_folder(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("../evil", "x")
    with pytest.raises(ValueError, match="leads out of"):
        unpack(tmp_path / "x.zip", tmp_path / "in")


def test_what_the_hub_does_not_have_is_said_with_the_page(tmp_path: Path, hub: Hub) -> None:
    with pytest.raises(DownloadError, match=r"huggingface.co/datasets/ASLP-lab/SongEval by hand"):
        fetch("songeval", tmp_path, accepted=True)


def test_a_set_of_the_hub_is_fetched_once_and_only_what_is_needed(tmp_path: Path, hub: Hub) -> None:
    start = "/datasets/ASLP-lab/SongEval/resolve/main/"
    for name in ("metadata.jsonl", "mp3/0.mp3", "other/big.bin"):
        hub.files[start + name] = name.encode()
    fetch("songeval", tmp_path, accepted=True)
    assert (tmp_path / "mp3" / "0.mp3").read_text() == "mp3/0.mp3"
    assert not (tmp_path / "other").exists()
    served = hub.served[start + "mp3/0.mp3"]
    fetch("songeval", tmp_path, accepted=True)
    assert hub.served[start + "mp3/0.mp3"] == served


def test_audioeval_becomes_a_table_with_single_ratings_prompts_and_systems(
    cli: Callable[..., Outcome], audioeval: Path, tmp_path: Path
) -> None:
    done = cli("prepare", "audioeval", audioeval, "-o", tmp_path / "t.csv", "--no-download")
    assert done.code == 0, done.err
    text = (tmp_path / "t.csv").read_text()
    assert text.splitlines()[0].startswith("id,path,domain,source,system,group,split,CE,CU,PC,PQ,alignment")
    assert "data/a.wav" in text
    assert ",s0,p0,train,6.0,6.0,3.0,7.0,9.0," in text
    assert "mmmos train" in done.err


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("text_alignment", "text_match", "no columns for alignment.*there are wav_name, rater_id"),
        ("rater_id", "who", "no column names the rater.*there are wav_name, who"),
        ("wav_name", "clip_no", "no column names the clip"),
        ("a.wav,r1", "z.wav,r1", "'z.wav' does not stand in"),
    ],
)
def test_a_set_that_has_changed_is_refused_by_the_names_of_its_columns(
    cli: Callable[..., Outcome], audioeval: Path, old: str, new: str, reason: str, tmp_path: Path
) -> None:
    path = audioeval / "annotations" / "ratings.csv"
    path.write_text(RATINGS.replace(old, new, 1))
    done = cli("prepare", "audioeval", audioeval, "-o", tmp_path / "t.csv", "--no-download")
    assert done.code == 2
    assert re.search(reason, done.err)
    assert not (tmp_path / "t.csv").exists()


def test_songeval_becomes_a_table_of_songs(cli: Callable[..., Outcome], tmp_path: Path) -> None:
    axes = ("Coherence", "Memorability", "Naturalness", "Clarity", "Musicality")
    (tmp_path / "mp3").mkdir()
    lines = []
    for n in range(2):
        (tmp_path / "mp3" / f"{n}.mp3").touch()
        notes = [dict.fromkeys(axes, value) for value in (n + 1, n + 3)]
        lines.append(json.dumps({"file_name": f"mp3/{n}.mp3", "annotation": notes}))
    (tmp_path / "metadata.jsonl").write_text("\n".join(lines))
    done = cli("prepare", "songeval", tmp_path, "-o", tmp_path / "t.csv", "--no-download")
    assert done.code == 0, done.err
    assert ",0,train,2.0,2.0,2.0,2.0,2.0," in (tmp_path / "t.csv").read_text()


def test_a_song_without_annotations_is_refused(cli: Callable[..., Outcome], tmp_path: Path) -> None:
    (tmp_path / "metadata.jsonl").write_text('{"file_name": "a.mp3", "annotation": []}\n')
    done = cli("prepare", "songeval", tmp_path, "-o", tmp_path / "t.csv", "--no-download")
    assert done.code == 2
    assert "metadata.jsonl, row 1: 'annotation' is empty" in done.err
