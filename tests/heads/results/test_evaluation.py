"""Rows: every figure of a run with interval, ceiling and reason, on made-up and hand-made clips."""

from __future__ import annotations

import math
from dataclasses import asdict, replace

import numpy as np
import pytest

from mmmos.heads.metrics import LEVELS, METRICS, system_means, tie_safe
from mmmos.heads.results.baselines import DOMAIN_ORACLE, TRAIN_MEAN, baselines
from mmmos.heads.results.ceiling import ceiling
from mmmos.heads.results.evaluation import evaluate, parts, rows
from mmmos.store.clips import ClipTable
from mmmos.store.predictions import Predictions
from mmmos.store.schema import AES_AXES, Clip
from tests.heads.made_up import find, made_up_run, made_up_table


@pytest.fixture(scope="module")
def table():
    return made_up_table()


@pytest.fixture(scope="module")
def got(table):
    return rows(made_up_run(table, "test", 0.5), table.of("test"))


def test_there_is_one_row_for_everything(table, got):
    keys = [(r.level, r.domain, r.axis, r.metric) for r in got]
    assert len(keys) == len(set(keys)) == len(LEVELS) * 4 * 5 * len(METRICS)
    assert {r.axis for r in got} == {*table.axes, "composite"}
    assert {r.domain for r in got} == {"all", "music", "sound", "speech"}


def test_values_are_the_metrics_of_the_clips_and_of_the_system_means(table, got):
    clips, run = table.of("test"), made_up_run(table, "test", 0.5)
    truth = table.scores(clips)
    systems = [clip.system for clip in clips]
    for name, metric in METRICS.items():
        row = find(got, level="utterance", domain="all", axis="PQ", metric=name)
        assert row.value == metric(run.values[:, 3], truth[:, 3])
        assert row.n == 96
        row = find(got, level="system", domain="all", axis="composite", metric=name)
        means = [system_means(tie_safe(values.mean(axis=1)), systems)[1] for values in (run.values, truth)]
        assert row.value == pytest.approx(metric(*means), abs=1e-12)
        assert row.n == 12
    speech = [i for i, clip in enumerate(clips) if clip.domain == "speech"]
    row = find(got, level="utterance", domain="speech", axis="CE", metric="lcc")
    assert row.value == METRICS["lcc"](run.values[speech, 0], truth[speech, 0])
    assert row.ceiling == ceiling([clips[i].ratings[0] for i in speech]).of("lcc")


def test_intervals_hold_their_values(table, got):
    for row in got:
        if row.domain == "all":
            assert row.clusters == "system"
            assert row.low < row.value < row.high
        elif row.level == "system":
            assert (row.low, row.reason) == (None, "no interval: 4 systems, and 10 are needed")
        else:
            assert row.low < row.value < row.high
            assert "further clips of these systems" in row.reason


def test_intervals_shrink_with_data():
    """Four times as many clips of every system: less chance in each system's mean error."""
    table = made_up_table()
    clips, run = table.of("test"), made_up_run(table, "test", 0.5)
    small, large = (
        find(rows(run, part), level="utterance", domain="all", axis="CE", metric="mse")
        for part in (clips[:24], clips)
    )
    assert large.high - large.low < 0.7 * (small.high - small.low)


def test_rows_are_the_same_every_time_and_in_any_order_of_predictions(table, got):
    run = made_up_run(table, "test", 0.5)
    order = np.random.default_rng(1).permutation(len(run.clip_ids))
    shuffled = replace(run, clip_ids=tuple(run.clip_ids[i] for i in order), values=run.values[order])
    assert rows(shuffled, table.of("test")) == got
    assert evaluate([shuffled, run], table.of("test")) == got + got


def test_undefined_is_none_with_a_reason_never_nan_or_zero(table):
    clips = table.of("test")
    flat = Predictions("flat", "test", tuple(c.id for c in clips), np.full((len(clips), 4), 5.0))
    for row in rows(flat, clips):
        for name, number in asdict(row).items():
            assert not (isinstance(number, float) and math.isnan(number)), name
        if not METRICS[row.metric].varied:
            assert row.value > 0
        else:
            assert (row.value, row.low, row.high) == (None, None, None)
            assert row.reason == "all predictions are equal"


