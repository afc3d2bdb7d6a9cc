"""What the page says of scores: words, bars and lines, each at its place, and no stranger's HTML."""

from __future__ import annotations

import base64
import csv
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from mmmos.extract.front import open_file
from mmmos.heads.scoring import serve_view
from mmmos.heads.scoring.answers import FLAGS, columns
from mmmos.heads.scoring.bundle import save_bundle
from mmmos.heads.scoring.conformal import CONFIDENCE_LEVELS
from mmmos.heads.scoring.loading import load_bundle
from mmmos.heads.scoring.scorer import Scorer
from mmmos.heads.scoring.serve import score_upload
from mmmos.heads.scoring.serve_view import (
    ADVICE,
    IN_WORDS,
    Heard,
    clock,
    envelope_of,
    rank_in_words,
    results,
    unit_of,
)
from mmmos.store.schema import Scale
from tests.heads.scoring.made_bundle import SPEECH_AXES, logmel, made_bundle

RATE_HZ = 16000


def wave(seconds: float) -> np.ndarray:
    return 0.1 * np.random.default_rng(0).standard_normal(round(seconds * RATE_HZ))


@pytest.fixture(scope="module")
def audio(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("audio") / "<i>take 1.wav"
    soundfile.write(path, wave(25), RATE_HZ)
    return path


def opened(folder: Path, **changes: Any) -> Scorer:
    ratings = {"": {"MOS": {"clips": 40, "percentiles": np.linspace(1, 10, 101).tolist()}}}
    made = made_bundle([logmel()], SPEECH_AXES)
    bundle = replace(made, about=made.about | {"ratings": ratings}, **changes)
    return load_bundle(save_bundle(bundle, folder, ""), device="cpu")


@pytest.fixture(scope="module")
def scorer(tmp_path_factory: pytest.TempPathFactory) -> Scorer:
    return opened(tmp_path_factory.mktemp("bundle"), caveats=("<b>loud</b>",))


def test_a_card_says_score_rank_interval_and_flags_in_words(scorer: Scorer, audio: Path) -> None:
    heard = score_upload(scorer, audio)
    page, answer = results(scorer, [heard]), heard.answer
    assert f"<b>{answer['MOS']:.2f}</b> <small>on 1 to 10</small>" in page
    assert f"{rank_in_words(round(100 * (answer['MOS'] - 1) / 9), '')}." in page
    assert page.count(" of 100 training clips.") == 1, "there is no rank where no ratings are known"
    words = f"{answer['MOS_80_low']:.2f} to {answer['MOS_80_high']:.2f} for 4 clips in 5"
    assert f"mean: {words} and {answer['MOS_95_low']:.2f} to" in page
    assert f"{answer['lufs']:.1f} LUFS" in page
    flagged = replace(heard, answer=answer | {"flags": list(FLAGS)})
    assert all(advice in results(scorer, [flagged]) for advice in ADVICE.values())
    assert ADVICE.keys() == FLAGS.keys()
    assert tuple(IN_WORDS) == CONFIDENCE_LEVELS


def test_what_is_not_known_is_said(scorer: Scorer, audio: Path) -> None:
    heard = score_upload(scorer, audio)
    ends = [name for name in columns(scorer.axes) if name.endswith(("_low", "_high"))]
    bare = replace(heard, answer=heard.answer | dict.fromkeys(ends) | {"lufs": None})
    page = results(scorer, [bare])
    assert "No interval: the errors on rated clips are not known." in page
    assert "loudness not known" in page
    assert "None" not in page


def test_names_and_caveats_of_others_are_text(scorer: Scorer, audio: Path) -> None:
    page = results(scorer, [score_upload(scorer, audio)])
    assert "&lt;i&gt;take 1.wav" in page
    assert "Quality of the &lt;Signal&gt; | alone" in page
    assert "&lt;b&gt;loud&lt;/b&gt;." in page
    assert not re.search(r"<i>|<b>loud", page)
    assert re.search(r'src="/gradio_api/file=/[^ "<>]+%3Ci%3Etake%201.wav"', page)


def test_several_files_have_a_table_a_card_each_and_one_csv(scorer: Scorer, audio: Path) -> None:
    scored, path = score_upload(scorer, audio), Path("/there/x.wav")
    failed = Heard(path, {"id": path.name, "path": path.name, "error": "not <audio>", "bundle": scorer.id})
    page = results(scorer, [failed, scored])
    assert '<h2 id="all-files">2 files</h2>' in page
    assert page.count('<details class="clip"') == 2
    assert "<strong>Not scored:</strong> not &lt;audio&gt;" in page
    (encoded,) = re.findall(r"base64,([^\"]+)", page)
    rows = list(csv.DictReader(base64.b64decode(encoded).decode().splitlines()))
    assert tuple(rows[0]) == columns(scorer.axes)
    assert [row["row"] for row in rows[:2]] == ["file", "file"]
    assert {row["row"] for row in rows[2:]} == {"window"}
    assert rows[0]["error"] == "not <audio>"
    assert rows[1]["MOS"] == str(scored.answer["MOS"])
    assert "all-files" not in results(scorer, [scored])


def test_the_envelope_holds_every_peak(tmp_path: Path) -> None:
    samples = np.zeros((RATE_HZ * 70, 2))
    samples[1000, 0], samples[-1, 1], samples[RATE_HZ * 35, 1] = 0.5, -0.25, 0.75
    soundfile.write(tmp_path / "a.wav", samples, RATE_HZ)
    low, high = envelope_of(open_file(tmp_path / "a.wav"))
    assert len(low) == len(high) == serve_view.ENVELOPE_STEPS
    assert high.max() == pytest.approx(0.75, abs=1e-4)
    assert high.argmax() == serve_view.ENVELOPE_STEPS // 2
    assert low[-1] == pytest.approx(-0.25, abs=1e-4)


def strips(values: list[float], scale: Scale) -> list[dict[str, Any]]:
    """The line of windows of 10 s, one after the other, with these scores."""
    windows = [{"start_s": 10.0 * n, "end_s": 10.0 * n + 10, "PQ": value} for n, value in enumerate(values)]
    return serve_view._strips({"windows": windows}, ("PQ",), [scale], 10.0 * len(values))


@pytest.mark.parametrize(
    ("values", "scale", "ends"),
    [
        ([5.0], Scale(1, 10), ("4", "6")),
        ([4.9, 5.1], Scale(1, 10), ("4", "6")),
        ([1.0, 10.0], Scale(1, 10), ("1", "10")),
        ([42.0, 61.0], Scale(0, 100), ("40", "70")),
        ([3.31, 3.37], Scale(1, 5), ("3.2", "3.6")),
    ],
)
def test_a_line_of_scores_lies_between_round_ends(
    values: list[float], scale: Scale, ends: tuple[str, str]
) -> None:
    (strip,) = strips(values, scale)
    assert (strip["low"], strip["high"]) == ends
    points = [tuple(map(float, pair.split(","))) for pair in strip["points"].split()]
    low, high = map(float, ends)
    heights = [100 * (high - value) / (high - low) for value in values]
    assert [y for _, y in points] == pytest.approx([heights[0], *heights, heights[-1]], abs=0.06)
    assert [x for x, _ in points][:1] == [0.0]
    assert points[-1][0] == 1000.0
    assert points[1][0] == pytest.approx(500 / len(values), abs=0.06)


@pytest.mark.parametrize(
    ("scale", "unit"),
    [((1, 10), 1), ((0, 100), 10), ((1, 5), 0.2), ((0, 10), 1), ((-2, 2), 0.2), ((0, 1), 0.1)],
)
def test_units_are_round(scale: tuple[float, float], unit: float) -> None:
    assert unit_of(Scale(*scale)) == pytest.approx(unit)


def test_time_is_told_as_players_tell_it() -> None:
    assert [clock(second) for second in (0, 9.6, 65, 1800)] == ["0:00", "0:10", "1:05", "30:00"]


def test_ranks_have_ends() -> None:
    assert rank_in_words(0, "music") == "Below all training clips (music)"
    assert rank_in_words(100, "") == "Above all training clips"
