"""What is stored is what was heard: a file that changes is refused, whatever its name and times say."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import numpy as np
import pytest
import xxhash

from mmmos.extract import content, decoding
from mmmos.extract.audio import AUDIO_RECIPE, write_audio
from mmmos.extract.audio_info import AudioError
from mmmos.extract.cluster import Job, encode_shard
from mmmos.extract.decoding import open_file, read_crop, survey_file
from mmmos.extract.encoders import load_encoder
from mmmos.extract.extraction import extract
from mmmos.extract.request import ExtractRequest
from mmmos.extract.survey import survey
from mmmos.extract.tasks import plan
from mmmos.store.clips import ClipTable
from mmmos.store.crops import crop_grid
from mmmos.store.features import FeatureStore
from mmmos.store.schema import Clip


def tone(path: Path, seed: int = 0) -> Path:
    write_audio(path, 0.1 * np.random.default_rng(seed).standard_normal((16000 * 12, 1)), 16000)
    return path


def swap(path: Path, seed: int = 1) -> None:
    """Other samples under the same name, size and time of change, as a restored backup has them."""
    times = path.stat()
    tone(path, seed)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


def test_the_id_is_a_blake2b_of_the_bytes(tmp_path: Path) -> None:
    data = tone(tmp_path / "a.wav").read_bytes()
    info = survey_file(tmp_path / "a.wav")
    assert info.audio == hashlib.blake2b(data, digest_size=24).hexdigest()
    assert info.old_id == xxhash.xxh3_128_hexdigest(data)


@pytest.mark.parametrize("settled_s", [0.0, 2.0])
def test_a_replaced_file_gives_no_crop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settled_s: float
) -> None:
    monkeypatch.setattr(content, "UNSETTLED_S", settled_s)
    path = tone(tmp_path / "a.wav")
    info = survey_file(path)
    first, second = crop_grid(info.audio, info.duration_s)
    read_crop(path, first, (16000,))
    (tmp_path / "same.wav").write_bytes(path.read_bytes())
    (tmp_path / "same.wav").replace(path)  # another inode, the same bytes
    read_crop(path, second, (16000,))
    swap(path)
    with pytest.raises(AudioError, match="changed since it was surveyed"):
        read_crop(path, second, (16000,))
    (old, *_) = crop_grid(info.old_id, info.duration_s)
    with pytest.raises(AudioError, match="changed since it was surveyed"):
        read_crop(path, old, (16000,))


@pytest.mark.parametrize("name", ["a.wav", "a.flac"])
def test_a_file_that_is_written_to_while_it_is_heard_is_refused(tmp_path: Path, name: str) -> None:
    write_audio(tmp_path / name, 0.1 * np.random.default_rng(0).standard_normal((2**20 + 5, 2)), 48000)
    blocks = open_file(tmp_path / name).blocks
    next(blocks)
    with (tmp_path / name).open("r+b") as file:
        file.seek(-500, 2)
        file.write(b"\x11" * 400)
    with pytest.raises(AudioError, match="changed while it was read"):
        list(blocks)


def test_a_file_that_is_written_to_while_it_is_surveyed_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tone(tmp_path / "a.wav")
    real = decoding.promise_of

    def meddle(stream):  # type: ignore[no-untyped-def]
        os.utime(path)
        return real(stream)

    monkeypatch.setattr(decoding, "promise_of", meddle)
    with pytest.raises(AudioError, match="changed while it was read"):
        survey_file(path)


@pytest.mark.parametrize("where", ["here", "on a worker"])
def test_an_extraction_rejects_what_changed_and_goes_on(tmp_path: Path, where: str) -> None:
    clips = tuple(Clip(name, f"{name}.wav") for name in ("a", "b"))
    for seed, clip in enumerate(clips):
        tone(tmp_path / clip.path, seed)
    table, _ = survey(ClipTable(clips), tmp_path, quiet=True)
    swap(tmp_path / "a.wav", 7)
    encoder = load_encoder("logmel", audio_recipe=AUDIO_RECIPE)
    if where == "here":
        rejects = extract(table, tmp_path, [encoder], tmp_path / "features", quiet=True).rejects
    else:
        request = ExtractRequest(tmp_path / "clips.csv", tmp_path, encoders="logmel")
        job = Job(request, (encoder.spec,), tmp_path / "features")
        store = FeatureStore(tmp_path / "features", encoder.spec)
        rejects = encode_shard(job, 0, plan(table, [store])[1]).rejects
    assert [(one.id, "changed" in one.reason) for one in rejects] == [("a", True)]
    stored = FeatureStore(tmp_path / "features", encoder.spec).crop_ids()
    assert {crop.rpartition("-")[0] for crop in stored} == {table.clips[1].audio}


def test_features_under_the_ids_of_earlier_versions_are_found_and_the_table_keeps_its_id(
    tmp_path: Path,
) -> None:
    path = tone(tmp_path / "a.wav")
    (tmp_path / "copy.wav").write_bytes(path.read_bytes())
    tone(tmp_path / "b.wav", 1)
    clips = ClipTable(tuple(Clip(name, f"{name}.wav") for name in ("a", "copy", "b")))
    old = xxhash.xxh3_128_hexdigest(path.read_bytes())
    table, _ = survey(clips, tmp_path, quiet=True, stored={old})
    assert [clip.audio for clip in table] == [old, old, survey_file(tmp_path / "b.wav").audio]
    new, _ = survey(clips, tmp_path, quiet=True, stored={old, survey_file(path).audio})
    assert old not in {clip.audio for clip in new}


def test_two_files_that_collide_under_the_old_ids_are_told_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tone(tmp_path / "a.wav")
    tone(tmp_path / "b.wav", 1)
    real = content.content_ids
    monkeypatch.setattr(content, "content_ids", lambda stream: (real(stream)[0], "0" * 32))
    clips = ClipTable((Clip("a", "a.wav"), Clip("b", "b.wav")))
    table, _ = survey(clips, tmp_path, quiet=True, stored={"0" * 32})
    assert len({clip.audio for clip in table}) == 2
    assert "0" * 32 not in {clip.audio for clip in table}
