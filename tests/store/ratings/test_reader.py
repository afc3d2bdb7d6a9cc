"""Every form of docs/tables.md is read from that page, and what cannot be understood is refused."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

import pytest

from mmmos.store.ratings.meaning import _holds_ratings, as_list, as_number
from mmmos.store.ratings.reader import Reading, read_ratings
from mmmos.store.ratings.roles import Wishes
from mmmos.store.ratings.sheet import read_sheet
from mmmos.store.rows import TableError
from mmmos.store.schema import AES_AXES, Scale
from tests.conftest import ROOT, shared

PAGE = (ROOT / "docs" / "tables.md").read_text(encoding="utf-8")
FORMS = dict(re.findall(r"^```text (\S+)\n(.*?)^```", PAGE, flags=re.M | re.S))
PIANO = {"path": "{trial_id}/{rating_stimulus}.wav"}


def read(folder: Path, name: str, wishes: Wishes | None = None, audio: str = "") -> Reading:
    """The table of the page, beside audio files that are only named."""
    (folder / name).write_text(FORMS[name], encoding="utf-8")
    for file in ("a.wav", "b.wav", "c.wav", "piano/C1.wav", "piano/anchor35.wav"):
        (folder / file).parent.mkdir(exist_ok=True)
        (folder / file).touch()
    if audio:
        (folder / audio).write_text(FORMS[audio], encoding="utf-8")
    return read_ratings(folder / name, folder / audio if audio else None, wishes)


@pytest.mark.parametrize(
    ("name", "wishes", "axes", "scale", "scores", "about"),
    [
        ("clips.csv", None, ("MOS", "noise"), Scale(1, 5), (4.2, 3.9), {"system": "S1", "group": "p225"}),
        ("ratings.csv", None, ("enjoyment", "quality"), Scale(1, 10), (6.0, 8.5), {}),
        ("long.csv", None, ("quality", "width"), Scale(0, 100), (75.0, 40.0), {}),
        ("sheet.csv", None, ("score",), Scale(1, 5), (4.5,), {"id": "sys1-utt1", "system": "sys1"}),
        ("train_mos_list.txt", None, ("score",), Scale(1, 5), (4.25,), {"id": "a.wav"}),
        ("TRAINSET", None, ("score",), Scale(1, 5), (4.5,), {"system": "sys64e2f"}),
        (
            "NISQA_TRAIN_SIM_file.csv",
            None,
            ("mos", "noi", "dis", "col", "loud"),
            Scale(1, 5),
            (4.4, 4.1, 4.6, 4.2, 4.3),
            {"system": "1", "group": "r1.wav", "source": "AusTalk"},
        ),
        (
            "mushra.csv",
            Wishes(columns=PIANO),
            ("rating_score",),
            Scale(0, 100),
            (78.0,),
            {"path": "piano/C1.wav", "system": "C1", "group": "piano"},
        ),
        (
            "lms.csv",
            Wishes(columns={"path": "{trial_id}/{stimuli}.wav"}),
            ("stimuli_rating",),
            Scale(1, 5),
            (4.5,),
            {"path": "piano/C1.wav", "system": "C1", "group": "piano"},
        ),
        ("AES.jsonl", None, AES_AXES.names, Scale(1, 10), (6.0, 6.0, 2.5, 7.5), {"path": "a.wav"}),
        (
            "sheet-de.csv",
            Wishes(columns={"path": "Datei"}),
            ("Qualität",),
            Scale(1, 5),
            (3.5,),
            {"system": "A"},
        ),
    ],
)
def test_every_form_of_the_page_is_read(
    tmp_path: Path,
    name: str,
    wishes: Wishes | None,
    axes: tuple[str, ...],
    scale: Scale,
    scores: tuple[float, ...],
    about: Mapping[str, str],
) -> None:
    table = read(tmp_path, name, wishes).table
    clip = table.clips[0]
    assert (table.axes.names, table.scale) == (axes, scale)
    assert clip.scores == pytest.approx(scores)
    assert {key: getattr(clip, key) for key in about} == about
    assert {clip.split for clip in table} == {"train"}


def test_kaldi_lists_say_where_the_audio_of_each_id_is(tmp_path: Path) -> None:
    found = read(tmp_path, "utt2mos", audio="wav.scp")
    assert [(clip.id, clip.path) for clip in found.table] == [("utt1", "a.wav"), ("utt2", "b.wav")]


def test_every_form_of_the_page_is_tested_above() -> None:
    source = Path(__file__).read_text(encoding="utf-8")
    assert [name for name in FORMS if f'"{name}"' not in source] == []


def test_single_ratings_are_kept_with_their_raters(tmp_path: Path) -> None:
    found = read(tmp_path, "ratings.csv")
    assert found.table.clips[0].ratings == ((7.0, 5.0), (8.0, 9.0))
    assert found.raters[0] == ("a.wav", "enjoyment", "anna", 7.0)


def test_a_rater_who_rates_a_clip_twice_counts_once(tmp_path: Path) -> None:
    text = FORMS["ratings.csv"] + "a.wav,anna,9,8,again\n"
    found = read_ratings(_table(tmp_path, text))
    assert found.table.clips[0].ratings[0] == (8.0, 5.0)


def test_what_was_understood_is_told_with_the_option_that_changes_it(tmp_path: Path) -> None:
    told = {one.what: one for one in read(tmp_path, "clips.csv").understood}
    assert "one row a clip" in told["form"].how
    assert told["not read"].how == "votes"
    assert told["scale"].how.startswith("1 to 5, guessed")
    assert told["groups"].how == "2 in column 'speaker'"
    assert [one.what for one in told.values() if not one.option] == ["form", "not rated"]


def _table(folder: Path, text: str) -> Path:
    for name in "abcd":
        (folder / f"{name}.wav").touch()
    path = folder / "t.csv"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("text", "wishes", "reason"),
    [
        (
            "clip_nmae,MOS\na.wav,3\nb.wav,2\n",
            Wishes(),
            r"columns are clip_nmae, MOS; 'clip_nmae' comes nearest",
        ),
        ("Qualität,Datei\n3,a.wav\n2,b.wav\n", Wishes(), "say which one with --column path=Datei"),
        ("path,MOS\na.wav,3\nb.wav,4\nc.wav,x\n", Wishes(), "'MOS' comes nearest, but holds 'x'"),
        ('path,MOS\na.wav,"3,5"\nb.wav,"4,0"\n', Wishes(), "'MOS' holds '3,5': write a point, or separate"),
        ("path,MOS\na.wav,3\nb.wav,3\n", Wishes(), "'MOS' is '3' throughout, from which nothing"),
        ("path,MOS,n\na.wav,3,\nb.wav,4,\n", Wishes(axes="MOS,n"), "n has a score in 0 of the clips whose"),
        ("path,MOS,n\na.wav,3,1\nb.wav,4,\n", Wishes(axes="MOS,n"), "n has a score in 1 of the clips whose"),
        ("path,MOS\na.wav,3\nb.wav,3\n", Wishes(axes="MOS"), "MOS has the same score in every clip"),
        ("path,comment\na.wav,good\n", Wishes(), "no column holds ratings.*path, comment.*--axes"),
        (
            "path,MOS\na.wav,3\nb.wav,2\n",
            Wishes(axes="MSO"),
            "no column 'MSO', only path, MOS. Did you mean 'MOS'",
        ),
        ("path,MOS\na.wav,3\nb.wav,x\n", Wishes(axes="MOS"), "row 3: MOS 'x' is not a number"),
        ("path,MOS\na.wav,3\nb.wav,200\n", Wishes(), "no usual scale; name it, --scale"),
        ("path,MOS\na.wav,3\nb.wav,20\n", Wishes(scale="1,5"), "row 3: MOS 20 is outside the scale 1 to 5"),
        ("path,MOS\na.wav,3\na.wav,4\nb.wav,2\nc.wav,2\nd.wav,5\n", Wishes(), "rows 2, 3.*--column rater"),
        ("path,MOS,split\na.wav,3,trian\nb.wav,2,test\n", Wishes(), "'split' holds 'trian'.*--column split="),
        ("path,MOS,split\na.wav,3,Train\nb.wav,2,test\n", Wishes(split=0.5), "and --split was given"),
        ("path,start_time,MOS\na.wav,0,3\nb.wav,0,2\n", Wishes(), "'start_time' names parts of files"),
        ("path,MOS\nx.wav,3\ny.wav,2\n", Wishes(), "none of the 2 audio files.*not even 'x.wav'.*--audio"),
        ("path,MOS\na.wav,3\n", Wishes(columns={"sistem": "x"}), "known are path, id, rater"),
        ("a.wav,3,4\nb.wav,3,4\n", Wishes(), "is not a header"),
        ("path,MOS\n", Wishes(), "a header and no rows"),
        ("\npath,MOS\na.wav,3\n", Wishes(), "its first line is blank"),
        ('path,MOS\na.wav,"[1e308,1e308]"\nb.wav,"[1,2]"\n', Wishes(axes="MOS"), "is not a list of numbers"),
        ("path,MOS\n,3\n,2\n", Wishes(columns={"path": "path"}), "no row names an audio file"),
        ("path,axis,score\na.wav,\u202e,3\nb.wav,\u202e,2\n", Wishes(), "an axis' name has"),
        ("", Wishes(), "is empty"),
    ],
)
def test_what_cannot_be_understood_is_refused_with_what_is_there(
    tmp_path: Path, text: str, wishes: Wishes, reason: str
) -> None:
    with pytest.raises(TableError, match=reason) as refused:
        read_ratings(_table(tmp_path, text), wishes=wishes)
    assert "t.csv" in str(refused.value) or wishes.columns, "the file is named"


@pytest.mark.parametrize("lines", [["{}"] * 2, [f'{{"k{n}": 1}}' for n in range(10_001)]])
def test_a_table_has_columns_and_not_any_number_of_them(tmp_path: Path, lines: list[str]) -> None:
    path = tmp_path / "ratings.jsonl"
    path.write_text("\n".join(lines))
    with pytest.raises(TableError, match=r"ratings\.jsonl has \d+ columns, where a table has 1 to 10000"):
        read_ratings(path)


@pytest.mark.parametrize("blank", ["", "NA", "n/a", "NaN", "-"])
def test_words_for_nothing_and_an_index_without_a_name_are_no_ratings(tmp_path: Path, blank: str) -> None:
    found = read_ratings(_table(tmp_path, f",path,MOS\n0,a.wav,3\n1,b.wav,{blank}\n2,c.wav,2\n"))
    assert [clip.scores for clip in found.table] == [(3.0,), (None,), (2.0,)]


def test_files_that_are_not_there_are_named_and_left_out(tmp_path: Path) -> None:
    found = read_ratings(_table(tmp_path, "path,MOS\na.wav,3\nz.wav,2\nb.wav,4\n"))
    assert found.missing == ("z.wav",)
    assert len(found.table) == 2


def test_files_that_will_not_be_read_are_named_before_anything_is_done(tmp_path: Path) -> None:
    for name in ("a.wav", "b.m4a", "c.WMA", "d.amr", "d.txt"):
        (tmp_path / name).touch()
    (tmp_path / "r.csv").write_text("file,MOS\na.wav,4\nb.wav,3\nc.WMA,2\nd,1\n")
    told = {line.what: line.how for line in read_ratings(tmp_path / "r.csv").understood}
    assert told["not decoded"].startswith("3 audio files")
    assert "b.m4a, c.WMA, d.amr" in told["not decoded"]
    assert "under another suffix" in told["audio"]


def test_a_file_of_each_kind_by_one_name_is_refused_with_both(tmp_path: Path) -> None:
    for name in ("a.wav", "a.m4a"):
        (tmp_path / name).touch()
    (tmp_path / "r.csv").write_text("file,MOS\na,4\na.m4a,3\n")
    with pytest.raises(TableError, match=r"'a' may be a\.m4a or a\.wav"):
        read_ratings(tmp_path / "r.csv")


def test_splits_are_understood_and_a_column_of_other_words_is_not_one(tmp_path: Path) -> None:
    found = read_ratings(_table(tmp_path, "path,MOS,Set\na.wav,3,Train\nb.wav,2,validation\nc.wav,4,eval\n"))
    assert [clip.split for clip in found.table] == ["train", "dev", "test"]
    found = read_ratings(_table(tmp_path, "path,MOS,set\na.wav,3,A\nb.wav,2,B\n"))
    assert [clip.split for clip in found.table] == ["train", "train"]


def test_axes_may_have_scales_of_their_own(tmp_path: Path) -> None:
    text = "path,valence,natural\na.wav,-2,90\nb.wav,1,10\n"
    table = read_ratings(_table(tmp_path, text)).table
    assert table.scale.ends == ((-2.0, 2.0), (0.0, 100.0))


def test_a_column_that_differs_within_a_clip_is_not_taken_for_its_group(tmp_path: Path) -> None:
    text = "path,listener,item,MOS\na.wav,x,1,3\na.wav,y,2,4\nb.wav,x,1,2\nb.wav,y,1,2\n"
    found = read_ratings(_table(tmp_path, text))
    assert {clip.group for clip in found.table} == {""}
    assert any("'item' differs" in one.how for one in found.understood)


@pytest.mark.parametrize(
    ("folder", "clips", "raters", "systems", "groups"),
    [
        ("speech_codec_mushra", 128, 0, 8, 16),
        ("sound_ambisonic_codec_mushra", 24, 0, 4, 9),
        ("sound_soundscapes_affect", 8, 720, 1, 1),
    ],
)
def test_real_tables_are_read_without_an_option(
    folder: str, clips: int, raters: int, systems: int, groups: int
) -> None:
    found = read_ratings(shared(f"data/rated_audio/{folder}/ratings.csv"))
    assert (len(found.table), len(found.raters)) == (clips, raters)
    assert len({clip.system for clip in found.table}) == systems
    assert len({clip.group for clip in found.table}) == groups


@pytest.mark.parametrize("suffix", [".csv", ".json"])
def test_a_file_that_is_no_table_is_refused_at_its_first_line(
    tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / f"ratings{suffix}"
    path.touch()
    os.truncate(path, 1 << 31)  # takes no room, and would take 2 GB of memory if it were read as a whole
    monkeypatch.setattr("mmmos.store.files.read_bytes", lambda *_: pytest.fail("read as a whole"))
    with pytest.raises(TableError, match=r"no table|more than"):
        read_sheet(path)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[{}, 1]", "entry 2 is none"),
        ('[{"a": 1}', "no comma or \\]"),
        ('[{"a": 1} {"a": 2}]', "no comma"),
        ('[{"a": 1},]', "no comma"),
        ('[{"a": 1}] x', "something follows"),
        ('[{"a": 1, "a": 2}]', "occurs twice"),
    ],
)
def test_what_is_not_a_list_of_objects_is_told_by_its_entry(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "ratings.json"
    path.write_text(text)
    with pytest.raises(TableError, match=said):
        read_sheet(path)


@pytest.mark.parametrize("cell", ["1_0", "\uff15", "\u0665", "1e999x"])
def test_digits_of_other_scripts_are_no_numbers(cell: str) -> None:
    assert as_number(cell) is None


def test_a_number_with_too_many_digits_is_none() -> None:
    assert as_number(10**400) is None
    assert as_list([1, 10**400]) is None


class Compared(float):
    """A number that counts how often it is compared."""

    times = 0

    def __lt__(self, other: float) -> bool:
        Compared.times += 1
        return float(self) < float(other)


def test_a_column_of_many_numbers_is_not_gone_through_once_a_number() -> None:
    assert _holds_ratings([Compared(n % 7) for n in range(2000)])
    assert Compared.times < 40 * 2000
