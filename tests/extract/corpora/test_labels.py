"""The public label files: read from small made-up copies always, from the real ones where they are."""

from __future__ import annotations

import json
from collections import Counter

import numpy as np
import pytest

from mmmos.extract.corpora.labels import NATURAL, PAM, TEST, grouped_split, read_aes
from mmmos.store.clips import TableError
from mmmos.store.schema import AES_AXES
from tests.conftest import shared


def line(path, level=5.0, **axes):
    titles = {
        "CE": "Content_Enjoyment",
        "CU": "Content_Usefulness",
        "PC": "Production_Complexity",
        "PQ": "Production_Quality",
    }
    return json.dumps({"data_path": path} | {titles[a]: axes.get(a, [level, level + 1]) for a in AES_AXES})


@pytest.fixture
def small(tmp_path):
    """Label files in small: three natural clips, ten of PAM, two test systems."""
    natural = {
        "speech": "/your_path/EARS/p001/a b.wav",
        "music": "/your_path/MUSDB18/test/Some - Track/bass.wav",
        "sound": "/your_path/unbalanced_train_segments/audio/-a_B-c_30000_40000.flac",
    }
    for domain, path in natural.items():
        (tmp_path / NATURAL[domain]).write_text(line(path) + "\n")
    pam = [f"/your_path/PAM/human_eval/music/musicldm/vid{i}.wav" for i in range(10)]
    (tmp_path / PAM).write_text("\n".join(line(path) for path in pam))
    test = [line(f"audiomos2025-track2-sysAb-utt{i}", PC=[1.0, 1.0]) for i in range(2)]
    test += [line("audiomos2025-track2-sysCd-utt-x", CE=[2.0, 3.0]), line("audiomos2025-track2-sysEf-utt9")]
    (tmp_path / TEST).write_text("\n".join(test))
    (tmp_path / "audiomos2025-track2-train_list.csv").write_text(
        f"sample_id,data_path\na,{natural['speech']}\nb,{natural['music']}\n"
    )
    (tmp_path / "audiomos2025-track2-dev_list.csv").write_text(f"sample_id,data_path\nc,{natural['sound']}\n")
    return tmp_path


def test_clips_know_their_source_system_group_and_domain(small):
    clips = {clip.id: clip for clip in read_aes(small)}
    assert len(clips) == 3 + 10 + 4
    speech = clips["EARS/p001/a b"]
    assert (speech.path, speech.system, speech.group, speech.split) == (
        "EARS/p001/a b.wav",
        "EARS",
        "ears:p001",
        "train",
    )
    assert (speech.scores, speech.ratings) == ((5.5,) * 4, ((5.0, 6.0),) * 4)
    sound = clips["unbalanced_train_segments/audio/-a_B-c_30000_40000"]
    assert (sound.source, sound.group, sound.split) == ("AudioSet", "youtube:-a_B-c", "dev")
    pam = clips["PAM/human_eval/music/musicldm/vid3"]
    assert (pam.domain, pam.system, pam.group) == ("music", "musicldm", "youtube:vid3")
    assert Counter(clip.split for clip in clips.values() if clip.source == "PAM") == {"train": 8, "pam": 2}
    test = [clip for clip in clips.values() if clip.split == "test"]
    assert [(clip.system, clip.domain) for clip in test] == [
        ("Ab", "speech"),
        ("Ab", "speech"),
        ("Cd", "sound"),
        ("Ef", "music"),
    ]


def test_the_papers_split_file_is_followed_where_it_is(small):
    rows = ["data_path,split"]
    for file in (*NATURAL.values(), PAM):
        for row in map(json.loads, (small / file).read_text().splitlines()):
            rows.append(f"{row['data_path']},{'dev' if 'vid7' in row['data_path'] else 'train'}")
    (small / "mmmos_split.csv").write_text("\n".join(rows))
    assert [clip.id for clip in read_aes(small).of("pam")] == ["PAM/human_eval/music/musicldm/vid7"]
    (small / "mmmos_split.csv").write_text("\n".join(rows[:-1]))
    with pytest.raises(TableError, match="1 clips stand in no split list"):
        read_aes(small)


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ("{", "row 1: not JSON"),
        (line("/your_path/EARS/p001/a.wav", level=10.0), "not all within 0 and 10"),
        (line("/elsewhere/EARS/p001/a.wav"), "does not begin with"),
        (line("/your_path/unknown/a.wav"), "belongs to no known corpus"),
        (line("/your_path/EARS/p001/a.wav", CE=[]), r"Content_Enjoyment is \[\], not a list of ratings"),
        (line("/your_path/EARS/p001/a.wav", PQ=[5, "6"]), r"Production_Quality is \[5, '6'\], not a list"),
        (line("/your_path/EARS/p001/a.wav", PC=7), "Production_Complexity is 7, not a list of ratings"),
        ('{"data_path": "/your_path/EARS/p001/a.wav"}', "Content_Enjoyment is None, not a list of ratings"),
        ("{}", "data_path is None, not a path"),
        (line("audiomos2025-track2-sysAb"), "test id 'audiomos2025-track2-sysAb' is not"),
    ],
)
def test_a_broken_label_file_is_refused_with_its_row(small, bad, reason):
    (small / NATURAL["speech"]).write_text(bad)
    with pytest.raises(TableError, match=reason):
        read_aes(small)


