"""Plots draw what they are given: the right points, intervals, ceilings and labels with units."""

from __future__ import annotations

from dataclasses import replace
from xml.etree import ElementTree

import numpy as np
import pytest

from mmmos.heads.metrics import METRICS
from mmmos.heads.plotting import INK, SERIES, to_svg
from mmmos.heads.results import plots
from mmmos.heads.results.evaluation import rows
from mmmos.heads.results.series import series
from mmmos.store.escape import inert
from mmmos.store.schema import Scale
from tests.heads.made_up import made_up_run, made_up_table

SCALE = Scale(0, 10)
CURVE = {"best_epoch": 2, "curve": [{"number": n, "train_loss": 1 / n, "dev_loss": 2 / n} for n in (1, 2, 3)]}


@pytest.fixture(scope="module")
def data():
    table = made_up_table()
    return series(made_up_run(table, "test", 0.5), table, "test")


@pytest.fixture(scope="module")
def scored():
    table = made_up_table()
    return rows(made_up_run(table, "test", 0.5), table.of("test"), 20)


def figures(data, scored):
    return {
        "scatter": plots.scatter(data, SCALE),
        "ranking": plots.ranking(data[0], SCALE),
        "calibration": plots.calibration(data, SCALE),
        "bars": plots.bars(scored, {("utterance", "CE", "mse"): 0.2}, "mse"),
        "contenders": plots.contenders([("one", {"test": scored[0]}), ("two", {"test": scored[1]})]),
        "curves": plots.curves({"ut": [("a", CURVE)], "con": [("a", CURVE), ("b", CURVE)]}),
        "sweep": plots.sweep([(1, 0.5), (0, 0.4), (2, 0.3)], 0.4, "pam:srcc"),
    }


LABELS = {
    "scatter": ("rated (points, 0-10)", "predicted (points, 0-10)"),
    "ranking": ("mean Content Enjoyment of a system (points, 0-10)", ""),
    "calibration": ("predicted (points, 0-10)", "rated (points, 0-10)"),
    "bars": ("", "MSE (squared units of the scale)"),
    "contenders": ("CE SRCC", ""),
    "curves": ("epoch", "loss (z-scored targets)"),
    "sweep": ("trial", "pam:srcc"),
}


def test_every_panel_has_labelled_axes_with_their_units(data, scored):
    for name, figure in figures(data, scored).items():
        for panel in figure.axes:
            assert (panel.get_xlabel(), panel.get_ylabel()) == LABELS[name], name


def test_equal_figures_give_equal_texts(data, scored):
    again = figures(data, scored)
    for name, figure in figures(data, scored).items():
        text = to_svg(figure)
        assert text == to_svg(again[name]), name
        assert "<text" in text


def intervals(container):
    """(low, high) of each horizontal or vertical bar of an error bar plot."""
    (bars,) = container[2]
    along = 0 if container.has_xerr else 1
    return [tuple(float(end) for end in segment[:, along]) for segment in bars.get_segments()]


def test_every_point_of_a_scatter_says_which_clip_it_is(data):
    odd = replace(data[0], clips=(replace(data[0].clips[0], id='<b>&"\u202e'), *data[0].clips[1:]))
    for one in (data[0], odd):
        svg = to_svg(plots.scatter([one], SCALE))
        names = [
            element.text for element in ElementTree.fromstring(svg).iter() if element.tag.endswith("title")
        ]
        assert names == [inert(clip.id) for clip in one.clips]
        assert "point:" not in svg


def test_scatter_puts_each_clip_where_it_belongs_with_one_standard_error(data):
    one = data[0]
    panel = plots.scatter([one], SCALE).axes[0]
    assert panel.get_title() == "Content Enjoyment"
    drawn = {}
    for container in panel.containers:
        points = [tuple(point) for point in container[0].get_xydata()]
        drawn |= dict(zip(points, intervals(container), strict=True))
    assert drawn.keys() == set(zip(one.rated.tolist(), one.predicted.tolist(), strict=True))
    for rated, predicted, error in zip(one.rated, one.predicted, one.error, strict=True):
        assert drawn[rated, predicted] == pytest.approx((rated - error, rated + error))


def test_ranking_is_by_the_rated_mean_with_95_percent_intervals_over_clips(data):
    one = data[0]
    panel = plots.ranking(one, SCALE).axes[0]
    names = [tick.get_text() for tick in panel.get_yticklabels()]
    systems = np.array([clip.system for clip in one.clips])
    rated, predicted = panel.containers
    assert (np.diff(rated[0].get_xdata()) >= 0).all()
    for container, values in ((rated, one.rated), (predicted, one.predicted)):
        for name, mean, bounds in zip(names, container[0].get_xdata(), intervals(container), strict=True):
            own = values[systems == name]
            half = 1.96 * own.std(ddof=1) / np.sqrt(len(own))
            assert mean == pytest.approx(own.mean())
            assert bounds == pytest.approx((own.mean() - half, own.mean() + half))


