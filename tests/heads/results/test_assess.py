"""What the commands `evaluate`, `ensemble` and `ensemble --compare` do, in one call each."""

from __future__ import annotations

import errno
from dataclasses import replace

import pandas as pd
import pytest

from mmmos.heads.ensemble import FURTHER, TABLE4, Ensemble
from mmmos.heads.metrics import METRICS
from mmmos.heads.results.assess import compare_ensembles, evaluate_runs, select_ensemble
from mmmos.heads.results.experiment import open_experiment
from mmmos.heads.results.published import predictions_path
from mmmos.heads.results.report import write_report
from mmmos.heads.results.tables import members
from mmmos.store import files
from mmmos.store.console import OK
from tests.heads.made_up import CAVEAT, find, made_up_run, made_up_table, made_up_work


@pytest.fixture(scope="module")
def experiment(tmp_path_factory):
    return open_experiment(made_up_work(tmp_path_factory.mktemp("work")))


def test_an_ensemble_is_chosen_and_kept(experiment):
    chosen = select_ensemble(experiment, "top:pam:4")
    assert Ensemble.load(experiment.work / "ensemble.json") == chosen
    table = members(experiment, chosen)
    assert len(table.rows) == 4
    assert table.rows[0][1] == 0.25


def test_evaluate_scores_the_ensemble_beside_baselines_and_the_best_single(experiment):
    got = evaluate_runs(experiment)
    written = pd.read_csv(experiment.work / "evaluation.csv")
    # Four runs and baselines, three splits, two levels, three domains and all together, four axes and all.
    assert len(written) == len(got.rows) == 4 * 3 * 2 * 4 * 5 * len(METRICS)
    assert set(written.run) == {row.run for row in got.rows}
    assert {row.run for row in got.rows if row.run.startswith("baseline")} == {
        "baseline: train mean",
        "baseline: domain oracle",
    }
    assert len({row.run for row in got.rows}) == 4
    assert got.caveats == (CAVEAT,)
    assert got.comparisons
    assert len(pd.read_csv(experiment.work / "comparison.csv")) == len(got.comparisons)
    # An undefined figure is an empty cell, and the reason stands beside it.
    undefined = written[written.value.isna()]
    assert len(undefined) == sum(row.value is None for row in got.rows) > 0
    assert undefined.reason.notna().all()
    assert "the test split was looked at 2 times so far: 1 ensembles and 1 runs" in got.notes


def test_what_could_not_be_kept_is_not_said_to_be(cli, tmp_path, monkeypatch):
    work, write = made_up_work(tmp_path), files.write_csv
    said = cli("evaluate", "--work", work).err
    assert f"all rows: {work / 'evaluation.csv'}, comparisons: {work / 'comparison.csv'}" in said
    closed = []

    def refuse(path, columns, rows):
        if path.name in closed:
            raise OSError(errno.EROFS, "Read-only file system", str(path))
        write(path, columns, rows)

    monkeypatch.setattr(files, "write_csv", refuse)
    for name in ("evaluation.csv", "comparison.csv"):
        closed.append(name)
        done = cli("evaluate", "--work", work)
        assert done.code == OK
        assert f"{work / name} is not kept: Read-only file system" in done.err
        assert f": {work / name}" not in done.err
    assert "all rows" not in done.err


def test_named_runs_are_compared_with_a_named_run(experiment):
    got = evaluate_runs(experiment, ["wavlm+m2d mlp ut"], against="wavlm+m2d mlp con")
    assert {(c.run.rsplit("-", 1)[0], c.other.rsplit("-", 1)[0]) for c in got.comparisons} == {
        ("mlp-ut", "mlp-con")
    }
    with pytest.raises(ValueError, match="0 runs are called 'nonsense'"):
        evaluate_runs(experiment, ["nonsense"])


