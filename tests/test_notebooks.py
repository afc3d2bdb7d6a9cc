"""The notebooks are thin, stored without outputs, and run from top to bottom."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from mmmos.heads.results.experiment import open_experiment
from mmmos.heads.results.reproduce import reproduce
from tests.conftest import ROOT
from tests.corpus import small_corpus
from tests.heads.made_up import made_up_work

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
TORCH_FREE = [path for path in NOTEBOOKS if not path.name.startswith("05")]


FIGURES = {"01_heads": 1, "02_encoders": 0, "03_ensembles": 1, "04_errors": 2, "06_reproduce": 0}
"""Figures that a reader sees."""


def code_of(path: Path) -> list[str]:
    cells = nbformat.read(path, as_version=4).cells
    # Lines that call the shell or set up the notebook are no Python.
    return [re.sub(r"^[!%].*$", "pass", c.source, flags=re.MULTILINE) for c in cells if c.cell_type == "code"]


def run(path: Path, monkeypatch: pytest.MonkeyPatch, **environment: str) -> str:
    """Execute a notebook in a fresh kernel, in its own folder; all text that its cells put out."""
    for name, value in {"OMP_NUM_THREADS": "1", **environment}.items():
        monkeypatch.setenv(name, value)
    notebook = nbformat.read(path, as_version=4)
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(path.parent)}}).execute()
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    return "\n".join(str(output.get("text", output.get("data", ""))) for output in outputs)


def test_the_six_are_there():
    assert [path.stem for path in NOTEBOOKS] == [
        "01_heads", "02_encoders", "03_ensembles", "04_errors", "05_own_data", "06_reproduce",
    ]  # fmt: skip


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_thin_stripped_opening_with_what_it_shows_and_ending_with_what_to_do_next(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    opening = notebook.cells[0]
    assert opening.cell_type == "markdown"
    first = opening.source.split("\n")[0]
    assert first.startswith("This notebook shows ")
    assert first.endswith(".")
    assert first.count(". ") == 0
    ending = notebook.cells[-1]
    assert ending.cell_type == "markdown"
    assert ending.source.startswith("**Next.** ")
    links = re.findall(r"\]\(([^)]+)\)", opening.source + ending.source)
    assert all((path.parent / link).is_file() for link in links)
    if path.stem == "05_own_data":
        assert any("!{PIPELINE} train " in cell.source for cell in notebook.cells)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            assert cell.outputs == []
            assert cell.execution_count is None
    for source in code_of(path):
        kinds = {type(node) for node in ast.walk(ast.parse(source))}
        assert not kinds & {ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef}


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    work = made_up_work(tmp_path_factory.mktemp("work"))
    reproduce(open_experiment(work)).save(work)
    return work


@pytest.mark.parametrize("path", TORCH_FREE, ids=lambda path: path.stem)
def test_it_runs_on_stored_predictions_without_torch(path, work, monkeypatch):
    notebook = nbformat.read(path, as_version=4)
    notebook.cells.append(nbformat.v4.new_code_cell("assert 'torch' not in sys.modules"))
    copy = ROOT / "notebooks" / path.name
    monkeypatch.setattr(nbformat, "read", lambda *_, **__: notebook)
    text = run(copy, monkeypatch, MMMOS_WORK=str(work))
    assert "made-up ratings" in text
    assert text.count("image/png") == FIGURES[path.stem]


@pytest.mark.slow
@pytest.mark.parametrize("with_split", [True, False])
def test_own_data_goes_from_a_table_to_a_report(tmp_path, monkeypatch, with_split):
    ratings = small_corpus(tmp_path / "corpus", with_split=with_split)
    path = ROOT / "notebooks" / "05_own_data.ipynb"
    text = run(path, monkeypatch, MMMOS_WORK=str(tmp_path / "work"), MMMOS_RATINGS=str(ratings))
    assert "axes: CE, CU, PC, PQ" in text
    assert "PQ: SRCC" in text
    assert "Traceback" not in text
    assert ("out-of-fold figures" in text) == (not with_split)
    assert (tmp_path / "work" / "report.html").is_file()