def test_calibration_bins_have_95_percent_intervals(data):
    one = data[0]
    panel = plots.calibration([one], SCALE, bins=4).axes[0]
    (container,) = panel.containers
    bins = np.array_split(np.argsort(one.predicted, kind="stable"), 4)
    for (x, y), bounds, members in zip(container[0].get_xydata(), intervals(container), bins, strict=True):
        own = one.rated[members]
        half = 1.96 * own.std(ddof=1) / np.sqrt(len(own))
        assert (x, y) == pytest.approx((one.predicted[members].mean(), own.mean()))
        assert bounds == pytest.approx((own.mean() - half, own.mean() + half))
    assert f"bias {np.mean(one.predicted - one.rated):+.2f}" in panel.get_title()


def lines_of(panel, colour):
    """Middle x -> (from x, y) to (to x, y) of the line segments of a colour."""
    from matplotlib.colors import to_rgba

    found = {}
    for collection in panel.collections:
        if tuple(collection.get_color()[0]) == to_rgba(colour):
            for segment in collection.get_segments():
                found[round(float(segment[:, 0].mean()))] = segment
    return found


@pytest.mark.parametrize("metric", METRICS)
def test_bars_show_value_interval_ceiling_and_baseline_of_every_axis(scored, metric):
    base = {
        (level, axis, metric): 0.1 + number / 100
        for level in ("utterance", "system")
        for number, axis in enumerate(("CE", "CU", "PC", "PQ", "composite"))
    }
    figure = plots.bars(scored, base, metric)
    assert [panel.get_title() for panel in figure.axes] == ["utterance level, n = 96", "system level, n = 12"]
    for panel, level in zip(figure.axes, ("utterance", "system"), strict=True):
        shown = [r for r in scored if (r.level, r.domain, r.metric) == (level, "all", metric)]
        assert [tick.get_text() for tick in panel.get_xticklabels()] == [row.axis for row in shown]
        assert [bar.get_height() for bar in panel.patches] == [row.value for row in shown]
        spans, ceilings, trivial = (lines_of(panel, colour) for colour in (INK, SERIES[2], SERIES[1]))
        for place, row in enumerate(shown):
            assert spans[place][:, 1].tolist() == [row.low, row.high]
            assert (place in ceilings) == (METRICS[metric].ceiling is not None)
            assert place not in ceilings or ceilings[place][:, 1].tolist() == [row.ceiling] * 2
            assert trivial[place][:, 1].tolist() == [base[level, row.axis, metric]] * 2
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    low = METRICS[metric].better == "low"
    bound = {"least possible error" if low else "human ceiling"} if METRICS[metric].ceiling else set()
    assert set(labels) == {"run", "train mean" if low else "domain alone"} | bound


def test_contenders_stand_at_their_value_with_their_interval(scored):
    one, two = scored[0], replace(scored[1], low=None, high=None)
    figure = plots.contenders([("one", {"dev": two, "test": one}), ("two", {"test": two})])
    panel = figure.axes[0]
    drawn = [(line.get_xdata()[0], round(float(line.get_ydata()[0]))) for line in panel.lines]
    assert drawn == [(two.value, 0), (one.value, 0), (two.value, 1)]
    (span,) = (segment for collection in panel.collections for segment in collection.get_segments())
    assert span[:, 0].tolist() == [one.low, one.high]
    assert [tick.get_text() for tick in panel.get_yticklabels()] == ["one", "two"]


def test_curves_mark_the_epoch_whose_weights_are_kept():
    (panel,) = plots.curves({"ut": [("a", CURVE)]}).axes
    train, dev, best = panel.lines
    assert train.get_xydata().tolist() == [[1, 1], [2, 1 / 2], [3, 1 / 3]]
    assert dev.get_xydata().tolist() == [[1, 2], [2, 1], [3, 2 / 3]]
    assert best.get_xydata().tolist() == [[2, 1]]


def test_the_legend_names_what_stands_in_any_panel_once():
    figure = plots.curves({"ccc": [("a", CURVE)], "ut": [("a", CURVE), ("b", CURVE)]})
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["a", "b"]


def test_sweep_best_so_far_goes_the_way_of_the_metric():
    for lower, best in ((False, [0.4, 0.5, 0.5]), (True, [0.4, 0.4, 0.3])):
        figure = plots.sweep([(2, 0.3), (0, 0.4), (1, 0.5)], None, "x", lower_is_better=lower)
        assert figure.axes[0].lines[1].get_ydata().tolist() == best


def test_what_is_not_known_is_not_drawn(scored):
    record = {"best_epoch": 1, "curve": [{"number": 1, "train_loss": 1.0, "dev_loss": None}]}
    (panel,) = plots.curves({"ut": [("a", record)]}).axes
    assert [np.isnan(line.get_ydata()).all() for line in panel.lines] == [False, True, True]
    bare = [replace(row, ceiling=None, low=None, high=None) for row in scored]
    panel = plots.bars(bare, {}, "mse").axes[0]
    assert not lines_of(panel, SERIES[2])
    assert not lines_of(panel, SERIES[1])
    undefined = [replace(row, value=None) for row in bare]
    assert not plots.bars(undefined, {}, "mse").axes[0].patches


@pytest.mark.filterwarnings("error")
def test_long_names_leave_room_for_the_figure(scored):
    name = " = ".join(["PAM top 8", "PAM top 4", "submitted: dev top 12 and PAM top 12"] * 3)
    figure = plots.contenders([(name, {"test": scored[0]}), ("short", {"test": scored[1]})])
    assert "<text" in to_svg(figure)
