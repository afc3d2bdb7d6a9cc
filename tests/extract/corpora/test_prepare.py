"""From label files and folders of audio to a clip table: on a small made-up copy of the corpora."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import soundfile

from mmmos.extract.corpora.labels import NATURAL, PAM, TEST
from mmmos.extract.corpora.prepare import prepare_aes
from mmmos.store.clips import read_clips
from tests.extract.corpora.test_labels import line


@pytest.fixture
def corpora(tmp_path, rng):
    """Labels of 2 + 2 + 30 natural clips, ten of PAM and one test clip; some audio missing, odd or equal."""
    labels, audio = tmp_path / "labels", tmp_path / "audio"
    labels.mkdir()
    natural = {
        "speech": ["EARS/p001/a.wav", "EARS/p001/b.wav"],
        "music": ["musiccaps/one.wav", "musiccaps/two.wav"],
        "sound": [f"unbalanced_train_segments/audio/x{i}_0_10000.flac" for i in range(30)],
    }
    paths = [f"/your_path/{path}" for of_domain in natural.values() for path in of_domain]
    for domain, of_domain in natural.items():
        (labels / NATURAL[domain]).write_text("\n".join(line(f"/your_path/{path}") for path in of_domain))
    pam = [f"PAM/human_eval/music/musicldm/v{i}.wav" for i in range(10)]
    (labels / PAM).write_text("\n".join(line(f"/your_path/{path}") for path in pam))
    (labels / TEST).write_text(line("audiomos2025-track2-sysA-utt0"))
    for name, part in (("train", paths[:4]), ("dev", paths[4:])):
        (labels / f"audiomos2025-track2-{name}_list.csv").write_text("\n".join(["data_path", *part]))

    def write(path, wave):
        (audio / path).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(audio / path, wave, 8000)

    for i, path in enumerate(["EARS/p001/a.wav", "caps/one.wav", *pam]):
        write(path, 0.1 * rng.normal(size=8000 + i))
    for i in range(30):
        write(f"unbalanced_train_segments/audio/x{i}_0_10000.wav", 0.1 * rng.normal(size=9000 + i))
    write("EARS/p001/b.wav", np.zeros(8000))
    (audio / "caps/two.wav").write_bytes((audio / "caps/one.wav").read_bytes())
    return labels, audio


@pytest.mark.parametrize("split", ["paper", "grouped"])
def test_what_is_there_is_kept_and_the_rest_listed(corpora, tmp_path, split):
    labels, audio = corpora
    got = prepare_aes(
        labels, audio, tmp_path / "clips.csv", split=split, corpora={"musiccaps": "caps"}, quiet=True
    )
    assert got.labelled == 45
    left_out = {(f.id, f.kind) for f in got.findings if f.kind in ("missing", "silent", "unreadable")}
    assert left_out == {("EARS/p001/b", "silent"), ("audiomos2025-track2-sysA-utt0", "missing")}
    assert len(got.table) == 43
    # Found although kept as WAV, and in a folder of another name.
    paths = {clip.id: clip.path for clip in got.table}
    assert paths["unbalanced_train_segments/audio/x3_0_10000"].endswith(".wav")
    assert paths["musiccaps/one"] == "caps/one.wav"
    assert {f.kind for f in got.findings if f.id == "musiccaps/two"} == {"duplicate"}
    assert read_clips(tmp_path / "clips.csv", audio_root=audio).clips == got.table.clips
    assert len(got.findings_path.read_text().splitlines()) == 1 + len(got.findings)
    if split == "grouped":
        one, two = (next(c for c in got.table if c.id == f"musiccaps/{name}") for name in ("one", "two"))
        assert (one.group, one.split) == (two.group, two.split)


@pytest.mark.parametrize("split", ["paper", "grouped"])
@pytest.mark.parametrize(("gone", "left"), [("PAM", 33), ("unbalanced_train_segments", 13), ("", 0)])
def test_who_owns_a_part_of_the_corpora_or_none_gets_a_table_of_it(corpora, tmp_path, split, gone, left):
    labels, audio = corpora
    shutil.rmtree(audio / gone)
    got = prepare_aes(
        labels, audio, tmp_path / "clips.csv", split=split, corpora={"musiccaps": "caps"}, quiet=True
    )
    assert len(got.table) == left
    assert all(clip.split for clip in got.table)


def test_a_corpus_that_the_labels_do_not_name_is_refused(corpora, tmp_path):
    labels, audio = corpora
    with pytest.raises(ValueError, match=r"unknown corpus 'musicap'.*Did you mean 'musiccaps'"):
        prepare_aes(labels, audio, tmp_path / "clips.csv", corpora={"musicap": "caps"}, quiet=True)
