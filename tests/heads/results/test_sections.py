"""What the sections show: the figures that the rows hold, beside the right ceiling and baseline."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace

import pytest

from mmmos.heads.results import sections
from mmmos.heads.results.assess import ENSEMBLE, compare_ensembles, evaluate_runs
from mmmos.heads.results.baselines import DOMAIN_ORACLE, TRAIN_MEAN
from mmmos.heads.results.chosen import load_ensemble
from mmmos.heads.results.experiment import open_experiment
from mmmos.heads.results.series import series
from mmmos.store.table import Table
from tests.heads.made_up import find, made_up_work


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    experiment = open_experiment(made_up_work(tmp_path_factory.mktemp("work")))
    ensemble = load_ensemble(experiment)
    return sections.Findings(
        experiment,
        ensemble,
        "test",
        evaluate_runs(experiment, [ENSEMBLE]),
        compare_ensembles(experiment),
        tuple(series(ensemble.predict(experiment.runs, "test"), experiment.table, "test")),
    )


def headline(found, run, level, metric):
    return find(
        found.scored.rows, run=run, split="test", level=level, domain="all", axis="composite", metric=metric
    )


def test_the_headlines_are_srcc_lcc_and_mse_of_the_composite(found):
    shown = sections.tiles(found.scored.rows, found.ensemble.id, "test")
    assert [tile.label for tile in shown] == [
        "SRCC over 12 systems", "SRCC over 96 clips", "LCC over 96 clips", "MSE over 96 clips",
    ]  # fmt: skip
    wanted = (("system", "srcc"), ("utterance", "srcc"), ("utterance", "lcc"), ("utterance", "mse"))
    for tile, (level, metric) in zip(shown, wanted, strict=True):
        row = headline(found, found.ensemble.id, level, metric)
        name, run = ("train mean", TRAIN_MEAN) if metric == "mse" else ("domain alone", DOMAIN_ORACLE)
        base = headline(found, run, level, metric)
        assert tile.value == f"{row.value:.3f}"
        assert tile.detail.split("; ") == [
            "composite, test",
            f"95 %: {row.low:.2f} to {row.high:.2f}",
            f"ceiling {row.ceiling:.2f}",
            *([] if base.value is None else [f"{name} {base.value:.2f}"]),
        ]
    assert ["domain alone" in tile.detail for tile in shown] == [True, True, True, False]
    assert "train mean" in shown[-1].detail


def test_a_headline_without_interval_ceiling_or_baseline_says_so(found):
    rows = [
        replace(row, value=None, low=None, high=None, ceiling=None, reason="all predictions are equal")
        for row in found.scored.rows
        if row.run == found.ensemble.id
    ]
    tile = sections.tiles(rows, found.ensemble.id, "test")[0]
    assert (tile.value, tile.detail) == ("–", "composite, test; all predictions are equal; ceiling unknown")


def test_the_bars_of_the_result_stand_beside_each_metrics_own_baseline(found, monkeypatch):
    drawn = {}
    monkeypatch.setattr(
        sections.plots, "bars", lambda rows, baselines, metric: drawn.update({metric: (rows, baselines)})
    )
    sections.result(found)
    assert drawn.keys() == {"srcc", "mse"}
    for metric, (rows, baselines) in drawn.items():
        assert {(row.run, row.split) for row in rows} == {(found.ensemble.id, "test")}
        run = TRAIN_MEAN if metric == "mse" else DOMAIN_ORACLE
        for level in ("utterance", "system"):
            expected = headline(found, run, level, metric).value
            assert baselines[level, "composite", metric] == expected


def test_the_ensembles_are_drawn_at_the_levels_of_the_paper(found, monkeypatch):
    drawn = []
    monkeypatch.setattr(sections.plots, "contenders", drawn.extend)
    sections.ensembles(found)
    names = dict(drawn)
    assert set(names) == set(found.compared.labels.values())
    for of_run in names.values():
        assert {split: (row.level, row.metric, row.axis) for split, row in of_run.items()} == {
            "dev": ("utterance", "srcc", "composite"),
            "pam": ("utterance", "srcc", "composite"),
            "test": ("system", "srcc", "composite"),
        }


def test_every_split_is_shown_in_full_in_one_of_two_sections(found):
    titles = {
        name: [block.title for block in sections.SECTIONS[name](found).blocks if isinstance(block, Table)]
        for name in ("result", "figures")
    }
    levels = [f"{level} level" for level in ("utterance", "system")]
    for split, name in (("test", "result"), ("dev", "figures"), ("pam", "figures")):
        for level in levels:
            assert sum(title.startswith(f"{split}, {level}") for title in titles[name]) == 1


def test_a_sweep_is_drawn_in_the_direction_of_its_metric(found, monkeypatch):
    folder = found.experiment.work / "sweeps"
    folder.mkdir()
    trials = [{"number": n, "state": "complete", "value": 0.5 + n / 10} for n in range(3)]
    trials.append({"number": 3, "state": "failed", "value": None})
    study = {"trials": trials, "reason": "", "first": trials[0], "best": trials[2]}
    study |= {"difference": 0.2, "low": 0.1, "high": 0.3}
    for metric in ("srcc", "mse"):
        named = {"study": metric, "objective": f"pam:{metric}"} | study
        (folder / f"{metric}.json").write_text(json.dumps(named))
    drawn = {}
    monkeypatch.setattr(
        sections.plots,
        "sweep",
        lambda values, first, name, lower: drawn.update({name: (values, first, lower)}),
    )
    table, *_ = sections.sweeps(found).blocks
    values = [(0, 0.5), (1, 0.6), (2, 0.7)]
    assert drawn == {"pam:srcc": (values, 0.5, False), "pam:mse": (values, 0.5, True)}
    assert table.rows[1] == ("srcc", "pam:srcc", 4, 0.5, 0.7, 0.2, "[0.100, 0.300]", "")


def test_no_sweep_no_section(found, tmp_path):
    assert sections.sweeps(replace(found, experiment=replace(found.experiment, work=tmp_path))) is None


@dataclass(frozen=True)
class Trained:
    """A run of which only the record is asked."""

    config: object
    encoders: tuple[str, ...]
    record: dict = field(default_factory=dict)


def test_of_many_runs_of_one_kind_the_first_ones_curve_is_shown(found):
    runs = found.experiment.runs
    better = Trained(runs[0].config, runs[0].encoders, {"better": True})
    shown = sections.first_of_each_kind([better, *reversed(runs)])
    assert list(shown) == ["ccc", "con", "dcq", "ut"]
    assert [len(kinds) for kinds in shown.values()] == [4, 4, 4, 4]
    kind = f"{'+'.join(better.encoders)} {better.config.aggregator}"
    assert dict(shown[better.config.loss])[kind] == {"better": True}


@pytest.mark.parametrize("name", sections.SECTIONS)
def test_every_section_has_a_title_an_opening_sentence_and_something_to_show(found, name):
    section = sections.SECTIONS[name](found)
    if section is None:  # there is nothing to tell
        return
    assert section.title
    assert section.opening.endswith(".")
    assert section.blocks
    for block in section.blocks:
        if isinstance(block, Table):
            assert {len(row) for row in block.rows} <= {len(block.columns)}
        else:
            assert (block.caption if isinstance(block, sections.Plot) else block).strip()