def test_compare_prints_table4_with_every_rule(experiment):
    got = compare_ensembles(experiment)
    (table,) = got.tables
    assert [row[1] for row in table.rows] == [*TABLE4, *FURTHER]
    assert {row[2] for row in table.rows if row[1] == "all"} == {16}
    assert any(note.startswith("greedy:oof: there are no stored predictions") for note in table.notes)
    assert all(c.metric == "srcc" and c.level == "system" for c in got.comparisons)
    # A second look reads the test figures back; they cannot move.
    again = compare_ensembles(experiment)
    test = [row for row in got.rows if row.split == "test"]
    assert [row for row in again.rows if row.split == "test"] == test


def test_compare_says_where_only_some_runs_could_be_chosen(tmp_path):
    work, table = made_up_work(tmp_path), made_up_table()
    for folder in sorted(work.glob("runs/*"))[:3]:
        trained = made_up_run(table, "train", 0.5, folder.name)
        replace(trained, split="oof").save(folder / "predictions-oof.parquet")
    (ensembles,) = compare_ensembles(open_experiment(work)).tables
    assert "On oof 3 of 16 runs have predictions; rules choose among them." in ensembles.notes
    assert not any(note.startswith("On dev") for note in ensembles.notes)


def test_one_axis_only_and_an_ensemble_of_other_data(tmp_path):
    experiment = open_experiment(made_up_work(tmp_path, made_up_table(axes=("PQ",))))
    got = evaluate_runs(experiment)
    assert {row.axis for row in got.rows} == {"PQ"}
    row = find(
        got.rows,
        run="baseline: domain oracle",
        split="dev",
        level="utterance",
        domain="all",
        axis="PQ",
        metric="mse",
    )
    assert row.value > 0
    path = tmp_path / "ensemble.json"
    kept = Ensemble.load(path)
    Ensemble(kept.rule, kept.members, kept.weights, "data-other").save(path)
    with pytest.raises(ValueError, match="was chosen on data-other"):
        evaluate_runs(experiment)
    assert len(compare_ensembles(experiment).tables[0].rows) == len({**TABLE4, **FURTHER})


def test_a_published_predictor_whose_predictions_are_stored_stands_beside_every_figure(tmp_path):
    """In the tables of `evaluate`, in evaluation.csv and in the report; else nowhere."""
    experiment = open_experiment(made_up_work(tmp_path))
    assert "audiobox" not in {row.run for row in evaluate_runs(experiment).rows}
    assert "audiobox" not in write_report(tmp_path).read_text(encoding="utf-8")
    for split in experiment.splits:
        said = replace(
            made_up_run(experiment.table, split, 0.9, "audiobox"), caveats=(CAVEAT, "not the real one")
        )
        said.save(predictions_path(experiment, "audiobox", split))
    got = evaluate_runs(experiment)
    expected = find(
        got.rows,
        run="audiobox",
        split="test",
        level="utterance",
        domain="all",
        axis="composite",
        metric="mse",
    )
    test = next(t for t in got.tables if t.title.startswith("test, utterance level"))
    shown = [line for line in test.rows if line[1] == "audiobox"]
    assert len(shown) == 5, "four axes and the composite"
    assert shown[-1][2] == f"{expected.value:.3f}"
    assert got.tables[-1].title == "Against audiobox"
    assert got.caveats == (CAVEAT, "not the real one")
    assert "audiobox" in set(pd.read_csv(tmp_path / "evaluation.csv").run)
    page = write_report(tmp_path).read_text(encoding="utf-8")
    assert "Against audiobox" in page
    assert "not the real one" in page
    assert page.count(">audiobox</td>") > 5


def test_a_predictor_that_lacks_a_split_does_not_stand_beside(tmp_path):
    experiment = open_experiment(made_up_work(tmp_path))
    said = made_up_run(experiment.table, "dev", 0.9, "audiobox")
    said.save(predictions_path(experiment, "audiobox", "dev"))
    assert "audiobox" not in {row.run for row in evaluate_runs(experiment, intervals=False).rows}
