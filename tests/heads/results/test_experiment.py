"""Reading a work folder: the runs of its table, what they predict, and what is said when it is not there."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from mmmos.heads.metrics import composite, srcc
from mmmos.heads.results.experiment import NotStoredError, open_experiment
from mmmos.store.clips import ClipTable, save_table
from tests.heads.made_up import CAVEAT, made_up_run, made_up_table, made_up_work


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    return made_up_work(tmp_path_factory.mktemp("work"))


def test_the_runs_of_the_table_and_their_predictions(work):
    experiment = open_experiment(work)
    assert len(experiment.runs) == 16
    assert experiment.splits == ("dev", "pam", "test")
    assert experiment.caveats == (CAVEAT,)
    run = experiment.run("wavlm+muq+m2d blstm_t ut")
    assert run.encoders == ("wavlm", "muq", "m2d")
    assert experiment.run(run.id[:18]) == run
    assert run.predictions("pam").clip_ids == tuple(clip.id for clip in experiment.table.of("pam"))
    with pytest.raises(NotStoredError, match="no stored predictions on 'oof'"):
        run.predictions("oof")
    with pytest.raises(ValueError, match="16 runs are called ''"):
        experiment.run("")


def test_the_pool_holds_composite_srcc_and_never_test(work):
    experiment = open_experiment(work)
    assert set(experiment.pool.scores) == {"dev", "pam"}
    run = experiment.runs[3]
    truth = experiment.table.scores(experiment.table.of("dev"))
    expected = srcc(*composite(run.predictions("dev").values, truth))
    assert experiment.pool.scores["dev"][run.id] == expected
    assert experiment.pool.encoders[run.id] == run.encoders


def test_an_encoder_costs_what_the_records_of_its_runs_say(tmp_path):
    work = made_up_work(tmp_path)
    assert open_experiment(work).gflop["muq"] == 426.0
    assert "newcomer" not in open_experiment(work).gflop
    path = next((work / "runs").glob("*/record.json"))
    told = {"newcomer-000000000000": {"name": "newcomer", "gflop": 12.5}}
    path.write_text(json.dumps(json.loads(path.read_text()) | {"encoders": told}))
    assert open_experiment(work).gflop["newcomer"] == 12.5
    assert open_experiment(work).pool.gflop == open_experiment(work).gflop


def test_runs_that_store_clips_in_another_order_are_aligned(tmp_path):
    work = made_up_work(tmp_path)
    before = open_experiment(work).pool
    last = sorted((work / "runs").iterdir())[-1]
    stored = made_up_run(made_up_table(), "dev", 0.5, last.name)
    stored.save(last / "predictions-dev.parquet")
    straight = open_experiment(work).pool
    turned = replace(stored, clip_ids=stored.clip_ids[::-1], values=stored.values[::-1].copy())
    turned.save(last / "predictions-dev.parquet")
    pool = open_experiment(work).pool
    np.testing.assert_array_equal(pool.predictions["dev"][last.name], stored.values)
    assert pool.scores == straight.scores != before.scores


def test_out_of_fold_predictions_of_training_clips_join_the_pool(tmp_path):
    work = made_up_work(tmp_path)
    table = made_up_table()
    for folder in (work / "runs").iterdir():
        made_up_run(table, "train", 0.5, folder.name).save(tmp_path / "x")
        replace(made_up_run(table, "train", 0.5, folder.name), split="oof").save(
            folder / "predictions-oof.parquet"
        )
    pool = open_experiment(work).pool
    assert set(pool.scores) == {"dev", "pam", "oof"}
    assert pool.truth["oof"].shape == (120, 4)


def test_runs_without_record_or_of_other_data_are_not_counted(tmp_path):
    work = made_up_work(tmp_path)
    folders = sorted((work / "runs").iterdir())
    (folders[0] / "record.json").unlink()
    assert len(open_experiment(work).runs) == 15
    table = made_up_table()
    save_table(ClipTable(table.clips[:-1], caveats=table.caveats), work / "clips.json")
    with pytest.raises(NotStoredError, match="the 15 there belong to another clip table"):
        open_experiment(work)


def test_missing_things_are_named_with_the_command_that_makes_them(tmp_path):
    with pytest.raises(NotStoredError, match=r"pipeline\.py extract"):
        open_experiment(tmp_path)
    save_table(made_up_table(), tmp_path / "clips.json")
    with pytest.raises(NotStoredError, match=r"pipeline\.py heads"):
        open_experiment(tmp_path)


def test_a_swapped_file_is_noticed(tmp_path):
    work = made_up_work(tmp_path)
    one, two = sorted((work / "runs").iterdir())[:2]
    (one / "predictions-dev.parquet").write_bytes((two / "predictions-dev.parquet").read_bytes())
    with pytest.raises(ValueError, match=f"holds run {two.name}"):
        _ = open_experiment(work).pool
    config = json.loads((one / "config.json").read_text()) | {"seed": 5}
    (one / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match="is the config of"):
        open_experiment(work)


def test_runs_that_predict_other_clips_do_not_mix(tmp_path):
    work = made_up_work(tmp_path)
    folder = sorted((work / "runs").iterdir())[0]
    run = made_up_run(made_up_table(), "pam", 1.0, folder.name)
    replace(run, clip_ids=run.clip_ids[1:], values=np.array(run.values[1:])).save(
        folder / "predictions-pam.parquet"
    )
    with pytest.raises(ValueError, match="different clips or axes on pam"):
        _ = open_experiment(work).pool
