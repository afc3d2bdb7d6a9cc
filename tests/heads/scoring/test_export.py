"""From a work folder to a bundle."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from mmmos import __version__
from mmmos.heads.ensemble import from_weights
from mmmos.heads.results.experiment import open_experiment
from mmmos.heads.results.published import predictions_path
from mmmos.heads.scoring.bundle import ABOUT, CARD, read_bundle, save_bundle
from mmmos.heads.scoring.export import (
    add_to_bundle,
    bundle_of_work,
    collect,
    export_bundle,
    training_summary,
)
from mmmos.store import files, sealed
from mmmos.store.clips import ClipTable
from mmmos.store.schema import Axes, Clip, Scale
from tests.heads.scoring.experiment import Experiment, scoring_experiment


@pytest.fixture(scope="module")
def experiment() -> Experiment:
    return scoring_experiment()


def test_stale_heads_do_not_stay(experiment: Experiment, tmp_path: Path) -> None:
    opened = open_experiment(experiment.work)
    for run in opened.runs[:2]:
        bundle = collect(opened, from_weights("one", {run.id: 1.0}, opened.table.id), accuracy=False)
        save_bundle(bundle, tmp_path, "")
        assert [path.stem for path in (tmp_path / "heads").iterdir()] == [run.id]


def test_a_work_folders_bundle_is_made_once_and_again_for_another_ensemble(
    experiment: Experiment, tmp_path: Path
) -> None:
    work = Path(shutil.copytree(experiment.work, tmp_path / "work"))
    folder = bundle_of_work(work)
    before = (folder / ABOUT).stat().st_mtime_ns
    assert bundle_of_work(work) == folder
    assert (folder / ABOUT).stat().st_mtime_ns == before
    opened = open_experiment(work)
    from_weights("one", {opened.runs[0].id: 1.0}, opened.table.id).save(work / "ensemble.json")
    assert len(read_bundle(bundle_of_work(work)).heads) == 1
    assert not (work / "test-scores").exists() or len(list((work / "test-scores").iterdir())) == 1


def test_the_card_shows_a_published_predictor_that_was_scored_on_the_same_clips(
    experiment: Experiment, tmp_path: Path
) -> None:
    work = Path(shutil.copytree(experiment.work, tmp_path / "work"))
    opened = open_experiment(work)
    export_bundle(work, tmp_path / "without", golden=False)
    assert "Against" not in (tmp_path / "without" / CARD).read_text(encoding="utf-8")
    for split in opened.splits:
        said = replace(opened.runs[0].predictions(split), run="audiobox")
        said.save(predictions_path(opened, "audiobox", split))
    export_bundle(work, tmp_path / "with", golden=False)
    card = (tmp_path / "with" / CARD).read_text(encoding="utf-8")
    assert "Against audiobox" in card
    assert "MSE lower by" in card


def test_a_bundle_names_the_versions_that_made_it(experiment: Experiment) -> None:
    opened = open_experiment(experiment.work)
    one = from_weights("one", {opened.runs[0].id: 1.0}, opened.table.id)
    versions = collect(opened, one, accuracy=False).about["versions"]
    assert versions["mmmos"] == __version__
    assert {"torch", "numpy"} < versions.keys()


def test_what_the_heads_learnt_from_is_summed_up() -> None:
    def clip(name: str, split: str, scores: tuple[float | None, ...], ratings: tuple = ()) -> Clip:
        return Clip(
            name,
            f"{name}.wav",
            domain="speech" if name < "c" else "",
            system=name,
            split=split,
            scores=scores,
            ratings=ratings,
            duration_s=1800.0,
            axes=("MOS", "SIG"),
        )

    clips = (
        clip("a", "train", (3.0, None), ((2.0, 4.0), ())),
        clip("b", "train", (3.0, 1.0), ((1.0, 3.0, 5.0), (1.0,))),
        clip("c", "train", (None, 2.0)),
        clip("d", "dev", (1.0, 1.0)),
    )
    summary = training_summary(ClipTable(clips, Scale(1, 5), axes=Axes(("MOS", "SIG"))))
    assert summary["scale"] == {"low": 1, "high": 5}
    assert summary["splits"].keys() == {"train", "dev"}
    assert summary["splits"]["train"] == {
        "clips": 3,
        "hours": 1.5,
        "domains": {"speech": 2, "unnamed": 1},
        "systems": 3,
        "ratings_per_score": 2.0,
        "rated": {"MOS": 2, "SIG": 2},
    }


def test_titles_of_other_axes_travel_with_a_bundle(experiment: Experiment, tmp_path: Path) -> None:
    opened = open_experiment(experiment.work)
    names = opened.table.axes.names
    own = Axes(names, ("Enjoyment", "Use", "Complexity", "Quality"))
    renamed = replace(opened, table=replace(opened.table, axes=own))
    one = from_weights("one", {opened.runs[0].id: 1.0}, opened.table.id)
    plain, titled = (collect(made, one, accuracy=False) for made in (opened, renamed))
    assert "titles" not in plain.about
    assert read_bundle(save_bundle(titled, tmp_path, "")).axes == own
    assert titled.id == plain.id, "titles change no score"


def test_an_entry_is_added_to_a_bundle_and_its_card(experiment: Experiment, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(experiment.bundle, tmp_path / "bundle"))
    card = {
        "axes": ["PQ"],
        "files": 3,
        "rows": [{"change": "mono", "shift": {"PQ": 0.5}, "size": {"PQ": 0.6}, "n": 3}],
    }
    add_to_bundle(copy, "sensitivity", card, {"sensitivity.svg": "<svg/>"})
    assert (copy / "sensitivity.svg").read_text() == "<svg/>"
    assert "| mono | +0.50 (0.60) | 3 |" in (copy / CARD).read_text().replace("\\", "")
    before, after = (sealed.read_object(folder / ABOUT) for folder in (experiment.bundle, copy))
    assert before.pop("shown").keys() == {CARD}
    assert after.pop("shown").keys() == {CARD, "sensitivity.svg"}
    assert after == {**before, "sensitivity": card}


def test_a_card_changed_by_hand_and_heads_of_somebody_else_are_not_written_over(
    experiment: Experiment, tmp_path: Path
) -> None:
    copy = Path(shutil.copytree(experiment.bundle, tmp_path / "bundle"))
    mine = copy / "heads" / "mine.safetensors"
    mine.write_bytes(b"mine")
    with pytest.raises(ValueError, match=r"holds heads/mine\.safetensors"):
        save_bundle(read_bundle(copy), copy, "")
    mine.unlink()
    card = (copy / CARD).read_text()
    (copy / CARD).write_text(f"{card}\nOur own words.\n")
    with pytest.raises(ValueError, match=r"README\.md was changed by hand"):
        add_to_bundle(copy, "sensitivity", {}, {})
    (copy / CARD).write_text(card)
    save_bundle(read_bundle(copy), copy, "new")
    assert (copy / CARD).read_text() == "new"


def test_what_somebody_else_keeps_in_a_folder_stays(experiment: Experiment, tmp_path: Path) -> None:
    (tmp_path / "heads").mkdir()
    (tmp_path / "README.md").write_text("mine")
    (tmp_path / "heads" / "mine.safetensors").write_bytes(b"mine")
    for write in (
        lambda: export_bundle(experiment.work, tmp_path, golden=False, accuracy=False),
        lambda: save_bundle(read_bundle(experiment.bundle), tmp_path, ""),
    ):
        with pytest.raises(ValueError, match=r"README\.md, heads/mine\.safetensors"):
            write()
    assert (tmp_path / "README.md").read_text() == "mine"
    assert (tmp_path / "heads" / "mine.safetensors").read_bytes() == b"mine"


def test_an_export_that_fails_leaves_the_old_bundle_whole(
    experiment: Experiment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = Path(shutil.copytree(experiment.bundle, tmp_path / "bundle"))
    before = {path: path.read_bytes() for path in copy.rglob("*") if path.is_file()}

    def full(*args: object, **options: object) -> None:
        raise OSError(28, "No space left on device")

    for name in ("write_text", "write_atomic"):
        with monkeypatch.context() as patch:
            patch.setattr(files, name, full)
            for write in (
                lambda: save_bundle(read_bundle(copy), copy, "new"),
                lambda: add_to_bundle(copy, "sensitivity", {}, {"sensitivity.svg": "<svg/>"}),
            ):
                with pytest.raises((OSError, KeyError)):
                    write()
    assert {path: path.read_bytes() for path in copy.rglob("*") if path.is_file()} == before
    assert [path.name for path in tmp_path.iterdir()] == ["bundle"]
