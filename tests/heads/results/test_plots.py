"""Plots draw what they are given: the right points, labels with units, nothing where nothing is known."""

from __future__ import annotations

import numpy as np
import pytest

from mmmos.heads.results import plots
from mmmos.heads.results.evaluation import rows
from mmmos.heads.results.pairs import misses, series, worst
from mmmos.store.predictions import Predictions
from mmmos.store.schema import Clip, Scale
from tests.heads.made_up import made_up_run, made_up_table

SCALE = Scale(0, 10)
CURVE = {"best_epoch": 2, "curve": [{"number": n, "train_loss": 1 / n, "dev_loss": 2 / n} for n in (1, 2, 3)]}


@pytest.fixture(scope="module")
def data():
    table = made_up_table()
    return series(made_up_run(table, "test", 0.5), table.of("test"))


@pytest.fixture(scope="module")
def scored():
    table = made_up_table()
    return rows(made_up_run(table, "test", 0.5), table.of("test"), 20)


def figures(data, scored):
    return {
        "scatter": plots.scatter(data, SCALE),
        "ranking": plots.ranking(data[0], SCALE),
        "calibration": plots.calibration(data, SCALE),
        "bars": plots.bars(scored, {("utterance", "CE", "srcc"): 0.2}, "srcc"),
        "contenders": plots.contenders([("one", {"test": scored[0]}), ("two", {"test": scored[1]})]),
        "curves": plots.curves({"ut": [("a", CURVE)], "con": [("a", CURVE), ("b", CURVE)]}),
        "sweep": plots.sweep([(1, 0.5), (0, 0.4), (2, 0.3)], 0.4, "pam:srcc"),
    }


def test_every_panel_has_labelled_axes_and_equal_figures_give_equal_texts(data, scored):
    once, again = figures(data, scored), figures(data, scored)
    for name, figure in once.items():
        for panel in figure.axes:
            assert panel.get_xlabel() or panel.get_ylabel(), name
        text = plots.to_svg(figure)
        assert text == plots.to_svg(again[name]), name
        assert "<text" in text


def test_the_legend_names_what_stands_in_any_panel_once():
    figure = plots.curves({"ccc": [("a", CURVE)], "ut": [("a", CURVE), ("b", CURVE)]})
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["a", "b"]


def test_series_leave_unrated_clips_out_and_know_the_raters_error():
    single = ((4.0, 6.0), (), (), ())
    clips = [Clip("a", "a", scores=(5.0, None, None, None), ratings=single), Clip("b", "b")]
    run = Predictions("r", "test", ("b", "a"), np.array([[1.0, 2.0], [3.0, 4.0]]), ("CE", "CU"))
    ce, composite = series(run, clips)
    assert (ce.predicted.tolist(), ce.rated.tolist(), ce.error.tolist()) == ([3.0], [5.0], [1.0])
    assert [clip.id for clip in ce.clips] == ["a"]
    assert composite.predicted.tolist() == [3.0]


def test_scatter_puts_each_clip_where_it_belongs(data):
    panel = plots.scatter(data[:1], SCALE).axes[0]
    drawn = np.concatenate([line.get_xydata() for line in panel.lines if line.get_marker() != "None"])
    expected = np.stack([data[0].rated, data[0].predicted], axis=1)
    assert {tuple(row) for row in expected} <= {tuple(row) for row in drawn}
    assert panel.get_xlabel() == "rated (points, 0-10)"


def test_ranking_is_by_the_rated_mean(data):
    panel = plots.ranking(data[0], SCALE).axes[0]
    rated = panel.lines[0].get_xdata()
    assert (np.diff(rated) >= 0).all()
    assert len(panel.get_yticklabels()) == 8


def test_sweep_best_so_far_goes_the_way_of_the_metric():
    for lower, best in ((False, [0.4, 0.5, 0.5]), (True, [0.4, 0.4, 0.3])):
        figure = plots.sweep([(2, 0.3), (0, 0.4), (1, 0.5)], None, "x", lower_is_better=lower)
        assert figure.axes[0].lines[1].get_ydata().tolist() == best


def test_a_run_without_dev_loss_or_ceiling_is_drawn(scored):
    record = {"best_epoch": 1, "curve": [{"number": 1, "train_loss": 1.0, "dev_loss": None}]}
    assert plots.curves({"ut": [("a", record)]}).axes
    bare = [row.__class__(**{**row.__dict__, "ceiling": None, "low": None, "high": None}) for row in scored]
    assert plots.bars(bare, {}, "mse").axes


def test_worst_lists_the_largest_misses_first(data):
    table = worst(data[0], 5)
    misses = [abs(row[5]) for row in table.rows]
    assert misses == sorted(misses, reverse=True)
    assert misses[0] == pytest.approx(np.abs(data[0].predicted - data[0].rated).max())


def test_misses_have_a_line_a_clip(data):
    frame = misses(data[0])
    assert len(frame) == len(data[0].clips)
    np.testing.assert_allclose(frame.miss, data[0].predicted - data[0].rated)
    np.testing.assert_allclose(frame.std_errors, abs(frame.miss) / data[0].error)


@pytest.mark.filterwarnings("error")
def test_long_names_leave_room_for_the_figure(scored):
    name = " = ".join(["PAM top 8", "PAM top 4", "submitted: dev top 12 and PAM top 12"] * 3)
    figure = plots.contenders([(name, {"test": scored[0]}), ("short", {"test": scored[1]})])
    assert "<text" in plots.to_svg(figure)