def test_an_axis_never_rated_has_no_rows_and_the_composite_is_over_the_others():
    table = made_up_table(axes=("CE", "PQ"))
    run = made_up_run(table, "test", 0.5, axes=("CE", "PQ"))
    got = rows(run, table.of("test"), intervals=False)
    assert {r.axis for r in got} == {"CE", "PQ", "composite"}
    row = find(got, level="utterance", domain="all", axis="composite", metric="srcc")
    rated = table.scores(table.of("test"))[:, [0, 3]]
    assert row.value == METRICS["srcc"](*(tie_safe(s.mean(axis=1)) for s in (run.values, rated)))
    one = rows(made_up_run(table, "test", 0.5, axes=("PQ",)), table.of("test"), intervals=False)
    assert {r.axis for r in one} == {"PQ"}


def test_unrated_clips_are_left_out_of_their_axis_only():
    clips = [
        Clip(
            f"c{i}",
            f"c{i}.wav",
            system=f"s{i % 6}",
            scores=(float(i), None if i % 2 else float(i), None, None),
        )
        for i in range(12)
    ]
    run = Predictions("r", "test", tuple(c.id for c in clips), np.arange(24.0).reshape(12, 2), ("CE", "CU"))
    got = rows(run, clips)
    n = {r.axis: r.n for r in got if (r.level, r.metric) == ("utterance", "mse")}
    assert n == {"CE": 12, "CU": 6, "composite": 12}
    assert all(r.ceiling is None for r in got)


@pytest.mark.parametrize(
    ("system", "group", "kind"),
    [("s{}", "", "system"), ("one", "g{}", "group"), ("", "g{}", "group"), ("one", "", "clip")],
)
def test_what_is_drawn_depends_on_what_there_is_enough_of(system, group, kind):
    clips = [
        Clip(
            f"c{i}",
            f"{i}.wav",
            system=system.format(i % 12),
            group=group.format(i % 13),
            scores=(float(i % 10),) * 4,
        )
        for i in range(40)
    ]
    assert {part.kind for part in parts(clips, AES_AXES.names) if part.level == "utterance"} == {kind}
    run = Predictions("r", "test", tuple(c.id for c in clips), np.random.default_rng(0).normal(5, 1, (40, 4)))
    row = find(rows(run, clips), level="system", domain="all", axis="CE", metric="mse")
    if kind == "system":
        assert (row.n, row.low is None) == (12, False)
    else:
        assert row.low is None
        assert row.reason in {"no interval: 1 system, and 10 are needed", "no rated clips"}


def test_a_run_that_leaves_clips_out_is_refused(table):
    run = made_up_run(table, "test", 0.5)
    part = replace(run, clip_ids=run.clip_ids[1:], values=run.values[1:])
    with pytest.raises(
        ValueError, match=r"no prediction on test for 1 of 96 clips, the first of them 'test-000'"
    ):
        rows(part, table.of("test"))


def test_baselines_are_what_they_say(table):
    mean, oracle = baselines(table, "test")
    assert (mean.run, oracle.run) == (TRAIN_MEAN, DOMAIN_ORACLE)
    assert mean.caveats == table.caveats
    np.testing.assert_allclose(mean.values[5], table.scores(table.of("train")).mean(axis=0))
    music = [i for i, clip in enumerate(table.of("test")) if clip.domain == "music"]
    np.testing.assert_allclose(
        oracle.values[music], table.scores(table.of("test"))[music].mean(axis=0)[None].repeat(32, 0)
    )
    got = evaluate([mean, oracle], table.of("test"), intervals=False)
    of_mean = find(got, run=TRAIN_MEAN, level="utterance", domain="all", axis="CE", metric="mse").value
    of_oracle = find(got, run=DOMAIN_ORACLE, level="utterance", domain="all", axis="CE", metric="mse").value
    assert of_oracle < of_mean
    assert (
        find(got, run=DOMAIN_ORACLE, level="utterance", domain="music", axis="CE", metric="lcc").value is None
    )


def test_baselines_leave_out_what_was_never_rated():
    table = made_up_table(axes=("PQ",))
    assert [one.axes for one in baselines(table, "test")] == [("PQ",), ("PQ",)]
    untrained = ClipTable(tuple(clip for clip in table if clip.split == "test"))
    assert [one.run for one in baselines(untrained, "test")] == [DOMAIN_ORACLE]
    assert baselines(table, "none") == []


def test_a_domain_without_ratings_of_an_axis_gets_the_mean_over_all_domains():
    clips = [
        Clip(f"c{i}", f"{i}.wav", domain=domain, split="test", scores=(1.0 + i, score, None, None))
        for i, (domain, score) in enumerate([("music", 2.0), ("music", 4.0), ("speech", None)])
    ]
    (oracle,) = baselines(ClipTable(tuple(clips)), "test")
    assert oracle.axes == ("CE", "CU")
    assert oracle.values.tolist() == [[1.5, 3.0], [1.5, 3.0], [3.0, 3.0]]
