"""Results of any listening test: five axes of other names from a table to the report."""

from __future__ import annotations

import pytest

from mmmos.heads.metrics import srcc
from mmmos.heads.plotting import to_svg
from mmmos.heads.results import plots, tables
from mmmos.heads.results.assess import compare_ensembles, evaluate_runs
from mmmos.heads.results.baselines import baselines
from mmmos.heads.results.evaluation import evaluate, main_axis
from mmmos.heads.results.experiment import open_experiment
from mmmos.heads.results.report import write_report
from mmmos.heads.results.series import misses, series, worst
from mmmos.heads.tuning.objective import Objective, held_back
from mmmos.store.schema import Axes
from tests.heads.made_up import find, made_up_run, made_up_table, made_up_work

MANY = Axes(tuple(f"axis {n}" for n in range(12)))
FIVE = Axes(
    ("MOS", "SIG", "BAK", "OVRL", "$X$<b>"),
    ("Overall quality", "Signal", "Background", "Overall", "In $dollars$"),
)


@pytest.fixture(scope="module")
def table():
    return made_up_table(of=FIVE)


@pytest.fixture(scope="module")
def experiment(tmp_path_factory, table):
    return open_experiment(made_up_work(tmp_path_factory.mktemp("work"), table))


def test_every_axis_is_evaluated_beside_its_baselines(experiment, table):
    rows = evaluate_runs(experiment).rows
    assert {row.axis for row in rows} == {*FIVE, "composite"}
    run = experiment.runs[0]
    clips = table.of("test")
    row = find(
        evaluate([run.predictions("test")], clips, 0), level="utterance", domain="all", axis="BAK",
        metric="mse",
    )  # fmt: skip
    assert row.value == pytest.approx(
        ((run.predictions("test").values[:, 2] - table.scores(clips, ["BAK"])[:, 0]) ** 2).mean()
    )
    assert [one.axes for one in baselines(table, "test")] == [FIVE.names, FIVE.names]
    assert main_axis(row.axis for row in rows) == "composite"
    assert compare_ensembles(experiment).tables


def test_tables_list_the_axes_in_their_order(table):
    rows = evaluate([made_up_run(table, "test", 0.5)], table.of("test"), intervals=False)
    clips, _ = tables.figures(rows, "run", "test", "ours")
    assert [line[0] for line in clips.rows if line[0]] == [*FIVE, "composite"]
    assert [line[0] for line in tables.raters(table, "test").rows] == [*FIVE, "composite"]
    assert [line[0] for line in tables.domains(rows, "run", "test").rows] == [*FIVE, "composite"]


def test_the_report_shows_them_as_text(experiment):
    page = write_report(experiment.work).read_text()
    for name in FIVE:
        assert name.replace("<b>", "&lt;b&gt;") in page
    assert "In $dollars$" in page
    assert "$X$<b>" not in page


@pytest.mark.parametrize("axes", [Axes(("MOS",)), FIVE, MANY])
def test_plots_have_room_for_any_number_of_axes(axes):
    table = made_up_table(of=axes)
    run = made_up_run(table, "test", 0.5)
    data = series(run, table, "test")
    count = len(axes) + (len(axes) > 1)
    assert [one.title for one in data][: len(axes)] == list(axes.titles)
    assert len(plots.scatter(data, table.scale).axes) == count
    assert len(plots.calibration(data, table.scale).axes) == count
    bars = plots.bars(evaluate([run], table.of("test"), 0), {}, "srcc")
    assert len(bars.axes[0].get_xticks()) == count
    for figure in (bars, plots.ranking(data[0], table.scale)):
        assert "<text" in to_svg(figure)
    assert len(misses(data[-1])) == 96
    assert worst(data[-1], 3).rows[0][0].startswith("test-")


def test_a_search_may_look_at_any_axis_of_its_table(table):
    objective = Objective.parse("dev:srcc:SIG")
    objective.require(table.clips)
    run = made_up_run(table, "dev", 0.5)
    clips, hidden = table.of("dev"), held_back(table.of("dev"))
    seen = [n for n, clip in enumerate(clips) if clip.id not in hidden]
    expected = srcc(run.values[seen, 1], table.scores(clips, ["SIG"])[seen, 0])
    assert objective.value(run, clips) == expected
    with pytest.raises(ValueError, match=r"unknown axis 'CE'.*MOS"):
        Objective.parse("dev:srcc:CE").require(table.clips)
