"""What is installed works from anywhere, also beside packages that are called like our layers."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

from mmmos import __version__
from tests.conftest import ROOT

LAYERS = ("store", "extract", "heads")


def run(*words: object, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """A program in a folder, without any PYTHONPATH; a failure shows what it printed."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [str(word) for word in words],
        cwd=cwd,
        env={**kept, "OMP_NUM_THREADS": "1", **environment},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, f"{' '.join(map(str, words))}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this tree, built with the hatchling that is installed here."""
    folder = tmp_path_factory.mktemp("wheel")
    offline = ("--no-deps", "--no-index", "--no-build-isolation", "--disable-pip-version-check")
    pip = (sys.executable, "-m", "pip", "wheel", *offline, "--wheel-dir", folder, ROOT)
    run(*pip, cwd=folder, PYTHONPATH=os.environ.get("PYTHONPATH", ""))
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def programs(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of `python` and `mmmos` in a fresh environment that holds the wheel.

    What MMMOS depends on comes from the environment that runs the tests.
    """
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=False, symlinks=True)
    python = folder / "bin" / "python"
    pip = (sys.executable, "-m", "pip", "--python", python, "install", "--no-deps", "--no-index", wheel)
    run(*pip, cwd=folder)
    (own,) = folder.glob("lib/python*/site-packages")
    (own / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return folder / "bin"


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working folder whose owner has packages of the same names as our layers."""
    folder = tmp_path_factory.mktemp("elsewhere")
    for name in (*LAYERS, "tests"):
        (folder / name).mkdir()
        (folder / name / "__init__.py").write_text(f"raise RuntimeError('this is another {name}')\n")
    (folder / "pipeline.py").write_text("raise RuntimeError('this is another pipeline')\n")
    return folder


def test_the_wheel_holds_every_module_below_one_name_and_nothing_else(wheel: Path) -> None:
    held = set(zipfile.ZipFile(wheel).namelist())
    assert {name.split("/")[0] for name in held} == {"mmmos", f"mmmos-{__version__}.dist-info"}
    modules = {f"mmmos/{path.relative_to(ROOT)}" for layer in LAYERS for path in (ROOT / layer).rglob("*.py")}
    own = {path.relative_to(ROOT).as_posix() for path in (ROOT / "mmmos").rglob("*.py")}
    assert {name for name in held if name.endswith(".py")} == modules | own | {"mmmos/pipeline.py"}
    assert "mmmos/py.typed" in held


def test_the_command_says_its_version_and_its_verbs(programs: Path, elsewhere: Path) -> None:
    assert run(programs / "mmmos", "--version", cwd=elsewhere).stdout == f"mmmos {__version__}\n"
    assert "predict" in run(programs / "mmmos", "--help", cwd=elsewhere).stdout


def test_public_names_are_imported_from_the_wheel_and_not_from_the_working_folder(
    programs: Path, elsewhere: Path
) -> None:
    code = "import mmmos; from mmmos import *; print(mmmos.__file__, *sorted(mmmos.__all__))"
    found, *names = run(programs / "python", "-c", code, cwd=elsewhere).stdout.split()
    assert Path(found).is_relative_to(programs.parent)
    assert {"load_bundle", "Scorer", "load_table", "FeatureStore", "Predictions"} <= set(names)


@pytest.mark.slow
def test_the_demonstration_runs_beside_packages_of_the_same_names(programs: Path, elsewhere: Path) -> None:
    mmmos = programs / "mmmos"
    assert "Three test files" in run(mmmos, "demo", "--work", "demo", cwd=elsewhere).stdout
    assert "SRCC" in run(mmmos, "evaluate", "--work", "demo", cwd=elsewhere).stdout
    audio = sorted((elsewhere / "demo/corpus/audio").iterdir())[0]
    told = run(mmmos, "predict", audio, "--work", "demo", cwd=elsewhere).stdout
    code = (
        "from mmmos import load_bundle; import json, sys;"
        "print(json.dumps(load_bundle('demo/bundle').files([sys.argv[1]])[0]))"
    )
    assert run(programs / "python", "-c", code, audio, cwd=elsewhere).stdout == told
