"""Who reads a product file finds its tests at the same place below tests/, or is told here where they are."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.conftest import ROOT

ROOMS = ("store", "extract", "heads", "mmmos")

ELSEWHERE: dict[str, str] = {
    "extract/chunked.py": "tests/extract/test_container.py",
    "extract/cluster.py": "tests/test_cluster.py",
    "extract/commands.py": "tests/test_pipeline.py",
    "extract/encoders/__init__.py": "tests/extract/encoders/test_contract.py",
    "extract/encoders/audiobox.py": "tests/extract/encoders/test_aes.py",
    "extract/flac.py": "tests/extract/test_container.py",
    "extract/mpeg.py": "tests/extract/test_container.py",
    "extract/ogg.py": "tests/extract/test_container.py",
    "extract/promise.py": "tests/extract/test_container.py",
    "extract/encoders/encoder.py": "tests/extract/encoders/test_contract.py",
    "extract/encoders/hub_models.py": "tests/extract/encoders/test_own.py",
    "extract/encoders/licences.py": "tests/extract/encoders/test_own.py",
    "extract/encoders/m2d_fast.py": "tests/extract/encoders/test_contract.py",
    "extract/encoders/m2d_patches.py": "tests/extract/encoders/test_m2d.py",
    "extract/encoders/muq16k.py": "tests/extract/encoders/test_contract.py",
    "extract/encoders/muq_fast.py": "tests/extract/encoders/test_contract.py",
    "extract/encoders/wavlm_fast.py": "tests/extract/encoders/test_contract.py",
    "extract/rate.py": "tests/test_reproduce.py",
    "extract/survey_cache.py": "tests/extract/test_survey.py",
    "extract/run.py": "tests/test_pipeline.py",
    "extract/weights_commands.py": "tests/extract/test_fetch_weights.py",
    "heads/commands.py": "tests/test_pipeline.py",
    "heads/stage_two.py": "tests/test_pipeline.py",
    "heads/results/baselines.py": "tests/heads/results/test_evaluation.py",
    "heads/results/commands.py": "tests/test_pipeline.py",
    "heads/results/page.py": "tests/heads/results/test_report.py",
    "heads/scoring/bundle_files.py": "tests/heads/scoring/test_bundle_check.py",
    "heads/scoring/result.py": "tests/heads/scoring/test_scorer.py",
    "heads/results/chosen.py": "tests/heads/results/test_assess.py",
    "heads/training/start.py": "tests/heads/training/test_fit.py",
    "heads/scoring/scores_spec.py": "tests/heads/scoring/test_prior.py",
    "heads/scoring/ab_commands.py": "tests/heads/scoring/test_commands.py",
    "heads/scoring/audiobox_commands.py": "tests/heads/scoring/test_audio_aes.py",
    "heads/scoring/calibration_commands.py": "tests/heads/scoring/test_calibration.py",
    "heads/scoring/bundle_folder.py": "tests/heads/scoring/test_export.py",
    "heads/scoring/loading.py": "tests/heads/scoring/test_scorer.py",
    "heads/recipe_file.py": "tests/test_train.py",
    "heads/results/nested.py": "tests/heads/results/test_out_of_fold.py",
    "extract/corpora/set_tables.py": "tests/extract/corpora/test_public_sets.py",
    "extract/corpora/table_command.py": "tests/test_train.py",
    "heads/scoring/predict_commands.py": "tests/heads/scoring/test_commands.py",
    "heads/scoring/tally.py": "tests/heads/scoring/test_scorer.py",
    "mmmos/__init__.py": "tests/test_mmmos.py",
    "heads/options.py": "tests/test_pipeline.py",
    "heads/results/mse_table.py": "tests/heads/results/test_reproduce.py",
    "heads/results/printed.py": "tests/heads/results/test_claims.py",
    "heads/results/studies.py": "tests/heads/results/test_sections.py",
    "heads/results/reproduction.py": "tests/heads/results/test_reproduce.py",
    "mmmos/reproduce/commands.py": "tests/test_reproduce.py",
    "mmmos/reproduce/cost.py": "tests/test_reproduce.py",
    "mmmos/train/commands.py": "tests/test_train.py",
    "mmmos/train/steps.py": "tests/test_train.py",
    "mmmos/train/verdict.py": "tests/test_train.py",
    "store/row_formats.py": "tests/store/test_rows.py",
    "store/suffixes.py": "tests/store/ratings/test_audio.py",
    "store/work_folder.py": "tests/test_overwriting.py",
    "store/ratings/grouping.py": "tests/store/ratings/test_reader.py",
    "store/ratings/meaning.py": "tests/store/ratings/test_reader.py",
    "store/ratings/roles.py": "tests/store/ratings/test_reader.py",
    "store/ratings/sheet.py": "tests/store/ratings/test_reader.py",
    "mmmos/audiobox.py": "tests/heads/scoring/test_audio_aes.py",
}
"""Product file -> the test file that specifies it, where that is not its mirror."""

ACROSS = {
    "tests/heads/scoring/test_reward.py": "what docs/reward.md says of rewards, with real clips",
    "tests/test_stopping.py": "every command can be stopped",
    "tests/heads/results/test_axes.py": "the results of a table with axes of its own",
    "tests/extract/encoders/test_contract.py": "what every encoder promises",
    "tests/extract/encoders/test_golden.py": "every encoder against reference outputs",
    "tests/extract/test_memory.py": "what an extraction may hold in memory",
    "tests/heads/results/test_out_of_fold.py": "results of a table without dev and test splits",
    "tests/heads/test_ties.py": "means that tie in exact arithmetic, from ratings to figures",
    "tests/heads/results/test_new_metric.py": "what one entry of METRICS brings about",
    "tests/heads/tuning/test_sweep_postgres.py": "a sweep whose study lies in PostgreSQL",
    "tests/store/test_store_machine.py": "a store under random sequences of calls",
}
"""Test files that specify something that no single product file does."""


def product_files() -> list[str]:
    """Every product file with code of its own, relative to the root."""
    found = [path for room in ROOMS for path in sorted((ROOT / room).rglob("*.py"))]
    return [path.relative_to(ROOT).as_posix() for path in (*found, ROOT / "pipeline.py") if has_code(path)]


def has_code(path: Path) -> bool:
    """False for a file that is empty or holds a docstring only."""
    body = ast.parse(path.read_text(encoding="utf-8")).body
    return any(not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)) for node in body)


def mirror_of(name: str) -> str:
    """ "store/files.py" -> "tests/store/test_files.py"."""
    path = Path("tests") / name
    return path.with_name(f"test_{path.name}").as_posix()


@pytest.mark.parametrize("name", product_files())
def test_a_product_file_has_its_test_file_or_a_line_that_says_where_it_is_tested(name: str) -> None:
    mirror, elsewhere = mirror_of(name), ELSEWHERE.get(name)
    if (ROOT / mirror).is_file():
        assert elsewhere is None, f"{name} has {mirror}: take its line out of ELSEWHERE"
    else:
        assert elsewhere is not None, f"write {mirror}, or say in ELSEWHERE where {name} is tested"
        assert (ROOT / elsewhere).is_file(), f"{name} is said to be tested in {elsewhere}, which is not there"


def test_every_line_is_about_a_file_that_is_there() -> None:
    assert [name for name in ELSEWHERE if name not in product_files()] == []
    assert [name for name in ACROSS if not (ROOT / name).is_file()] == []


def test_a_test_file_of_a_room_is_the_mirror_of_a_product_file() -> None:
    """A product file that moves takes its test file along."""
    expected = {mirror_of(name) for name in product_files()} | {*ELSEWHERE.values(), *ACROSS}
    found = [path for room in ROOMS for path in sorted((ROOT / "tests" / room).rglob("test_*.py"))]
    assert [name for path in found if (name := path.relative_to(ROOT).as_posix()) not in expected] == []