def test_a_list_without_its_column_is_refused(small):
    (small / "audiomos2025-track2-dev_list.csv").write_text("sample_id,path\nc,x\n")
    with pytest.raises(TableError, match="there is no column 'data_path', only sample_id, path"):
        read_aes(small)


def test_a_missing_file_says_how_to_get_it(small):
    (small / TEST).unlink()
    with pytest.raises(TableError, match="prepare labels --download"):
        read_aes(small)
    with pytest.raises(ValueError, match="known: grouped, paper"):
        read_aes(small, split="papre")


@pytest.fixture(scope="module")
def real():
    return read_aes(shared("data/aes"))


def test_the_real_files_have_the_papers_sizes(real):
    assert len(real) == 2950 + 1000 + 3060
    natural = [clip for clip in real if clip.source not in ("PAM", "audiomos2025-track2")]
    assert Counter(clip.split for clip in natural) == {"train": 2700, "dev": 250}
    assert Counter(clip.split for clip in real if clip.source == "PAM") == {"train": 800, "pam": 200}
    assert {len(single) for clip in real for single in clip.ratings} == {10}
    test = Counter(clip.system for clip in real.of("test"))
    assert (len(test), set(test.values())) == (36, {85})
    pam = Counter(clip.system for clip in real.of("pam"))
    assert pam.pop("real-audio") + pam.pop("real-music") == 40
    assert (len(pam), set(pam.values())) == (8, {20})
    assert Counter(clip.domain for clip in real.of("test")) == {
        "speech": 11 * 85,
        "sound": 12 * 85,
        "music": 13 * 85,
    }


def test_scores_are_the_published_means(real):
    import csv

    titles = ("Content_Enjoyment", "Content_Usefulness", "Production_Complexity", "Production_Quality")
    clips = {clip.path: clip for clip in real}
    for split in ("train", "dev"):
        rows = list(csv.DictReader(shared(f"data/aes/audiomos2025-track2-{split}_list.csv").open()))
        for row in rows:
            clip = clips[row["data_path"].removeprefix("/your_path/")]
            assert clip.split == split
            assert clip.scores == pytest.approx([float(row[title]) for title in titles])


def test_the_papers_split_leaks_as_is_known_and_the_grouped_one_does_not(real):
    trained = {clip.group for clip in real.of("train")} - {""}

    def leaking(source):
        held_out = [clip for clip in real if clip.source == source and clip.split in ("dev", "pam")]
        return held_out, [clip for clip in held_out if clip.group in trained]

    assert [len(part) for part in leaking("PAM")] == [200, 200]
    assert [len(part) for part in leaking("MUSDB18")] == [47, 47]
    assert [len({clip.group for clip in part}) for part in leaking("EARS")] == [9, 6]
    assert [len({clip.group for clip in part}) for part in leaking("LibriTTS")] == [17, 2]

    grouped = read_aes(shared("data/aes"), split="grouped")
    sides = [{clip.group for clip in grouped.of(split)} - {""} for split in ("train", "dev", "pam")]
    assert sides[0].isdisjoint(sides[1] | sides[2])
    counts = Counter(clip.split for clip in grouped)
    assert counts["test"] == 3060
    assert counts["pam"] == 200
    assert abs(counts["dev"] - 250) <= 10
    assert max(Counter(clip.system for clip in grouped.of("pam")).values()) <= 22
    assert grouped_split(grouped.clips[:3950], seed=1) != grouped_split(grouped.clips[:3950], seed=2)


def test_guessed_domains_reproduce_the_domain_only_scores(real):
    """Knowing the domain alone gives these system-level correlations on the real test ratings."""
    from scipy.stats import pearsonr

    clips = real.of("test")
    scores = real.scores(clips)
    systems = np.array([clip.system for clip in clips])
    names = np.unique(systems)
    means = np.array([scores[systems == name].mean(axis=0) for name in names])
    domain = np.array([next(clip.domain for clip in clips if clip.system == name) for name in names])
    oracle = np.array([means[domain == own].mean(axis=0) for own in domain])
    known = {"PQ": 0.806, "PC": 0.955, "CE": 0.904, "CU": 0.848}
    for i, axis in enumerate(AES_AXES):
        assert pearsonr(oracle[:, i], means[:, i]).statistic == pytest.approx(known[axis], abs=0.001)
