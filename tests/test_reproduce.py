"""`reproduce` makes the paper's tables from clips and weights, says beforehand what it costs, and resumes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from mmmos.extract.demo_corpus import synthesise
from mmmos.heads.results.reproduction import REPRODUCTION_FILE, Reproduction
from mmmos.heads.run_sets import trained_grids
from mmmos.reproduce.cost import EncoderCost, Plan, configs_of
from mmmos.store.clips import ClipTable
from mmmos.store.schema import EncoderSpec
from tests.conftest import Outcome

TINY = ("--random-weights", "0", "--size", "tiny", "--scale", "1,10", "--device", "cpu", "--jobs", "1")
CAVEATS = ("synthetic audio", "untrained wavlm", "untrained muq", "untrained m2d")


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return synthesise(tmp_path_factory.mktemp("corpus"))


@pytest.mark.slow
def test_the_paper_in_one_command(cli: Callable[..., Outcome], clips: Path, tmp_path: Path) -> None:
    work = tmp_path / "w"
    words = ("reproduce", "--clips", clips, "--work", work, *TINY, "--epochs", "2")
    done = cli(*words, "--dry-run")
    assert done.code == 0, done.err
    assert "What it costs" in done.out
    assert "21 heads, 21 of them to be trained" in done.out
    assert "measuring muq on 2 crops" in done.err
    assert not (work / "clips.json").exists()
    done = cli(*words)
    assert done.code == 0, done.err
    titles = [line for line in done.out.splitlines() if line.startswith(("Table I", "The "))]
    assert len(titles) == 5
    for title in (*titles, next(line for line in done.out.splitlines() if "What it costs" in line)):
        assert all(caveat in title for caveat in CAVEATS), title
    assert all("epochs 2" in title for title in titles)
    assert "the paper's is not known" in done.out
    found = Reproduction.load(work)
    assert found.seeds == (0,)
    assert {figure.seeds for figure in found.figures} == {1}
    page = (work / "report.html").read_text()
    assert "Table III: the sixteen configurations" in page
    assert [grid["grid"] for grid in trained_grids(work)] == ["encoders", "paper"]
    # The second time nothing is encoded or trained, and the same comes out.
    kept = json.loads((work / REPRODUCTION_FILE).read_text())
    (work / REPRODUCTION_FILE).unlink()
    again = cli(*words)
    assert "21 heads, 0 of them to be trained" in again.out
    assert "measuring" not in again.err
    assert again.out.count(": 0 trained now") == 2
    assert json.loads((work / REPRODUCTION_FILE).read_text()) == kept


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (("--encoders", "wavlm,logmel"), "'logmel' has no place"),
        (("--baseline", "audiobx"), "audiobox"),
        (("--size", "huge"), "huge"),
        (("--clips", "nowhere.csv"), "nowhere.csv"),
    ],
)
def test_what_cannot_be_meant_is_refused_before_anything_is_done(
    cli: Callable[..., Outcome], clips: Path, tmp_path: Path, given: tuple[str, ...], told: str
) -> None:
    done = cli("reproduce", "--clips", clips, "--work", tmp_path / "w", *TINY, *given)
    assert done.code == 2
    assert told in done.err
    assert not (tmp_path / "w").exists()


def test_a_table_of_other_axes_or_without_held_out_clips_is_refused(
    cli: Callable[..., Outcome], clips: Path, tmp_path: Path
) -> None:
    text = clips.read_text()
    for change, told in (
        (
            text.replace("CE,CU,PC,PQ", "A,B,C,D").replace(
                "CE_ratings,CU_ratings,PC_ratings,PQ_ratings", "A_ratings,B_ratings,C_ratings,D_ratings"
            ),
            "CE",
        ),
        (
            text.replace(",dev,", ",train,").replace(",pam,", ",train,").replace(",test,", ",train,"),
            "dev, pam, test",
        ),
    ):
        other = clips.with_name("other.csv")
        other.write_text(change)
        done = cli("reproduce", "--clips", other, "--work", tmp_path / "w", *TINY)
        assert done.code == 2
        assert told in done.err
        assert not (tmp_path / "w").exists()


def spec(name: str) -> EncoderSpec:
    about = ("custom:0", "0" * 64, "full", "mean", 16000, 50.0, 500, 8, 2, "fp32", 1, "audio")
    return EncoderSpec(name, *about, gflop=200.0)  # type: ignore[arg-type]


def cost(*encoders: EncoderCost, seconds_a_head: tuple[float, ...] = ()) -> Plan:
    configs = configs_of("data-0", [one.spec for one in encoders], seeds=3)
    return Plan(ClipTable(()), 90, encoders, configs, seconds_a_head)


def test_the_cost_is_crops_times_the_measured_rate() -> None:
    encoders = [EncoderCost(spec(name), 1800, 2.0) for name in ("wavlm", "muq")]
    planned = cost(*encoders, EncoderCost(spec("m2d"), 0, None), seconds_a_head=(30.0, 90.0))
    rows = {row[0]: row[1:] for row in planned.shown().rows}
    assert rows["wavlm"] == (1800, 360_000.0, 2.0, 1.0)
    assert rows["m2d"] == (0, 0.0, None, 0.0)
    assert rows["all"] == (3600, 720_000.0, None, 2.0)
    assert "63 heads, 61 of them to be trained: 1.02 hours" in planned.shown().notes[0]


def test_what_cannot_be_measured_has_no_hours() -> None:
    shown = cost(EncoderCost(spec("wavlm"), 5, None), EncoderCost(spec("muq"), 5, 1.0)).shown()
    assert [row[-1] for row in shown.rows] == [None, pytest.approx(5 / 3600), None]
    assert "not known before the first one is trained" in shown.notes[0]


def test_fewer_encoders_leave_those_places_of_the_tables_that_they_suffice_for() -> None:
    configs = configs_of("data-0", [spec("m2d"), spec("wavlm")])
    assert {name: len(of) for name, of in configs.items()} == {"encoders": 3, "paper": 4}
    configs = configs_of("data-0", [spec("muq")])
    assert {name: len(of) for name, of in configs.items()} == {"encoders": 1, "paper": 0}
