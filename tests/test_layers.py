"""Imports point down and nowhere else; each third party has one home; light modules stay light."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT

LAYERS = ("store", "extract", "heads")

FORBIDDEN = {
    "store": {"extract", "heads", "pipeline", "torch"},
    "extract": {"heads", "pipeline"},
    "heads": {"extract", "pipeline"},
}

# Scoring new audio is the one thing that needs both stages; it imports them inside a function.
CROSSINGS = {("heads/bundle.py", "extract")}

HOMES = {
    "h5py": {"store/"},
    "transformers": {"extract/encoders/"},
    "muq": {"extract/encoders/"},
    "optuna": {"heads/sweep.py"},
    "joblib": {"heads/", "extract/", "store/cluster.py"},
    "distributed": {"store/cluster.py"},
    "dask": {"store/cluster.py"},
    "soundfile": {"extract/audio.py"},
    "soxr": {"extract/audio.py"},
    "scipy": {"heads/"},
    "matplotlib": {"heads/results/plots.py"},
}


def sources() -> list[Path]:
    return [path for layer in LAYERS for path in sorted((ROOT / layer).rglob("*.py"))] + [
        ROOT / "pipeline.py"
    ]


def imports(path: Path) -> Iterator[tuple[str, int]]:
    """(first part of the module's name, line) of every import in a file, inside functions too."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((alias.name.split(".")[0], node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative imports hide which layer is meant"
            yield (node.module or "").split(".")[0], node.lineno


@pytest.mark.parametrize("path", sources(), ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_down(path: Path) -> None:
    name = path.relative_to(ROOT).as_posix()
    layer = name.split("/")[0]
    for module, line in imports(path):
        if module in FORBIDDEN.get(layer, ()):
            assert (name, module) in CROSSINGS, f"{name}:{line}: {layer}/ must not import {module}"
        homes = HOMES.get(module)
        if homes is not None:
            assert any(name.startswith(home) for home in homes), (
                f"{name}:{line}: {module} lives in {', '.join(sorted(homes))}"
            )


@pytest.mark.parametrize("path", [ROOT / "pipeline.py"], ids=["pipeline"])
def test_the_command_line_imports_layers_inside_its_verbs(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    top = {alias.name for node in tree.body if isinstance(node, ast.Import) for alias in node.names}
    top |= {node.module or "" for node in tree.body if isinstance(node, ast.ImportFrom)}
    heavy = {
        name
        for name in top
        if name.split(".")[0] in {"extract", "heads", "torch", "h5py", "optuna", "pandas"}
        and not name.endswith("commands")
    }
    assert not heavy, f"imported before any verb is known: {sorted(heavy)}"


@pytest.mark.parametrize(
    "statement",
    [
        "import heads.metrics",
        "import heads.ensemble",
        "import heads.results.evaluation",
        "import store.features",
        "import pipeline",
    ],
)
def test_light_modules_load_no_torch(statement: str) -> None:
    check = f"{statement}; import sys; sys.exit('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", check], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr or f"{statement} loaded torch"


def test_no_room_names_a_path_of_the_machine_it_was_written_on() -> None:
    for path in sources():
        assert str(ROOT) not in path.read_text(encoding="utf-8")
