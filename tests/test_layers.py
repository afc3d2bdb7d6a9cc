"""Imports point down and nowhere else; each third party has one home; light modules stay light."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT

WHOLE = {
    "store", "store/ratings", "extract", "extract/corpora", "heads", "heads/stage_two.py", "heads/training",
    "heads/results",
    "heads/scoring",
}  # fmt: skip
"""What a verb may call that goes the whole way."""

ALLOWED = {
    "store": set(),
    "store/ratings": {"store"},
    "extract/encoders": {"store"},
    "extract": {"store", "extract/encoders"},
    "extract/corpora": {"store", "store/ratings", "extract"},
    "heads": {"store"},
    "heads/network": {"store", "heads"},
    "heads/training": {"store", "heads", "heads/network"},
    "heads/tuning": {"store", "heads", "heads/network", "heads/training"},
    "heads/results": {"store", "heads"},
    "heads/scoring": {
        "store",
        "heads",
        "heads/network",
        "heads/training",
        "heads/results",
        "extract/front.py",
    },
    "heads/stage_two.py": {"store", "heads", "heads/training", "heads/tuning"},
    "heads/commands.py": {"store", "heads", "heads/stage_two.py"},
    "pipeline.py": {*WHOLE, "heads/commands.py", "mmmos/train", "mmmos/reproduce"},
    "mmmos": {"store", "heads/scoring"},
    "mmmos/train": WHOLE,
    "mmmos/reproduce": WHOLE,
}
"""Room -> the rooms that it may import from, beside itself.  A room is a folder, or a file named here."""

HOMES = {
    "h5py": {"store/"},
    "transformers": {"extract/encoders/"},
    "muq": {"extract/encoders/"},
    "optuna": {"heads/tuning/"},
    "joblib": {"heads/training/", "extract/", "store/cluster.py"},
    "distributed": {"store/cluster.py"},
    "dask": {"store/cluster.py"},
    "soundfile": {"extract/audio.py", "extract/decoding.py"},
    "soxr": {"extract/audio.py"},
    "scipy": {"heads/", "extract/loudness.py"},
    "pyloudnorm": {"extract/loudness.py"},
    "sklearn": {"heads/network/closed_form.py"},
    "matplotlib": {"heads/plotting.py"},
    "jinja2": {"heads/documents.py"},
    "torchmetrics": {"mmmos/metrics.py"},
}


def sources() -> list[Path]:
    folders = ("store", "extract", "heads", "mmmos")
    return [path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))] + [
        ROOT / "pipeline.py"
    ]


def imports(path: Path) -> Iterator[tuple[str, int]]:
    """(module, line) of every import in a file, inside functions too.

    `from package import module` counts as an import of that module.
    """
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative imports hide which layer is meant"
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield inner if file_of(inner) else (node.module or ""), node.lineno


def file_of(module: str) -> str | None:
    """ "mmmos.store.files" -> "store/files.py"; None for a module that is not ours."""
    inside = module.removeprefix("mmmos.").replace(".", "/")
    if not module.startswith("mmmos."):
        return None
    for name in (f"{inside}.py", f"{inside}/__init__.py"):
        if (ROOT / name).is_file():
            return name
    return None


def room_of(name: str) -> str:
    """The room that a file is in: itself where it is one, else its folder."""
    return name if name in ALLOWED else name.rpartition("/")[0]


@pytest.mark.parametrize("path", sources(), ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_point_down(path: Path) -> None:
    name = path.relative_to(ROOT).as_posix()
    for module, line in imports(path):
        used = file_of(module)
        if used is None:
            assert module.split(".")[0] not in {"store", "extract", "heads", "pipeline", "tests"}, (
                f"{name}:{line}: own modules are imported as mmmos.{module}"
            )
            continue
        ours, theirs = room_of(name), room_of(used)
        if ours == theirs or {theirs, used} & ALLOWED[ours]:
            continue
        pytest.fail(f"{name}:{line}: {ours} must not import {theirs} ({used})")


@pytest.mark.parametrize("path", sources(), ids=lambda path: str(path.relative_to(ROOT)))
def test_every_third_party_has_one_home(path: Path) -> None:
    name = path.relative_to(ROOT).as_posix()
    for module, line in imports(path):
        homes = HOMES.get(module.split(".")[0])
        assert homes is None or any(name.startswith(home) for home in homes), (
            f"{name}:{line}: {module} lives in {', '.join(sorted(homes))}"
        )


def test_no_files_import_each_other() -> None:
    graph = {}
    for path in sources():
        name = path.relative_to(ROOT).as_posix()
        graph[name] = {file for module, _ in imports(path) if (file := file_of(module))} - {name}
    while outside := {name for name, used in graph.items() if not used & graph.keys()} or (
        graph.keys() - set().union(*graph.values())
    ):
        graph = {name: used for name, used in graph.items() if name not in outside}
    assert not graph, f"these files import each other: {sorted(graph)}"


NOT_IMPORTED = {
    "muq": "imported by name, past its own __init__ (see extract/encoders/muq.py)",
    "einops": "muq needs it",
    "easydict": "muq needs it",
}
"""Declared dependencies that no file imports yet, each with its reason."""

IMPORT_NAMES = {"scikit-learn": "sklearn", "huggingface-hub": "huggingface_hub"}


def test_every_declared_dependency_is_imported() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    declared = {re.split(r"[\[<>=~!;, ]", line)[0] for line in project["dependencies"]}
    used = {module.split(".")[0] for path in sources() for module, _ in imports(path)}
    unused = {name for name in declared if IMPORT_NAMES.get(name, name) not in used}
    assert unused == NOT_IMPORTED.keys()


def test_the_command_line_imports_layers_inside_its_verbs() -> None:
    tree = ast.parse((ROOT / "pipeline.py").read_text(encoding="utf-8"))
    top = [node for node in tree.body if isinstance(node, ast.ImportFrom | ast.Import)]
    names = {alias.name for node in top for alias in node.names}
    heavy = {"torch", "h5py", "optuna", "pandas", "numpy"}
    assert not names & heavy, f"imported before any verb is known: {sorted(names & heavy)}"


LIGHT = {
    "mmmos.heads.metrics",
    "mmmos.heads.ensemble",
    "mmmos.heads.grids",
    "mmmos.heads.runs",
    "mmmos.heads.results.comparison",
    "mmmos.heads.results.baselines",
    "mmmos.heads.results.report",
    "mmmos.store.features",
    "mmmos.pipeline",
}


@pytest.mark.parametrize("module", sorted(LIGHT))
def test_light_modules_load_no_torch(module: str) -> None:
    check = f"import {module}, sys; sys.exit('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", check], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr or f"{module} loaded torch"


def test_no_room_names_a_path_of_the_machine_it_was_written_on() -> None:
    """A path below a home, a mount or a temporary folder, whatever machine this test runs on."""
    personal = re.compile(r"""["'\s=](/home/\w|/root\b|/Users/\w|/mnt/\w|/tmp/\w)""")
    for path in sources():
        found = personal.search(path.read_text(encoding="utf-8"))
        assert not found, f"{path.relative_to(ROOT)} names {found[1] if found else ''}"
