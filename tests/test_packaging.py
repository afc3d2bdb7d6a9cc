"""What the project declares, what its lock pins and where its caps end agree, checked without a network."""

from __future__ import annotations

import re
import sys
import tomllib
from importlib.metadata import PackageNotFoundError, distribution

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.conftest import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
PYTHONS = ("3.11", "3.12", "3.13")
LEFT_OUT_OF_THE_LOCK = {"librosa", "nnaudio", "torchaudio", "x-clip"}
"""muq declares them for models that are not used here; two of them bring what may not load (Decision 14)."""


def lock(python: str) -> dict[str, str]:
    """Name -> version of what the lock installs on this version of Python."""
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    pinned = [Requirement(line) for line in lines if line and not line.startswith("#")]
    environment = {"python_version": python, "python_full_version": f"{python}.0"}
    chosen = [pin for pin in pinned if pin.marker is None or pin.marker.evaluate(environment)]
    return {canonicalize_name(pin.name): str(pin.specifier).removeprefix("==") for pin in chosen}


def declared() -> list[Requirement]:
    """The dependencies and all extras."""
    groups = [PROJECT["dependencies"], *PROJECT["optional-dependencies"].values()]
    return [Requirement(line) for group in groups for line in group]


@pytest.mark.parametrize("python", PYTHONS)
def test_the_lock_has_every_declared_package_at_a_version_that_is_allowed(python):
    pinned = lock(python)
    for wanted in declared():
        assert canonicalize_name(wanted.name) in pinned, wanted
        assert wanted.specifier.contains(pinned[canonicalize_name(wanted.name)]), wanted


@pytest.mark.parametrize("python", PYTHONS)
def test_the_lock_has_what_its_packages_need_on_each_python(python):
    pinned = lock(python)
    environment = {"python_version": python, "python_full_version": f"{python}.0", "extra": ""}
    here = lock(f"{sys.version_info.major}.{sys.version_info.minor}")
    for name in pinned.keys() & here.keys():
        for line in requirements_of(name):
            need = Requirement(line)
            if need.marker is not None and not need.marker.evaluate(environment):
                continue
            if name == "torch" and is_of_a_cuda_build(need.name):
                continue
            if canonicalize_name(need.name) not in LEFT_OUT_OF_THE_LOCK:
                assert canonicalize_name(need.name) in pinned, f"{name} needs {line}"
                assert need.specifier.contains(pinned[canonicalize_name(need.name)]), f"{name} needs {line}"


def requirements_of(name: str) -> list[str]:
    try:
        return distribution(name).requires or []
    except PackageNotFoundError:
        pytest.skip(f"{name} of the lock is not installed in this environment")


def is_of_a_cuda_build(name: str) -> bool:
    return re.match(r"cuda-|nvidia-|triton$|setuptools$", name) is not None


def test_every_python_that_the_lock_serves_is_allowed():
    allowed = Requirement(f"mmmos{PROJECT['requires-python']}").specifier
    assert [python for python in ("3.10", *PYTHONS) if allowed.contains(python)] == list(PYTHONS)


def test_only_torch_has_an_upper_bound():
    """A bound keeps fixes from users; each one has its reason and its end in Decision 14."""
    bounded = [wanted.name for wanted in declared() if re.search(r"<|==|~=", str(wanted.specifier))]
    assert bounded == ["torch"]


def test_pip_chooses_the_lock_s_minor_version_of_torch():
    """torchvision wants exactly one torch: were a newer one allowed, pip would put it over a CPU build."""
    allowed = next(wanted.specifier for wanted in declared() if wanted.name == "torch")
    major, minor, _ = map(int, lock("3.11")["torch"].split("."))
    assert allowed.contains(f"{major}.{minor}.99")
    assert not allowed.contains(f"{major}.{minor + 1}.0")
