"""Predictions beside ratings, clip by clip."""

from __future__ import annotations

import numpy as np
import pytest

from mmmos.heads.results.series import misses, series, worst
from mmmos.store.clips import ClipTable
from mmmos.store.predictions import Predictions
from mmmos.store.schema import Clip
from tests.heads.made_up import made_up_run, made_up_table


@pytest.fixture(scope="module")
def one():
    table = made_up_table()
    return series(made_up_run(table, "test", 0.5), table, "test")[0]


def test_unrated_clips_are_left_out_and_the_raters_error_is_known():
    single = ((4.0, 6.0), (), (), ())
    clips = (
        Clip("a", "a", split="test", scores=(5.0, None, None, None), ratings=single),
        Clip("b", "b", split="test"),
    )
    run = Predictions("r", "test", ("b", "a"), np.array([[1.0, 2.0], [3.0, 4.0]]), ("CE", "CU"))
    ce, composite = series(run, ClipTable(clips), "test")
    assert (ce.axis, ce.title) == ("CE", "Content Enjoyment")
    assert (ce.predicted.tolist(), ce.rated.tolist(), ce.error.tolist()) == ([3.0], [5.0], [1.0])
    assert [clip.id for clip in ce.clips] == ["a"]
    assert composite.predicted.tolist() == [3.0]


def test_misses_have_a_line_per_clip_the_largest_first(one):
    frame = misses(one)
    assert sorted(frame["clip"]) == sorted(clip.id for clip in one.clips)
    assert (np.diff(frame.miss.abs()) <= 0).all()
    place = {clip.id: i for i, clip in enumerate(one.clips)}
    for line in frame.itertuples():
        i = place[line.clip]
        assert line.miss == one.predicted[i] - one.rated[i]
        assert line.std_errors == pytest.approx(abs(line.miss) / one.error[i])


def test_worst_lists_the_largest_misses_first(one):
    table = worst(one, 5)
    found = [abs(row[5]) for row in table.rows]
    assert len(found) == 5
    assert found == sorted(found, reverse=True)
    assert found[0] == pytest.approx(np.abs(one.predicted - one.rated).max())
